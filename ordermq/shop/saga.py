"""What follows from an event: the whole flow of an order as one table. Pure.

    placed ──stock_reserved──> reserved ──payment_captured──> paid ──all steps ended──> completed
      │                           │
      │ stock_rejected            │ payment_declined, payment_failed,
      │ cancel_requested ...      │ cancel_requested
      └───────────> cancelled <───┘
                        │ order_reopened, at rest and without any payment: placed again
                        │ payment_captured: too late, so refund
                        └──payment_refunded──> refunded

``pending`` holds each step whose command was sent and which no event has ended yet. An
order is at rest when its status is terminal and nothing is pending.

Invariants
    SAG1  A step is pending from the event that sends its command to the event that ends it.
        A step that must not be left undone (release, refund, ship) stays pending when it
        is given up, and a person has to look.
    SAG2  Before the money is taken, a failed step cancels the order, and the steps before it
        are undone. Afterwards the order only goes forward.
    SAG3  Money taken for a cancelled order is refunded, however late the capture is reported.
    SAG4  One event sends at most one command to a queue, because a message_id is made of
        the order, the event's version and the queue.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from enum import Enum, StrEnum, auto

from ordermq.errors import IllegalEvent
from ordermq.shop.events import Event, EventType, Step


class Status(StrEnum):
    """The status of an order."""

    PLACED = "placed"
    RESERVED = "reserved"
    PAID = "paid"
    COMPLETED = "completed"
    CANCELLED = "cancelled"
    REFUNDED = "refunded"


TERMINAL = frozenset({Status.COMPLETED, Status.CANCELLED, Status.REFUNDED})


@dataclass(frozen=True, slots=True)
class State:
    """An order's status, and the steps that are pending."""

    status: Status
    pending: frozenset[Step] = frozenset()

    @property
    def is_at_rest(self) -> bool:
        """Whether nothing more will happen by itself."""
        return self.status in TERMINAL and not self.pending


@dataclass(frozen=True, slots=True)
class Row:
    """What an event does to an order in a status.

    ``keeps``: the event's step stays pending although it was given up. ``attention``:
    True asks a person to look, False says that one has looked, None changes nothing.
    """

    status: Status
    sends: tuple[Step, ...] = ()
    attention: bool | None = None
    keeps: bool = False


@dataclass(frozen=True, slots=True)
class Move:
    """What follows from an event: the new state, and the steps to send commands for.

    ``attention`` is that of ``Row``.
    """

    state: State
    sends: tuple[Step, ...]
    attention: bool | None


_PLACED, _RESERVED, _PAID = Status.PLACED, Status.RESERVED, Status.PAID
_COMPLETED, _CANCELLED, _REFUNDED = Status.COMPLETED, Status.CANCELLED, Status.REFUNDED

FIRST = Row(_PLACED, (Step.RESERVE,))
"""What ``order_placed`` does. It is the first event of an order, and comes only once."""

TABLE: dict[tuple[Status, EventType], Row] = {
    (_PLACED, EventType.STOCK_RESERVED): Row(_RESERVED, (Step.CAPTURE,)),
    (_PLACED, EventType.STOCK_REJECTED): Row(_CANCELLED, (Step.NOTIFY_CANCELLED,)),
    (_PLACED, EventType.RESERVATION_FAILED): Row(_CANCELLED, (Step.NOTIFY_CANCELLED,), attention=True),
    (_PLACED, EventType.CANCEL_REQUESTED): Row(_CANCELLED, (Step.NOTIFY_CANCELLED,)),
    (_RESERVED, EventType.PAYMENT_CAPTURED): Row(_PAID, (Step.SHIP, Step.AWARD, Step.NOTIFY_CONFIRMED)),
    (_RESERVED, EventType.PAYMENT_DECLINED): Row(_CANCELLED, (Step.RELEASE, Step.NOTIFY_CANCELLED)),
    # A capture that was given up may still have happened, so the refund asks the gateway.
    (_RESERVED, EventType.PAYMENT_FAILED): Row(
        _CANCELLED, (Step.RELEASE, Step.REFUND, Step.NOTIFY_CANCELLED), attention=True
    ),
    # The capture stays pending until it ends as captured (a refund follows), declined or skipped.
    (_RESERVED, EventType.CANCEL_REQUESTED): Row(_CANCELLED, (Step.RELEASE, Step.NOTIFY_CANCELLED)),
    (_PAID, EventType.SHIPMENT_CREATED): Row(_PAID),
    (_PAID, EventType.SHIPMENT_FAILED): Row(_PAID, attention=True, keeps=True),
    (_PAID, EventType.POINTS_AWARDED): Row(_PAID),
    (_PAID, EventType.POINTS_FAILED): Row(_PAID, attention=True),
    # A replay by an operator may still succeed long after the order was completed.
    (_COMPLETED, EventType.POINTS_AWARDED): Row(_COMPLETED),
    # Only at rest, and only if no money was ever taken; see shop/reopen.py.
    (_CANCELLED, EventType.ORDER_REOPENED): Row(_PLACED, (Step.RESERVE,)),
    (_CANCELLED, EventType.STOCK_REJECTED): Row(_CANCELLED),
    (_CANCELLED, EventType.RESERVATION_FAILED): Row(_CANCELLED, attention=True),
    (_CANCELLED, EventType.PAYMENT_CAPTURED): Row(_CANCELLED, (Step.REFUND,)),
    (_CANCELLED, EventType.PAYMENT_DECLINED): Row(_CANCELLED),
    (_CANCELLED, EventType.PAYMENT_SKIPPED): Row(_CANCELLED),
    (_CANCELLED, EventType.PAYMENT_FAILED): Row(_CANCELLED, (Step.REFUND,), attention=True),
    (_CANCELLED, EventType.PAYMENT_REFUNDED): Row(_REFUNDED, (Step.NOTIFY_REFUNDED,)),
    (_CANCELLED, EventType.REFUNDED_BY_HAND): Row(_REFUNDED, (Step.NOTIFY_REFUNDED,)),
    # A refund or chargeback at the service itself does not bring the goods back.
    (_PAID, EventType.REFUNDED_BY_HAND): Row(_PAID),
    (_COMPLETED, EventType.REFUNDED_BY_HAND): Row(_COMPLETED),
    (_CANCELLED, EventType.REFUND_SKIPPED): Row(_CANCELLED),
    (_CANCELLED, EventType.REFUND_FAILED): Row(_CANCELLED, attention=True, keeps=True),
}
# A release may end before or after a refund.
for _status in (_CANCELLED, _REFUNDED):
    TABLE[_status, EventType.STOCK_RELEASED] = Row(_status)
    TABLE[_status, EventType.RELEASE_FAILED] = Row(_status, attention=True, keeps=True)
