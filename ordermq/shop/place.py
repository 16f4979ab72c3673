"""Placing orders in the caller's transaction: each once, however often the caller asks.

Nothing is sent and nothing happens before the caller commits. If the caller rolls back,
nothing remains.

Invariants
    PLC1  One order_id has one content. The same content again gets the same answer; other
        content is a conflict and changes nothing. This holds for two callers at the same
        instant too: the second one waits for the commit of the first.
    PLC2  Rows are inserted sorted by order_id, so two bulk callers cannot deadlock.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime

import msgspec

from ordermq.clock import utc_now
from ordermq.errors import BadInput, OrderConflict
from ordermq.failpoints import failpoint
from ordermq.observe import trace
from ordermq.shop import events
from ordermq.shop.commands import command_of
from ordermq.shop.events import Event, EventType, StoredEvent
from ordermq.shop.model import Order
from ordermq.shop.saga import Status, advance
from ordermq.store import StoreTransaction
from ordermq.store.arrays import array_of, arrays_of
from ordermq.task.transaction import Row

_PLACED = advance(None, Event(EventType.ORDER_PLACED))
_STATUS = str(_PLACED.state.status)
_PENDING = [str(step) for step in sorted(_PLACED.state.pending)]
[_FIRST_STEP] = _PLACED.sends

# A customer is waiting, so a single order is one statement and one round trip. The functions are in the
# migrations 0004 and 0003. For a single order a document costs less than arrays, in Python and in SQL.
_ADD_ONE = "SELECT shop.place_order(%s, %s, %s, %s)"
_ADD_MANY = f"SELECT shop.place_orders({', '.join(['%s'] * 25)})"

_KNOWN = "SELECT order_id, content_sha256, status FROM shop.orders WHERE order_id = ANY(%s)"


@dataclass(frozen=True, slots=True)
class Placed:
    """The answer: the order's status, and whether the order had been placed before."""

    order_id: str
    status: Status
    is_duplicate: bool


Answers = list[Placed | OrderConflict]
"""One for each order, in their order."""


def place_order(order: Order, tx: StoreTransaction, *, traceparent: str = "") -> Placed:
    """Accept ``order`` in the caller's transaction, with one statement if the order is new.

    Waits for another caller that is placing the same order_id at this moment (PLC1).
    ``traceparent`` lets the order continue the caller's trace; "" begins a new one. Raises
    OrderConflict, after which the transaction can go on, or a StoreError.
    """
    _refuse_unstored(order)
    if _insert_one(order, order.content_hash(), tx, traceparent):
        return Placed(order.order_id, Status.PLACED, is_duplicate=False)
    answer = answer_to(order, *_known([order.order_id], tx)[order.order_id], is_duplicate=True)
    if isinstance(answer, OrderConflict):
        raise answer
    return answer


def place_orders(orders: Sequence[Order], tx: StoreTransaction, *, traceparent: str = "") -> Answers:
    """Accept many orders with two statements; return one answer for each, in their order.

    A conflict is an answer here, so it does not keep the others from being placed.
    """
    for order in orders:
        _refuse_unstored(order)
    content = {id(order): order.content_hash() for order in orders}
    first: dict[str, Order] = {}
    for order in orders:
        first.setdefault(order.order_id, order)
    new = _insert_many([first[order_id] for order_id in sorted(first)], content, tx, traceparent)
    known = {order_id: (content[id(first[order_id])], Status.PLACED) for order_id in new}
    if others := [order_id for order_id in first if order_id not in new]:
        known |= _known(others, tx)
    return [
        answer_to(
            order, *known[order.order_id],
            is_duplicate=order.order_id not in new or order is not first[order.order_id],
        )
        for order in orders
    ]  # fmt: skip


def _known(order_ids: Sequence[str], tx: StoreTransaction) -> dict[str, tuple[bytes, Status]]:
    """Return the content's hash and the status of each order that exists."""
    rows = tx.fetch_all(_KNOWN, (list(order_ids),))
    return {order_id: (bytes(content_hash), Status(status)) for order_id, content_hash, status in rows}


