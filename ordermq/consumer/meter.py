"""How many messages a worker of external handlers may take, where people limit the calls to a service.

Invariants
    MET1  A message of a limited service is taken from the intake only for a token, which a call uses
        up. One that needs no call (a duplicate, say) leaves its token for the next message.
    MET2  A message over its key's share waits in the outbox, with no attempt counted and no age added.
        When it comes again at its slot it needs no other token of its key.
"""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

from ordermq.consumer.received import Readable
from ordermq.message.envelope import MAX_HOP, Delivery
from ordermq.observe import metrics
from ordermq.store import StoreTransaction, limits
from ordermq.task.registry import Registry

LEAST_WAIT_S = 0.1  # so that a token is asked for ten times a second at most, for many calls at once


@dataclass
class LiveLimits:
    """The services that are limited now; True has a share for each key. The control replaces it whole."""

    by_dependency: Mapping[str, bool] = field(default_factory=dict)


class Admission(NamedTuple):
    """How many of the deliveries that wait may be taken; if none, when to ask again."""

    most: int
    wait_s: float


class TokenMeter:
    """The tokens of one worker. Owned by its thread."""

    def __init__(self, queue: str, registry: Registry, live: LiveLimits) -> None:
        self._queue = queue
        self._live = live
        self._untyped = registry.untyped(queue)
        self._dependencies = {each.type: each.dependency for each in registry.of_queue(queue)}
        self._tokens: Counter[str] = Counter()  # taken and not used up

    @property
    def is_on(self) -> bool:
        """Whether any service that the queue calls is limited."""
        return bool(self._live.by_dependency)

    def admit(self, tx: StoreTransaction, waiting: Sequence[Delivery]) -> Admission:
        """Take tokens for ``waiting``; return how many of them, from the first on, may be taken."""
        services = [self._service(each) for each in waiting]
        limited = self._live.by_dependency
        wanted = Counter(each for each in services if each in limited)
        missing = {name: count - self._tokens[name] for name, count in wanted.items()}
        missing = {name: count for name, count in missing.items() if count > 0}
        wait_s = LEAST_WAIT_S
        if missing:
            for name, (granted, next_s) in limits.take_tokens(tx, missing).items():
                self._tokens[name] += granted
                wait_s = max(wait_s, next_s)
                metrics.metered.labels(dependency=name).set(granted < missing[name])
        left = Counter(self._tokens)
        for count, name in enumerate(services):
            if name in limited:
                if not left[name]:
                    return Admission(count, wait_s)
                left[name] -= 1
        return Admission(len(services), wait_s)

    def called(self, dependency: str, calls: int) -> None:
        """Use up the tokens of calls that were prepared. A probe may be called without any."""
        self._tokens[dependency] = max(0, self._tokens[dependency] - calls)

    def has_shares(self, messages: Sequence[Readable]) -> bool:
        """Whether ``messages``, all of one handler, are limited by key."""
        handler = messages[0].handler
        return bool(handler.limit_key and self._live.by_dependency.get(handler.dependency))

    def over_share(self, tx: StoreTransaction, messages: Sequence[Readable]) -> dict[str, float]:
        """Return the seconds until its slot for each message over its key's share, by id (MET2)."""
        handler = messages[0].handler
        keys = {each.message_id: _key(each) for each in messages if each.envelope.hop < MAX_HOP}
        keys = {message_id: key for message_id, key in keys.items() if key}
        return limits.take_key_tokens(tx, handler.dependency, self._queue, keys) if keys else {}

    def _service(self, delivery: Delivery) -> str:
        return self._dependencies.get(delivery.properties.type or self._untyped or "", "")


def _key(message: Readable) -> str:
    return str(getattr(message.payload, message.handler.limit_key or ""))
