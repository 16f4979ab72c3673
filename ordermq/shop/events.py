"""What can happen to an order: the types of its events, and their stored form. Pure.

An event names the step that it ends, if it ends one. ``saga`` says what follows from it.

    step            done                  nothing to do                         given up (a dead letter)
    reserve         stock_reserved        stock_rejected                        reservation_failed
                    stock_unknown (a product was never loaded: begun again, to wait for it)
    release         stock_released        (releasing nothing is "done")         release_failed
    capture         payment_captured      payment_declined, card_declined,      payment_failed
                                          payment_skipped
    expire          payment_expired       (no event: the card was replaced)     expiry_failed
    refund          payment_refunded      refund_skipped                        refund_failed
    ship            shipment_created      shipment_skipped                      shipment_failed
    award           points_awarded        points_skipped                        points_failed
    adjust_points   points_adjusted                                             points_adjust_failed
    notify_*        notification_sent     notification_skipped                  notification_failed
    email_*                               notification_unknown (may have been sent, so it is never sent again)

    no step         order_placed, order_reopened, order_rewound, cancel_requested, payment_action_required,
                    card_replaced, refund_requested, goods_returned, attention_raised, attention_resolved

refunded_by_hand ends a refund that is pending; without one it ends no step.
"""

from collections.abc import Mapping
from datetime import datetime
from enum import StrEnum
from hashlib import sha256
from typing import Any, NamedTuple

import msgspec

from ordermq.message.cloudevents import RecordEvent
from ordermq.message.event_types import FIRST, Document, EventTypes
from ordermq.module import RecordSource
from ordermq.observe.trace import trace_id_of


class Step(StrEnum):
    """A piece of work for an order: one command starts it, one event ends it."""

    RESERVE = "reserve"
    RELEASE = "release"
    CAPTURE = "capture"
    EXPIRE = "expire"
    REFUND = "refund"
    SHIP = "ship"
    AWARD = "award"
    ADJUST_POINTS = "adjust_points"
    NOTIFY_CONFIRMED = "notify_confirmed"
    NOTIFY_CANCELLED = "notify_cancelled"
    NOTIFY_REFUNDED = "notify_refunded"
    NOTIFY_PAYMENT_DUE = "notify_payment_due"
    EMAIL_CONFIRMED = "email_confirmed"
    EMAIL_CANCELLED = "email_cancelled"
    EMAIL_REFUNDED = "email_refunded"
    EMAIL_PAYMENT_DUE = "email_payment_due"


EMAIL_OF: Mapping[Step, Step] = {
    Step.NOTIFY_CONFIRMED: Step.EMAIL_CONFIRMED,
    Step.NOTIFY_CANCELLED: Step.EMAIL_CANCELLED,
    Step.NOTIFY_REFUNDED: Step.EMAIL_REFUNDED,
    Step.NOTIFY_PAYMENT_DUE: Step.EMAIL_PAYMENT_DUE,
}
"""For each step that texts the customer, the one that sends an e-mail instead or as well."""

NOTIFY = frozenset({*EMAIL_OF.keys(), *EMAIL_OF.values()})


class EventType(StrEnum):
    """The types of events. The table of the module says which of them end which step."""

    ORDER_PLACED = "order_placed"
    ORDER_REOPENED = "order_reopened"
    ORDER_REWOUND = "order_rewound"
    CANCEL_REQUESTED = "cancel_requested"
    ATTENTION_RAISED = "attention_raised"
    ATTENTION_RESOLVED = "attention_resolved"
    STOCK_RESERVED = "stock_reserved"
    STOCK_REJECTED = "stock_rejected"
    STOCK_UNKNOWN = "stock_unknown"
    RESERVATION_FAILED = "reservation_failed"
    STOCK_RELEASED = "stock_released"
    RELEASE_FAILED = "release_failed"
    PAYMENT_CAPTURED = "payment_captured"
    PAYMENT_ACTION_REQUIRED = "payment_action_required"
    PAYMENT_DECLINED = "payment_declined"
    CARD_DECLINED = "card_declined"
    CARD_REPLACED = "card_replaced"
    PAYMENT_EXPIRED = "payment_expired"
    EXPIRY_FAILED = "expiry_failed"
    PAYMENT_SKIPPED = "payment_skipped"
    PAYMENT_FAILED = "payment_failed"
    REFUND_REQUESTED = "refund_requested"
    GOODS_RETURNED = "goods_returned"
    PAYMENT_REFUNDED = "payment_refunded"
    REFUNDED_BY_HAND = "refunded_by_hand"
    REFUND_SKIPPED = "refund_skipped"
    REFUND_FAILED = "refund_failed"
    SHIPMENT_CREATED = "shipment_created"
    SHIPMENT_SKIPPED = "shipment_skipped"
    SHIPMENT_FAILED = "shipment_failed"
    POINTS_AWARDED = "points_awarded"
    POINTS_SKIPPED = "points_skipped"
    POINTS_FAILED = "points_failed"
    POINTS_ADJUSTED = "points_adjusted"
    POINTS_ADJUST_FAILED = "points_adjust_failed"
    NOTIFICATION_SENT = "notification_sent"
    NOTIFICATION_SKIPPED = "notification_skipped"
    NOTIFICATION_UNKNOWN = "notification_unknown"
    NOTIFICATION_FAILED = "notification_failed"