for _status in (_PAID, _COMPLETED, _CANCELLED, _REFUNDED):
    TABLE[_status, EventType.NOTIFICATION_SENT] = Row(_status)
    TABLE[_status, EventType.NOTIFICATION_SKIPPED] = Row(_status)
    TABLE[_status, EventType.NOTIFICATION_UNKNOWN] = Row(_status, attention=True)
    TABLE[_status, EventType.NOTIFICATION_FAILED] = Row(_status, attention=True)
for _status in Status:
    TABLE[_status, EventType.ATTENTION_RAISED] = Row(_status, attention=True)
    TABLE[_status, EventType.ATTENTION_RESOLVED] = Row(_status, attention=False)

# Events that count although their step has ended: a capture that is reported late (SAG3), and
# the success of a dead letter that an operator has replayed.
_LATE = {
    EventType.PAYMENT_CAPTURED,
    EventType.POINTS_AWARDED,
    *(e for e in EventType if e.startswith("notification_")),
}


def advance(state: State | None, event: Event) -> Move:
    """Return what follows from ``event``; ``state`` None means an order that does not exist yet.

    Raises IllegalEvent if the table has no row for the event, or if the event ends a
    step that is not pending.
    """
    if state is None:
        if event.type is not EventType.ORDER_PLACED:
            raise IllegalEvent(f"{event.type} happened to an order before it was placed")
        return _move(frozenset(), FIRST)
    row = TABLE.get((state.status, event.type))
    if row is None:
        raise IllegalEvent(f"{event.type} cannot happen to an order that is {state.status}")
    if event.step is not None and event.step not in state.pending and event.type not in _LATE:
        raise IllegalEvent(f"{event.type} ends {event.step}, which is not pending")
    ended = frozenset() if event.step is None or row.keeps else frozenset({event.step})
    return _move(state.pending - ended, row)


def _move(pending: frozenset[Step], row: Row) -> Move:
    pending |= frozenset(row.sends)
    status = row.status
    if status is Status.PAID and not pending:
        status = Status.COMPLETED
    return Move(State(status, pending), row.sends, row.attention)


class Readiness(Enum):
    """Whether the order is ready for a command that has arrived."""

    READY = auto()
    TOO_EARLY = auto()
    MOVED_ON = auto()  # the step was done before, or is no longer wanted


_BEFORE_PAID = frozenset({_PLACED, _RESERVED})
_EARLY: Mapping[Step, frozenset[Status]] = {
    Step.RESERVE: frozenset(),
    Step.CAPTURE: frozenset({_PLACED}),
    Step.NOTIFY_REFUNDED: _BEFORE_PAID | {_CANCELLED},
    **dict.fromkeys(
        (Step.RELEASE, Step.REFUND, Step.SHIP, Step.AWARD, Step.NOTIFY_CONFIRMED, Step.NOTIFY_CANCELLED),
        _BEFORE_PAID,
    ),
}


def readiness(state: State, step: Step) -> Readiness:
    """Say whether ``step`` is to be done now, for an order in this state."""
    if step in state.pending:
        return Readiness.READY
    return Readiness.TOO_EARLY if state.status in _EARLY[step] else Readiness.MOVED_ON


def can_happen(status: Status, event_type: EventType) -> bool:
    """Say whether the table has a row for this event in this status."""
    return (status, event_type) in TABLE
