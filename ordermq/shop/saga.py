"""What follows from an event: the whole flow of an order as one table. Pure.

    placed ──stock_reserved──> reserved ──payment_captured──> paid ──all steps ended──> completed
      │                         │  │  ^                         │ refunds of parts, which leave
      │                         │  │  │ card_replaced           │ paid and completed as they are
      │           card_declined │  │  │                         │
      │                         └──┼──┴─ payment_due            │
      │ stock_rejected             │          │                 │
      │ cancel_requested           │          │ payment_expired │ cancel_requested,
      │          payment_declined, │          │                 │ not shipped yet
      │          payment_failed    │          │                 │
      └─────────────────────> cancelled <─────┴─────────────────┘
                                │ order_rewound, if its payment was given up: reserved again
                                │ order_reopened, at rest and with no money left: placed again
                                │ payment_captured: too late, so refund
                                └──payment_refunded──> refunded ──order_reopened──> placed again

A free order, and one that was paid before it came, go from placed straight to paid.

``pending`` holds each step whose command was sent and which no event has ended yet. An
order is at rest when its status is terminal and nothing is pending.

Invariants
    SAG1  A step is pending from the event that sends its command to the event that ends it.
        A step that must not be left undone (release, refund, ship) stays pending when it
        is given up, and a person has to look.
    SAG2  Before the money is taken, a failed step cancels the order, and the steps before it
        are undone. Afterwards only a person's request does, and only before the goods leave.
    SAG3  Money taken for a cancelled order is refunded, however late the capture is reported.
    SAG4  One event sends at most one command to a queue, because a message_id is made of
        the order, the event's version and the queue.
    SAG5  Each notification is sent by the channels that the order's terms name, and no other.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from enum import Enum, StrEnum, auto
from functools import cache

from ordermq.errors import IllegalEvent
from ordermq.shop.events import EMAIL_OF, Event, EventType, Step


class Status(StrEnum):
    """The status of an order."""

    PLACED = "placed"
    RESERVED = "reserved"
    PAYMENT_DUE = "payment_due"
    PAID = "paid"
    COMPLETED = "completed"
    CANCELLED = "cancelled"
    REFUNDED = "refunded"


TERMINAL = frozenset({Status.COMPLETED, Status.CANCELLED, Status.REFUNDED})
CANCELLED = frozenset({Status.CANCELLED, Status.REFUNDED})


class Charge(StrEnum):
    """Who takes the money: ordermq from a card, nobody for a total of 0, or another before the order came."""

    CARD = "card"
    FREE = "free"
    PAID = "paid"


@dataclass(frozen=True, slots=True)
class Terms:
    """What is agreed when an order is placed: who takes the money, and how the customer is told."""

    charge: Charge = Charge.CARD
    text: bool = True
    email: bool = False


@cache
def terms_of(charge: str, notify: str) -> Terms:
    """Return the terms of an order from its columns; ``notify`` is text, email, both or none."""
    return Terms(Charge(charge), text=notify in ("text", "both"), email=notify in ("email", "both"))


DEFAULT_TERMS = Terms()


@dataclass(frozen=True, slots=True)
class State:
    """An order's status, the steps that are pending, and its terms."""

    status: Status
    pending: frozenset[Step] = frozenset()
    terms: Terms = DEFAULT_TERMS

    @property
    def is_at_rest(self) -> bool:
        """Whether nothing more will happen by itself."""
        return self.status in TERMINAL and not self.pending


@dataclass(frozen=True, slots=True)
class Row:
    """What an event does to an order in a status.

    ``keeps``: the event's step stays pending although it was given up. ``ends``: a step that is
    over with it, without an event of its own; ``clears``: every step that was pending is. ``needs``
    and ``unless``: the event can happen only while the one step is pending and the other is not.
    ``attention``: True asks a person to look, False says that one has looked, None changes nothing.
    """

    status: Status
    sends: tuple[Step, ...] = ()
    attention: bool | None = None
    keeps: bool = False
    ends: Step | None = None
    clears: bool = False
    needs: Step | None = None
    unless: Step | None = None


@dataclass(frozen=True, slots=True)
class Move:
    """What follows from an event: the new state, and the steps to send commands for.

    ``attention`` is that of ``Row``.
    """

    state: State
    sends: tuple[Step, ...]
    attention: bool | None


_PLACED, _RESERVED, _PAYMENT_DUE, _PAID = Status.PLACED, Status.RESERVED, Status.PAYMENT_DUE, Status.PAID
_COMPLETED, _CANCELLED, _REFUNDED = Status.COMPLETED, Status.CANCELLED, Status.REFUNDED

FIRST = Row(_PLACED, (Step.RESERVE,))
"""What ``order_placed`` does. It is the first event of an order, and comes only once."""

