"""How long to wait before the next attempt to connect, by why the last one failed. Pure.

    the last attempt failed because                      wait
    no host answered, or the connection broke            full jitter, base * 2**n up to unreachable_cap_s
    the broker refused: login, vhost, right, too many    at random in the upper half of reconnect_cap_s

In the first case an attempt costs the broker little, and this delay bounds how long a
pipeline stands still after the broker is back. A refusal ends when a person mends it or when
other clients leave; trying more often would not help.
"""

from random import Random

from ordermq.backoff import Backoff
from ordermq.config.settings import BrokerSettings
from ordermq.errors import AccessRefused, ConfigError, TooManyConnections

REFUSALS = (AccessRefused, ConfigError, TooManyConnections)


class ReconnectDelay:
    """The waits of one connection's attempts."""

    def __init__(self, settings: BrokerSettings, random: Random) -> None:
        self._random = random
        self._unreachable = Backoff(settings.reconnect_base_s, settings.unreachable_cap_s)
        self._refused_s = settings.reconnect_cap_s

    def delay_s(self, error: BaseException | None, failures: int) -> float:
        """Return the seconds to wait after ``error``; ``failures`` counts those since it was healthy."""
        if isinstance(error, REFUSALS):
            return self._random.uniform(self._refused_s / 2, self._refused_s)
        return self._unreachable.delay_s(failures, self._random)
