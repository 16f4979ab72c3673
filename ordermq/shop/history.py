"""What the events of an order tell a person. Pure."""

from collections.abc import Callable, Iterable, Mapping
from typing import Any

from ordermq.errors import EventUnreadable
from ordermq.shop.events import EventType
from ordermq.shop.queries import EventRow
from ordermq.shop.recorded import read_body

UNKNOWN_PRODUCT = "unknown_product"  # a reason of stock_rejected


def _shortage(data: Mapping[str, Any]) -> str:
    products = ", ".join(data.get("products", ())) or "a product"
    if data.get("reason") == UNKNOWN_PRODUCT:
        return f"no stock was ever loaded of {products}"
    return f"not enough stock of {products}"


_CAUSES: Mapping[EventType, Callable[[Mapping[str, Any]], str]] = {
    EventType.STOCK_REJECTED: _shortage,
    EventType.RESERVATION_FAILED: lambda data: "its stock could not be reserved: see its dead letter",
    EventType.PAYMENT_DECLINED: lambda data: f"the payment was declined: {data.get('reason', '')}",
    EventType.PAYMENT_EXPIRED: lambda data: "the payment was declined, and no other card was given in time",
    EventType.PAYMENT_FAILED: lambda data: "the payment was given up: see its dead letter",
    EventType.CANCEL_REQUESTED: lambda data: f"asked for: {data.get('reason', '')}",
}


_BEGINS_AGAIN = frozenset({EventType.ORDER_REOPENED, EventType.ORDER_REWOUND})

CANCELLING = (*_CAUSES, *_BEGINS_AGAIN)
"""The events that say whether and why an order is cancelled."""


def cause_of(types: Iterable[EventType]) -> EventType | None:
    """Return the event that cancelled an order; None if none did, or if it began again since."""
    cause: EventType | None = None
    for each in types:
        if each in _BEGINS_AGAIN:
            cause = None
        elif each in _CAUSES and cause is None:  # a later one only says how a step ended
            cause = each
    return cause


def cause_after(why: str | None, event_type: str, data: Mapping[str, Any]) -> str | None:
    """Return why an order is cancelled after an event, if it was for ``why`` before it; None if it is not."""
    if event_type in _BEGINS_AGAIN:
        return None
    if why is not None:  # a later one only says how a step ended
        return why
    cause = _CAUSES.get(EventType(event_type))
    return None if cause is None else cause(data)


def why_cancelled(events: Iterable[EventRow]) -> str | None:
    """Return why an order was cancelled; None if it was not. ``events`` are its whole history.

    Where the event that says it cannot be read, that is the answer.
    """
    why: str | None = None
    for event in events:
        if event.type in _BEGINS_AGAIN:
            why = None
        elif event.type in _CAUSES and why is None:
            try:
                why = cause_after(None, event.type, read_body(event.body, event.version).data)
            except EventUnreadable as exc:
                why = str(exc)
    return why