_ON_PAID = (Step.SHIP, Step.AWARD, Step.NOTIFY_CONFIRMED)
_ON_REFUND = (Step.NOTIFY_REFUNDED, Step.ADJUST_POINTS)
_PAID_BACK = (Step.RELEASE, Step.REFUND, Step.NOTIFY_CANCELLED, Step.ADJUST_POINTS)

TABLE: dict[tuple[Status, EventType], Row] = {
    (_PLACED, EventType.STOCK_RESERVED): Row(_RESERVED, (Step.CAPTURE,)),
    (_PLACED, EventType.STOCK_REJECTED): Row(_CANCELLED, (Step.NOTIFY_CANCELLED,)),
    # The new command waits until the product is loaded.
    (_PLACED, EventType.STOCK_UNKNOWN): Row(_PLACED, (Step.RESERVE,), attention=True),
    (_PLACED, EventType.RESERVATION_FAILED): Row(_CANCELLED, (Step.NOTIFY_CANCELLED,), attention=True),
    (_PLACED, EventType.CANCEL_REQUESTED): Row(_CANCELLED, (Step.NOTIFY_CANCELLED,)),
    (_RESERVED, EventType.PAYMENT_CAPTURED): Row(_PAID, _ON_PAID),
    # The capture stays pending: the customer has to confirm it, as with 3-D Secure.
    (_RESERVED, EventType.PAYMENT_ACTION_REQUIRED): Row(_RESERVED, needs=Step.CAPTURE),
    (_RESERVED, EventType.PAYMENT_DECLINED): Row(_CANCELLED, (Step.RELEASE, Step.NOTIFY_CANCELLED)),
    # A capture that was given up may still have happened, so the refund asks the gateway.
    (_RESERVED, EventType.PAYMENT_FAILED): Row(
        _CANCELLED, (Step.RELEASE, Step.REFUND, Step.NOTIFY_CANCELLED), attention=True
    ),
    # The capture stays pending until it ends as captured (a refund follows), declined or skipped.
    (_RESERVED, EventType.CANCEL_REQUESTED): Row(_CANCELLED, (Step.RELEASE, Step.NOTIFY_CANCELLED)),
    # The customer may give another card until the grace ends. The goods stay reserved.
    (_RESERVED, EventType.CARD_DECLINED): Row(_PAYMENT_DUE, (Step.EXPIRE, Step.NOTIFY_PAYMENT_DUE)),
    (_PAYMENT_DUE, EventType.CARD_REPLACED): Row(_RESERVED, (Step.CAPTURE,), ends=Step.EXPIRE),
    (_PAYMENT_DUE, EventType.PAYMENT_EXPIRED): Row(_CANCELLED, (Step.RELEASE, Step.NOTIFY_CANCELLED)),
    (_PAYMENT_DUE, EventType.EXPIRY_FAILED): Row(_PAYMENT_DUE, attention=True, keeps=True),
    (_PAYMENT_DUE, EventType.CANCEL_REQUESTED): Row(
        _CANCELLED, (Step.RELEASE, Step.NOTIFY_CANCELLED), ends=Step.EXPIRE
    ),
    # A gateway that takes back its decline has taken the money after all.
    (_PAYMENT_DUE, EventType.PAYMENT_CAPTURED): Row(_PAID, _ON_PAID, ends=Step.EXPIRE),
    (_PAID, EventType.SHIPMENT_CREATED): Row(_PAID),
    (_PAID, EventType.SHIPMENT_FAILED): Row(_PAID, attention=True, keeps=True),
    (_PAID, EventType.POINTS_AWARDED): Row(_PAID),
    (_PAID, EventType.POINTS_FAILED): Row(_PAID, attention=True),
    # A shipment or an award that is on its way ends as skipped.
    (_PAID, EventType.CANCEL_REQUESTED): Row(_CANCELLED, _PAID_BACK, needs=Step.SHIP, unless=Step.REFUND),
    # A replay by an operator may still succeed long after the order was completed.
    (_COMPLETED, EventType.POINTS_AWARDED): Row(_COMPLETED),
    # Only at rest, and only if no money is left with the shop; see shop/reopen.py.
    (_CANCELLED, EventType.ORDER_REOPENED): Row(_PLACED, (Step.RESERVE,)),
    (_REFUNDED, EventType.ORDER_REOPENED): Row(_PLACED, (Step.RESERVE,)),
    # Begun again from its payment: what undid it is withdrawn. shop/rewind.py says when it may be.
    (_CANCELLED, EventType.ORDER_REWOUND): Row(
        _RESERVED, (Step.CAPTURE,), attention=False, clears=True, unless=Step.CAPTURE
    ),
    (_CANCELLED, EventType.PAYMENT_CAPTURED): Row(_CANCELLED, (Step.REFUND,)),
    (_CANCELLED, EventType.PAYMENT_DECLINED): Row(_CANCELLED),
    (_CANCELLED, EventType.PAYMENT_SKIPPED): Row(_CANCELLED),
    (_CANCELLED, EventType.PAYMENT_FAILED): Row(_CANCELLED, (Step.REFUND,), attention=True),
    (_CANCELLED, EventType.PAYMENT_REFUNDED): Row(_REFUNDED, (Step.NOTIFY_REFUNDED,)),
    (_CANCELLED, EventType.REFUNDED_BY_HAND): Row(_REFUNDED, (Step.NOTIFY_REFUNDED,)),
    (_CANCELLED, EventType.REFUND_SKIPPED): Row(_CANCELLED),
}
# Money may go back in parts, and goods may come back, while the order goes on.
for _status in (_PAID, _COMPLETED):
    TABLE[_status, EventType.REFUND_REQUESTED] = Row(_status, (Step.REFUND,), unless=Step.REFUND)
    TABLE[_status, EventType.PAYMENT_REFUNDED] = Row(_status, _ON_REFUND)
    TABLE[_status, EventType.REFUNDED_BY_HAND] = Row(_status, (Step.ADJUST_POINTS,))
    TABLE[_status, EventType.GOODS_RETURNED] = Row(_status, unless=Step.SHIP)
