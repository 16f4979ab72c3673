"""An order as the SQL functions that place it take it: one document, or one array for each column. Pure.

The functions are in the migration 0012. A customer is waiting, so a single order is one
statement and one round trip; for it a document costs less than arrays, in Python and in SQL.
"""

from collections.abc import Iterator, Sequence
from datetime import UTC, datetime
from typing import Any, NamedTuple

import msgspec

from ordermq.observe import trace
from ordermq.shop import events
from ordermq.shop.adjustment import Adjustment
from ordermq.shop.events import Event, EventType, StoredEvent
from ordermq.shop.model import Item, Notify, Order
from ordermq.shop.phone import is_number
from ordermq.shop.saga import Charge, advance
from ordermq.store.arrays import array_of, arrays_of
from ordermq.store.outgoing import OutboxRow

PLACED = advance(None, Event(EventType.ORDER_PLACED))
_STATUS = str(PLACED.state.status)
_PENDING = [str(step) for step in sorted(PLACED.state.pending)]

ADD_ONE = "SELECT shop.place_order(%s, %s, %s, %s)"
ADD_MANY = f"SELECT shop.place_orders({', '.join(['%s'] * 35)})"

WHOLE_ORDER = 0
"""The line_no of adjustments that are the order's."""

_NO_ADJUSTMENTS = ["{}"] * 6


class NewOrder(NamedTuple):
    """An order with what is decided when it is placed."""

    order: Order
    content_hash: bytes
    traceparent: str
    now: datetime
    actor: str

    def event(self) -> StoredEvent:
        """Return the order's first event. Labels are for people, and stay out of it."""
        order = self.order
        data: dict[str, Any] = {
            "customer_id": order.customer_id,
            "currency": order.currency,
            "total_minor": order.total_minor,
            "items": [_item_data(item) for item in order.items],
            "content_sha256": self.content_hash.hex(),
            "notify": _notify_of(order),
        }
        if order.adjustments:
            data["adjustments"] = _without_labels(order.adjustments)
        if not order.is_charged:
            data["charge"] = charge_of(order)
        event = Event(EventType.ORDER_PLACED)
        status = PLACED.state.status
        return events.stored(
            order.order_id, 1, event, status=status, occurred_at=self.now, data=data,
            actor=self.actor, trace_id=trace.trace_id_of(self.traceparent),
        )  # fmt: skip


class _Placement(msgspec.Struct, kw_only=True, omit_defaults=True):
    """The document of ``shop.place_order``: the fields of the type ``shop.placement``."""

    order_id: str
    customer_id: str
    status: str
    pending: list[str]
    currency: str
    total_minor: int
    traceparent: str
    placed_at: datetime
    card_token: str | None
    phone: str | None
    email: str | None
    name: str | None
    items: list[tuple[object, ...]]
    e_type: str
    e_occurred_at: datetime
    message: dict[str, object]
    charge: Charge = Charge.CARD
    notify: Notify = Notify.TEXT
    adjustments: list[tuple[object, ...]] | None = None
    paid_reference: str | None = None
    attributes: dict[str, str] = {}


def arguments_of_one(new: NewOrder, message: OutboxRow) -> tuple[object, ...]:
    """Return the arguments of ``ADD_ONE``; ``message`` is the order's first."""
    order, contact, event = new.order, new.order.contact, new.event()
    document = _Placement(
        order_id=order.order_id,
        customer_id=order.customer_id,
        status=_STATUS,
        pending=_PENDING,
        currency=order.currency,
        total_minor=order.total_minor,
        traceparent=new.traceparent,
        placed_at=(order.placed_at or new.now).astimezone(UTC),  # an offset with seconds has no form in JSON
        card_token=_card_token(order),
        phone=contact.phone,
        email=contact.email,
        name=contact.name,
        items=[_item_columns(item) for item in order.items],
        e_type=event.type,
        e_occurred_at=new.now,
        message={"routing_key": message.routing_key, **msgspec.structs.asdict(message.envelope)},
        charge=charge_of(order),
        notify=_notify_of(order),
        adjustments=list(_adjustment_columns(order)) if order.has_adjustments else None,
        paid_reference=_paid_reference(order),
        attributes=order.attributes,
    )
    return _encoder.encode(document).decode(), new.content_hash, event.body, message.body


def arguments_of_many(new: Sequence[NewOrder]) -> tuple[object, ...]:
    """Return the arguments of ``ADD_MANY``, for one order at the least."""
    items = [
        (each.order.order_id, line_no, *_item_columns(item))
        for each in new
        for line_no, item in enumerate(each.order.items, start=1)
    ]
    adjustments = [
        (each.order.order_id, *columns)
        for each in new
        if each.order.has_adjustments
        for columns in _adjustment_columns(each.order)
    ]
    return (
        _STATUS,
        array_of(_PENDING),
        *arrays_of([_order_columns(each) for each in new]),
        *arrays_of(items),
        *arrays_of([each.event() for each in new]),
        *(arrays_of(adjustments) if adjustments else _NO_ADJUSTMENTS),
        _attributes_of([each.order for each in new]),
    )


def charge_of(order: Order) -> Charge:
    """Say who takes the money."""
    if order.is_charged:
        return Charge.CARD
    return Charge.PAID if order.total_minor > 0 else Charge.FREE


def _notify_of(order: Order) -> Notify:
    """Return how the customer is told: if the order does not say, by e-mail where no number can be texted."""
    if order.notify is not None:
        return order.notify
    contact = order.contact
    has_number = contact.phone is not None and is_number(contact.phone)
    return Notify.EMAIL if contact.email and not has_number else Notify.TEXT


def _paid_reference(order: Order) -> str | None:
    return None if order.payment is None else order.payment.reference


def _card_token(order: Order) -> str | None:
    """Return the token if it is needed: what is not charged shall not be stored."""
    return order.card_token if order.is_charged else None


def _order_columns(new: NewOrder) -> tuple[object, ...]:
    order, contact = new.order, new.order.contact
    return (
        order.order_id, order.customer_id, order.currency, order.total_minor, new.content_hash,
        new.traceparent, order.placed_at or new.now, charge_of(order), _notify_of(order),
        _paid_reference(order), _card_token(order), contact.phone, contact.email,
        contact.name,
    )  # fmt: skip


def _attributes_of(orders: Sequence[Order]) -> str | None:
    """Return the array of the orders' attributes as JSON; None if none has any."""
    if not any(order.attributes for order in orders):
        return None
    return array_of([_encoder.encode(order.attributes).decode() for order in orders])


def _item_columns(item: Item) -> tuple[object, ...]:
    return item.product_id, item.quantity, item.unit_price_minor, item.freight_minor


def _adjustment_columns(order: Order) -> Iterator[tuple[object, ...]]:
    lines = ((line_no, item.adjustments) for line_no, item in enumerate(order.items, start=1))
    for line_no, adjustments in ((WHOLE_ORDER, order.adjustments), *lines):
        for number, each in enumerate(adjustments, start=1):
            yield line_no, number, each.kind, each.amount_minor, each.label


def _item_data(item: Item) -> Any:
    data = msgspec.to_builtins(item)
    if item.adjustments:
        data["adjustments"] = _without_labels(item.adjustments)
    return data


def _without_labels(adjustments: Sequence[Adjustment]) -> list[dict[str, object]]:
    return [{"kind": each.kind, "amount_minor": each.amount_minor} for each in adjustments]


_encoder = msgspec.json.Encoder()
