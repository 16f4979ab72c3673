"""How long to wait before the next attempt to connect, by what the last one met. Pure.

    met                                                  wait
    nobody answered, or the link broke                   full jitter, base * 2**n up to unreachable_cap_s
    the broker refused: login, vhost, right, too many    the upper half of reconnect_cap_s, at random

Nobody was asked for anything in the first case, so coming often costs little, and it is
what bounds the time a pipeline stands still after the broker is back. A refusal is mended
by a person or by other clients leaving: hurrying changes nothing.
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

    def delay_s(self, met: BaseException | None, failures: int) -> float:
        """Seconds to wait after ``met``, the ``failures``-th failure since the connection was healthy."""
        if isinstance(met, REFUSALS):
            return self._random.uniform(self._refused_s / 2, self._refused_s)
        return self._unreachable.delay_s(failures, self._random)
