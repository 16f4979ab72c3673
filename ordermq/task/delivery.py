"""What a plain handler may know about the message it handles."""

from dataclasses import dataclass
from datetime import datetime

from ordermq.clock import Deadline
from ordermq.message.envelope import Envelope


@dataclass(frozen=True, slots=True)
class DeliveryInfo:
    """The context of one message, for a handler that has a parameter ``delivery: DeliveryInfo``.

    A batch handler takes ``deliveries: Sequence[DeliveryInfo]``, one for each message, in the
    same order. A handler without the parameter pays nothing for it.

    ``attempt`` is 1 on the first try and rises with each failure; ``hop`` rises each time the
    message is sent again, also when it was only postponed; ``replay_no`` rises when an operator
    replays it. ``first_failed_at`` is when it was sent again for the first time (aware, UTC).
    ``deadline`` is when the process gives the handler up: ``deadline.left_s`` seconds are left.
    """

    message_id: str
    correlation_id: str
    attempt: int
    hop: int
    replay_no: int
    first_failed_at: datetime | None
    traceparent: str
    deadline: Deadline

    @property
    def is_replayed(self) -> bool:
        """True if an operator sent the message again: a dead letter, or one that was lost."""
        return self.replay_no > 0

    @classmethod
    def of(cls, envelope: Envelope, deadline: Deadline) -> "DeliveryInfo":
        """Return what ``envelope`` says of its message."""
        return cls(
            envelope.message_id, envelope.correlation_id, envelope.attempt, envelope.hop,
            envelope.replay_no, envelope.first_failed_at, envelope.traceparent, deadline,
        )  # fmt: skip
