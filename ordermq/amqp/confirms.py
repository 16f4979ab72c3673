"""Match broker confirms to the publishings of one channel.

Invariants
    CNF1  Tags are 1, 2, 3 ... in publish order, as RabbitMQ counts them from
        confirm.select. One tracker serves one channel and dies with it, so a late
        confirm can never meet a later publishing.
    CNF2  A publishing leaves ``pending`` exactly once.
    CNF3  basic.return precedes the basic.ack of the same publishing, so a
        publishing marked returned resolves as RETURNED when its ack arrives.
    CNF4  A return carries no tag. Publishings of one key (message_id, exchange and
        routing key) are the same message to the broker: of those acked, as many
        resolve as RETURNED as were returned. A nack never resolves as RETURNED: if it did,
        the publishing that was returned would be reported as confirmed.

Owned by the connection's thread; not thread-safe.
"""

from collections.abc import Hashable
from enum import Enum
from typing import Generic, Protocol, TypeVar


class PublishOutcome(Enum):
    """How a publishing ended."""

    CONFIRMED = "confirmed"
    NACKED = "nacked"  # refused by the broker: queue full, or no leader
    RETURNED = "returned"  # no queue is bound for it
    REFUSED = "refused"  # AMQP cannot carry it; never sent
    UNSENT = "unsent"  # no connection in time; never sent
    UNKNOWN = "unknown"  # sent, and no confirm came: the broker may or may not have it


class InFlight(Protocol):
    """What the tracker needs to know of a publishing under way."""

    @property
    def key(self) -> Hashable: ...


P = TypeVar("P", bound=InFlight)


class ConfirmTracker(Generic[P]):
    """Publishings awaiting a confirm, in tag order."""

    def __init__(self) -> None:
        self._next_tag = 1
        self._pending: dict[int, P] = {}  # insertion order is tag order
        self._returned: dict[Hashable, list[str]] = {}  # reasons by key

    @property
    def pending(self) -> int:
        """Number of publishings without a confirm."""
        return len(self._pending)

    @property
    def oldest(self) -> P | None:
        """The publishing that has waited longest."""
        return next(iter(self._pending.values()), None)

    def published(self, publishing: P) -> int:
        """Record a publishing just written to the channel; return its tag."""
        tag = self._next_tag
        self._next_tag += 1
        self._pending[tag] = publishing
        return tag

    def returned(self, key: Hashable, reason: str) -> None:
        """Note a basic.return; the ack that follows resolves it."""
        self._returned.setdefault(key, []).append(reason)

    def confirm(self, tag: int, *, multiple: bool, nack: bool = False) -> list[tuple[P, PublishOutcome, str]]:
        """Resolve ``tag``, or every pending tag up to it if ``multiple``.

        Return (publishing, outcome, the broker's reason or "") of each, in tag order.
        """
        if multiple:
            confirmed = [self._pending.pop(each) for each in self._up_to(tag)]
        else:
            one = self._pending.pop(tag, None)
            confirmed = [] if one is None else [one]
        if nack:
            return [(publishing, PublishOutcome.NACKED, "") for publishing in confirmed]
        if not self._returned:
            return [(publishing, PublishOutcome.CONFIRMED, "") for publishing in confirmed]
        return [(publishing, *self._outcome(publishing)) for publishing in confirmed]

    def abandon(self) -> list[P]:
        """Forget everything still pending, because the channel has ended; return it, oldest first."""
        pending, self._pending = self._pending, {}
        return list(pending.values())

    def _up_to(self, tag: int) -> list[int]:
        # Pending tags are ordered, so this stops at the first one past ``tag``
        # instead of scanning a window of thousands for every ack frame.
        reached = []
        for each in self._pending:
            if each > tag:
                break
            reached.append(each)
        return reached

    def _outcome(self, publishing: P) -> tuple[PublishOutcome, str]:
        reasons = self._returned.get(publishing.key)
        if not reasons:
            return PublishOutcome.CONFIRMED, ""
        reason = reasons.pop(0)
        if not reasons:
            del self._returned[publishing.key]
        return PublishOutcome.RETURNED, reason