for _status in (_PAID, _COMPLETED, _CANCELLED):
    TABLE[_status, EventType.REFUND_FAILED] = Row(_status, attention=True, keeps=True)
for _status in (_PAID, _COMPLETED, _CANCELLED, _REFUNDED):
    TABLE[_status, EventType.POINTS_ADJUSTED] = Row(_status)
    TABLE[_status, EventType.POINTS_ADJUST_FAILED] = Row(_status, attention=True, keeps=True)
# A reservation, a release, a shipment or an award may end before or after a refund.
for _status in (_CANCELLED, _REFUNDED):
    TABLE[_status, EventType.STOCK_REJECTED] = Row(_status)
    TABLE[_status, EventType.RESERVATION_FAILED] = Row(_status, attention=True)
    TABLE[_status, EventType.STOCK_RELEASED] = Row(_status)
    TABLE[_status, EventType.RELEASE_FAILED] = Row(_status, attention=True, keeps=True)
    TABLE[_status, EventType.SHIPMENT_SKIPPED] = Row(_status)
    TABLE[_status, EventType.SHIPMENT_FAILED] = Row(_status, attention=True)
    TABLE[_status, EventType.POINTS_SKIPPED] = Row(_status)
    TABLE[_status, EventType.POINTS_FAILED] = Row(_status, attention=True)
# What a customer is told of a declined card may end after the next card was given.
for _status in (_RESERVED, _PAYMENT_DUE, _PAID, _COMPLETED, _CANCELLED, _REFUNDED):
    TABLE[_status, EventType.NOTIFICATION_SENT] = Row(_status)
    TABLE[_status, EventType.NOTIFICATION_SKIPPED] = Row(_status)
    TABLE[_status, EventType.NOTIFICATION_UNKNOWN] = Row(_status, attention=True)
    TABLE[_status, EventType.NOTIFICATION_FAILED] = Row(_status, attention=True)
for _status in Status:
    TABLE[_status, EventType.ATTENTION_RAISED] = Row(_status, attention=True)
    TABLE[_status, EventType.ATTENTION_RESOLVED] = Row(_status, attention=False)

OVERRIDES: dict[tuple[Charge, Status, EventType], Row | None] = {
    (Charge.FREE, _PLACED, EventType.STOCK_RESERVED): Row(_PAID, _ON_PAID),
    (Charge.FREE, _PAID, EventType.CANCEL_REQUESTED): Row(
        _CANCELLED, (Step.RELEASE, Step.NOTIFY_CANCELLED, Step.ADJUST_POINTS), needs=Step.SHIP
    ),
    (Charge.FREE, _PAID, EventType.REFUND_REQUESTED): None,
    (Charge.FREE, _COMPLETED, EventType.REFUND_REQUESTED): None,
    (Charge.FREE, _CANCELLED, EventType.ORDER_REWOUND): None,
    (Charge.PAID, _PLACED, EventType.STOCK_RESERVED): Row(_PAID, _ON_PAID),
    (Charge.PAID, _PLACED, EventType.STOCK_REJECTED): Row(_CANCELLED, (Step.REFUND, Step.NOTIFY_CANCELLED)),
    (Charge.PAID, _PLACED, EventType.RESERVATION_FAILED): Row(
        _CANCELLED, (Step.REFUND, Step.NOTIFY_CANCELLED), attention=True
    ),
    (Charge.PAID, _PLACED, EventType.CANCEL_REQUESTED): Row(_CANCELLED, (Step.REFUND, Step.NOTIFY_CANCELLED)),
    (Charge.PAID, _CANCELLED, EventType.ORDER_REWOUND): None,
    # Its money went back to where it was taken, and ordermq has no card to take it from again.
    (Charge.PAID, _REFUNDED, EventType.ORDER_REOPENED): None,
}
"""The rows that are others for an order without a card; None: the event cannot happen to it."""