def answer_to(
    order: Order, content_hash: bytes, status: Status, *, is_duplicate: bool
) -> Placed | OrderConflict:
    """Return the answer to ``order`` whose id is known with this content, at this status."""
    if order.has_content(content_hash):
        return Placed(order.order_id, status, is_duplicate)
    return OrderConflict(f"order {order.order_id} exists with other content; it was left as it is")


class _Placement(msgspec.Struct, kw_only=True):
    """The document of ``shop.place_order``: the fields of the type ``shop.placement``."""

    order_id: str
    customer_id: str
    status: str = _STATUS
    pending: list[str] = msgspec.field(default_factory=lambda: _PENDING)
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


def _insert_one(order: Order, content_hash: bytes, tx: StoreTransaction, traceparent: str) -> bool:
    """Insert ``order``; return whether it was new."""
    now = utc_now()
    traceparent = _trace_of(traceparent)
    event = _event(order, now, content_hash)
    [message] = tx.outgoing([command_of(_FIRST_STEP, order.order_id, 1, traceparent)])
    contact = order.contact
    document = _Placement(
        order_id=order.order_id,
        customer_id=order.customer_id,
        currency=order.currency,
        total_minor=order.total_minor,
        traceparent=traceparent,
        placed_at=(order.placed_at or now).astimezone(UTC),  # an offset with seconds has no form in JSON
        card_token=order.card_token,
        phone=contact.phone,
        email=contact.email,
        name=contact.name,
        items=[msgspec.structs.astuple(item) for item in order.items],
        e_type=event.type,
        e_occurred_at=now,
        message={"routing_key": message.routing_key, **msgspec.structs.asdict(message.envelope)},
    )
    text = _encoder.encode(document).decode()
    return _add(tx, _ADD_ONE, text, content_hash, event.body, message.body) == [(True,)]


def _insert_many(
    orders: Sequence[Order], content: dict[int, bytes], tx: StoreTransaction, traceparent: str
) -> set[str]:
    """Insert ``orders``, of distinct ids; return the ids that were new."""
    if not orders:
        return set()
    now = utc_now()
    traces = {order.order_id: _trace_of(traceparent) for order in orders}
    tables = (
        [_order_row(order, content[id(order)], traces[order.order_id], now) for order in orders],
        [row for order in orders for row in _item_rows(order)],
        [_event(order, now, content[id(order)]) for order in orders],
    )
    arrays = [array for table in tables for array in arrays_of(list(table))]
    new = [row[0] for row in _add(tx, _ADD_MANY, _STATUS, array_of(_PENDING), *arrays)]
    tx.send([command_of(_FIRST_STEP, order_id, 1, traces[order_id]) for order_id in new])
    return set(new)


def _add(tx: StoreTransaction, sql: str, *values: object) -> list[Row]:
    rows = tx.fetch_all(sql, values)
    failpoint("place.before_commit")
    return rows


def _trace_of(traceparent: str) -> str:
    return trace.child(traceparent) if traceparent else trace.new()


def _order_row(order: Order, content_hash: bytes, traceparent: str, now: datetime) -> tuple[object, ...]:
    contact = order.contact
    return (
        order.order_id, order.customer_id, order.currency, order.total_minor, content_hash, traceparent,
        order.placed_at or now, order.card_token, contact.phone, contact.email, contact.name,
    )  # fmt: skip


def _item_rows(order: Order) -> list[tuple[str, int, str, int, int, int]]:
    return [
        (order.order_id, line_no, item.product_id, item.quantity, item.unit_price_minor, item.freight_minor)
        for line_no, item in enumerate(order.items, start=1)
    ]


def _refuse_unstored(order: Order) -> None:
    has_more = order.adjustments or any(item.adjustments for item in order.items) or order.notify
    if has_more or not order.is_charged:
        raise BadInput(f"order {order.order_id}: no table holds its adjustments, payment or notify yet")


def _event(order: Order, now: datetime, content_hash: bytes) -> StoredEvent:
    data = {
        "customer_id": order.customer_id,
        "currency": order.currency,
        "total_minor": order.total_minor,
        "items": [msgspec.to_builtins(item) for item in order.items],
        "content_sha256": content_hash.hex(),
    }
    event = Event(EventType.ORDER_PLACED)
    return events.stored(order.order_id, 1, event, status=_PLACED.state.status, occurred_at=now, data=data)


_encoder = msgspec.json.Encoder()