def _without_maker(document: Document) -> Document:
    """Lift version 1, which did not say who made an event, nor under which trace."""
    return {**document, "actor": None, "trace_id": None}


def _without_notify(document: Document) -> Document:
    """Lift version 2, which did not say how the customer is told. The order's row does."""
    return {**document, "data": {"notify": None, **document["data"]}}


def _without_paid_back(document: Document) -> Document:
    """Lift version 2, which did not say of which units no money was owed. The order's lines do."""
    return {**document, "data": {"paid_back": None, **document["data"]}}


TYPES = EventTypes()
"""The types and their versions. ``recorded`` reads stored events by it."""

_CHANGED = frozenset({EventType.ORDER_PLACED, EventType.GOODS_RETURNED})
TYPES.add(*(each for each in EventType if each not in _CHANGED), lifts=[_without_maker])
TYPES.add(EventType.ORDER_PLACED, lifts=[_without_maker, _without_notify])
TYPES.add(EventType.GOODS_RETURNED, lifts=[_without_maker, _without_paid_back])

FAILED: Mapping[Step, EventType] = {
    Step.RESERVE: EventType.RESERVATION_FAILED,
    Step.RELEASE: EventType.RELEASE_FAILED,
    Step.CAPTURE: EventType.PAYMENT_FAILED,
    Step.EXPIRE: EventType.EXPIRY_FAILED,
    Step.REFUND: EventType.REFUND_FAILED,
    Step.SHIP: EventType.SHIPMENT_FAILED,
    Step.AWARD: EventType.POINTS_FAILED,
    Step.ADJUST_POINTS: EventType.POINTS_ADJUST_FAILED,
    **dict.fromkeys(NOTIFY, EventType.NOTIFICATION_FAILED),
}
"""For each step, the event that says the step was given up."""


class Event(NamedTuple):
    """What happened, and the step that it ended, if any."""

    type: EventType
    step: Step | None = None


class StoredEvent(NamedTuple):
    """A row of ``order_events``, in the order of its columns."""

    order_id: str
    version: int
    type: str
    step: str | None
    occurred_at: datetime
    body: bytes


def stored(
    order_id: str,
    version: int,
    event: Event,
    *,
    status: str,
    occurred_at: datetime,
    data: Mapping[str, Any],
    actor: str,
    trace_id: str | None,
) -> StoredEvent:
    """Return the row of an event. ``status`` is the order's status after the event.

    ``data`` holds ids and amounts, never personal data. ``actor`` is who made the event, ``trace_id`` that of
    the traceparent under which it was made; None if that is the trace of the order, which is not written
    again. Both stand in the body, which the audit log holds as it is.
    """
    document = {
        "order_id": order_id,
        "version": version,
        "type": event.type,
        "step": event.step,
        "occurred_at": occurred_at,
        "status": status,
        "data": data,
        "actor": actor,
        "v": TYPES.version(event.type),
    }
    if trace_id is not None:
        document["trace_id"] = trace_id
    return StoredEvent(order_id, version, event.type, event.step, occurred_at, _encoder.encode(document))


def whole_body(body: bytes, traceparent: str) -> tuple[bytes, str]:
    """Return a body with its trace id, and that id; "" if none is known.

    ``traceparent`` is that of the order, for a body that was written without its own.
    """
    found = _traced.decode(body)
    if found.trace_id is not None or found.v == FIRST:
        return body, found.trace_id or ""
    trace_id = trace_id_of(traceparent)
    before, key, after = body.rpartition(b',"type":')  # the keys are sorted
    return b"".join((before, b',"trace_id":"', trace_id.encode(), b'"', key, after)), trace_id


def outward(content: bytes) -> RecordEvent:
    """Return what others may read of an event, all of its body, from the ``outward`` of RECORDS."""
    type_, occurred_at, order_traceparent, stored_body = content.split(b"\n", 3)
    body, trace_id = whole_body(stored_body, order_traceparent.decode())
    traceparent = f"00-{trace_id}-{sha256(body).hexdigest()[:16]}-00" if trace_id else None
    return RecordEvent(type_.decode(), datetime.fromisoformat(occurred_at.decode()), body, traceparent)


class _Traced(msgspec.Struct):
    trace_id: str | None = None
    v: int = FIRST


# What the audit log holds of an event: all its columns. docs/audit.md describes it.
RECORDS = RecordSource(
    "shop.order_events",
    """SELECT order_id AS subject, version AS number, occurred_at AS at,
              convert_to(concat(type, E'\\n', step, E'\\n', to_char(
                  occurred_at AT TIME ZONE 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS.US"Z"'), E'\\n'), 'UTF8')
              || body AS content
         FROM shop.order_events""",
    event=outward,
    outward="""SELECT e.order_id AS subject, e.version AS number, e.occurred_at AS at,
                      convert_to(concat(e.type, E'\\n', to_char(
                          e.occurred_at AT TIME ZONE 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS.US"Z"'), E'\\n',
                          (SELECT o.traceparent FROM shop.orders AS o WHERE o.order_id = e.order_id), E'\\n'),
                          'UTF8') || e.body AS content
                 FROM shop.order_events AS e""",
    archived="""SELECT o.order_id AS subject, a.archive_id AS number, a.file, a.events AS records, a.leaves
                  FROM shop.orders AS o JOIN shop.archives AS a USING (archive_id)""",
)

_traced = msgspec.json.Decoder(_Traced)
_encoder = msgspec.json.Encoder(order="sorted")