# Events that count although their step has ended: a capture that is reported late (SAG3), and
# the success of a dead letter that an operator has replayed.
_LATE = {
    EventType.PAYMENT_CAPTURED,
    EventType.POINTS_AWARDED,
    *(each for each in EventType if each.startswith("notification_")),
}


def advance(state: State | None, event: Event, terms: Terms = DEFAULT_TERMS) -> Move:
    """Return what follows from ``event``; ``state`` None means an order that does not exist yet.

    ``terms`` are those of a new order; later its state has them. Raises IllegalEvent if the table
    has no row for the event, if the row's condition does not hold, or if the event ends a step
    that is not pending.
    """
    if state is None:
        if event.type is not EventType.ORDER_PLACED:
            raise IllegalEvent(f"{event.type} happened to an order before it was placed")
        return _move(frozenset(), FIRST, terms)
    row = _row(state, event.type)
    if row is None:
        raise IllegalEvent(f"{event.type} cannot happen to an order that is {state.status}")
    if not _holds(row, state):
        pending = ", ".join(sorted(state.pending)) or "nothing"
        raise IllegalEvent(f"{event.type} cannot happen while {pending} is pending")
    if event.step is not None and event.step not in state.pending and event.type not in _LATE:
        raise IllegalEvent(f"{event.type} ends {event.step}, which is not pending")
    ended = frozenset() if event.step is None or row.keeps else frozenset({event.step})
    left = frozenset[Step]() if row.clears else state.pending - ended - {row.ends}
    return _move(left, row, state.terms)


def _row(state: State, event_type: EventType) -> Row | None:
    key = state.status, event_type
    if state.terms.charge is Charge.CARD:
        return TABLE.get(key)
    return OVERRIDES.get((state.terms.charge, *key), TABLE.get(key))


def _holds(row: Row, state: State) -> bool:
    return (row.needs is None or row.needs in state.pending) and row.unless not in state.pending


def _move(pending: frozenset[Step], row: Row, terms: Terms) -> Move:
    sends = row.sends
    if terms.email or not terms.text:
        sends = tuple(each for step in sends for each in _by_channel(step, terms))
    pending |= frozenset(sends)
    status = row.status
    if status is Status.PAID and not pending:
        status = Status.COMPLETED
    return Move(State(status, pending, terms), sends, row.attention)


def _by_channel(step: Step, terms: Terms) -> tuple[Step, ...]:
    """Return the steps that a row's step stands for: a notification may go by text, e-mail or both (SAG5)."""
    if step not in EMAIL_OF:
        return (step,)
    return (step,) * terms.text + (EMAIL_OF[step],) * terms.email


class Readiness(Enum):
    """Whether the order is ready for a command that has arrived."""

    READY = auto()
    TOO_EARLY = auto()
    MOVED_ON = auto()  # the step was done before, or is no longer wanted


_BEFORE_PAID = frozenset({_PLACED, _RESERVED, _PAYMENT_DUE})
_EARLY: Mapping[Step, frozenset[Status]] = {
    **dict.fromkeys(Step, _BEFORE_PAID),
    Step.RESERVE: frozenset(),
    Step.CAPTURE: frozenset({_PLACED}),
    Step.EXPIRE: frozenset({_PLACED}),
    Step.NOTIFY_PAYMENT_DUE: frozenset({_PLACED}),
    Step.EMAIL_PAYMENT_DUE: frozenset({_PLACED}),
}
_TELL_OF_REFUND = frozenset({Step.NOTIFY_REFUNDED, Step.EMAIL_REFUNDED})
_BEFORE_REFUND = frozenset({Step.CAPTURE, Step.REFUND})


def readiness(state: State, step: Step) -> Readiness:
    """Say whether ``step`` is to be done now, for an order in this state."""
    if step is Step.ADJUST_POINTS and Step.AWARD in state.pending:
        return Readiness.TOO_EARLY  # there are no points to adjust yet
    if step in state.pending:
        return Readiness.READY
    if step in _TELL_OF_REFUND and state.status is _CANCELLED and state.pending & _BEFORE_REFUND:
        return Readiness.TOO_EARLY
    return Readiness.TOO_EARLY if state.status in _EARLY[step] else Readiness.MOVED_ON


def can_happen(state: State, event_type: EventType) -> bool:
    """Say whether the table lets this event happen to an order in this state."""
    row = _row(state, event_type)
    return row is not None and _holds(row, state)
