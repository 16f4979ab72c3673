"""What can happen to an order: the types of its events, and their stored form. Pure.

An event names the step that it ends, if it ends one. ``saga`` says what follows from it.

    step            done                  nothing to do                         given up (a dead letter)
    reserve         stock_reserved        stock_rejected                        reservation_failed
    release         stock_released        (releasing nothing is "done")         release_failed
    capture         payment_captured      payment_declined, payment_skipped     payment_failed
    refund          payment_refunded      refund_skipped                        refund_failed
    ship            shipment_created                                            shipment_failed
    award           points_awarded                                              points_failed
    notify_*        notification_sent     notification_skipped                  notification_failed
                                          notification_unknown (may have been sent, so it is never sent again)

    no step         order_placed, order_reopened, cancel_requested, attention_raised, attention_resolved

refunded_by_hand ends the refund of a cancelled order; of a paid order it ends no step, and the order goes on.
"""

from collections.abc import Mapping
from datetime import datetime
from enum import StrEnum
from typing import Any, NamedTuple

import msgspec


class Step(StrEnum):
    """A piece of work for an order: one command starts it, one event ends it."""

    RESERVE = "reserve"
    RELEASE = "release"
    CAPTURE = "capture"
    REFUND = "refund"
    SHIP = "ship"
    AWARD = "award"
    NOTIFY_CONFIRMED = "notify_confirmed"
    NOTIFY_CANCELLED = "notify_cancelled"
    NOTIFY_REFUNDED = "notify_refunded"


NOTIFY = frozenset({Step.NOTIFY_CONFIRMED, Step.NOTIFY_CANCELLED, Step.NOTIFY_REFUNDED})


class EventType(StrEnum):
    """The types of events. The table of the module says which of them end which step."""

    ORDER_PLACED = "order_placed"
    ORDER_REOPENED = "order_reopened"
    CANCEL_REQUESTED = "cancel_requested"
    ATTENTION_RAISED = "attention_raised"
    ATTENTION_RESOLVED = "attention_resolved"
    STOCK_RESERVED = "stock_reserved"
    STOCK_REJECTED = "stock_rejected"
    RESERVATION_FAILED = "reservation_failed"
    STOCK_RELEASED = "stock_released"
    RELEASE_FAILED = "release_failed"
    PAYMENT_CAPTURED = "payment_captured"
    PAYMENT_DECLINED = "payment_declined"
    PAYMENT_SKIPPED = "payment_skipped"
    PAYMENT_FAILED = "payment_failed"
    PAYMENT_REFUNDED = "payment_refunded"
    REFUNDED_BY_HAND = "refunded_by_hand"
    REFUND_SKIPPED = "refund_skipped"
    REFUND_FAILED = "refund_failed"
    SHIPMENT_CREATED = "shipment_created"
    SHIPMENT_FAILED = "shipment_failed"
    POINTS_AWARDED = "points_awarded"
    POINTS_FAILED = "points_failed"
    NOTIFICATION_SENT = "notification_sent"
    NOTIFICATION_SKIPPED = "notification_skipped"
    NOTIFICATION_UNKNOWN = "notification_unknown"
    NOTIFICATION_FAILED = "notification_failed"


FAILED: Mapping[Step, EventType] = {
    Step.RESERVE: EventType.RESERVATION_FAILED,
    Step.RELEASE: EventType.RELEASE_FAILED,
    Step.CAPTURE: EventType.PAYMENT_FAILED,
    Step.REFUND: EventType.REFUND_FAILED,
    Step.SHIP: EventType.SHIPMENT_FAILED,
    Step.AWARD: EventType.POINTS_FAILED,
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
    order_id: str, version: int, event: Event, *, status: str, occurred_at: datetime, data: Mapping[str, Any]
) -> StoredEvent:
    """Return the row of an event. ``status`` is the order's status after the event.

    ``data`` holds ids and amounts, never personal data.
    """
    body = _encoder.encode(
        {
            "order_id": order_id,
            "version": version,
            "type": event.type,
            "step": event.step,
            "occurred_at": occurred_at,
            "status": status,
            "data": data,
        }
    )
    return StoredEvent(order_id, version, event.type, event.step, occurred_at, body)


_encoder = msgspec.json.Encoder(order="sorted")
