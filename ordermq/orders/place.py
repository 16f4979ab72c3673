"""Placing orders: in the caller's transaction, once each, however often it is asked.

Nothing is sent and nothing happens before the caller commits; if it rolls back,
nothing remains.

Invariants
    P1  One order_id is one content. The same content again is the same answer; other
        content is a conflict and changes nothing. Also for two callers at the same
        instant: the second waits for the first's commit.
    P2  Rows are inserted sorted by order_id, so two bulk callers cannot deadlock.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

import msgspec

from ordermq.clock import utc_now
from ordermq.errors import OrderConflict
from ordermq.failpoints import failpoint
from ordermq.observe import trace
from ordermq.orders import events
from ordermq.orders.commands import command_of
from ordermq.orders.events import Event, EventType, StoredEvent
from ordermq.orders.model import Order
from ordermq.orders.saga import Status, advance
from ordermq.store import Transaction
from ordermq.store.arrays import array_of, arrays_of

_PLACED = advance(None, Event(EventType.ORDER_PLACED))
_PENDING = array_of(sorted(_PLACED.state.pending))

# One statement, one round trip, while the customer waits; what it adds stands in shop migration 0003.
_ADD = f"SELECT shop.place_orders({', '.join(['%s'] * 38)})"

_KNOWN = "SELECT order_id, content_sha256, status FROM shop.orders WHERE order_id = ANY(%s)"


@dataclass(frozen=True, slots=True)
class Placed:
    """The answer: the order's status, and whether it had been placed before."""

    order_id: str
    status: Status
    is_duplicate: bool


def place_order(order: Order, tx: Transaction, *, traceparent: str = "") -> Placed:
    """Accept ``order`` in the caller's transaction. See the module.

    ``traceparent`` lets the order continue the caller's trace; "" begins one. Raises
    OrderConflict, after which the transaction is still good, or a StoreError.
    """
    answer = place_orders([order], tx, traceparent=traceparent)[0]
    if isinstance(answer, OrderConflict):
        raise answer
    return answer


def place_orders(
    orders: Sequence[Order], tx: Transaction, *, traceparent: str = ""
) -> list[Placed | OrderConflict]:
    """Accept many orders with one statement; return one answer each, in their order.

    A conflict is an answer here: it does not keep the others from being placed.
    """
    content = {id(order): order.content_sha256() for order in orders}
    first: dict[str, Order] = {}
    for order in orders:
        first.setdefault(order.order_id, order)
    new = _insert([first[order_id] for order_id in sorted(first)], content, tx, traceparent)
    known = {order_id: (content[id(first[order_id])], Status.PLACED) for order_id in new}
    if others := [order_id for order_id in first if order_id not in new]:
        known |= {row[0]: (bytes(row[1]), Status(row[2])) for row in tx.fetch_all(_KNOWN, (others,))}
    answers: list[Placed | OrderConflict] = []
    for order in orders:
        order_id = order.order_id
        sha256, status = known[order_id]
        if sha256 == content[id(order)]:
            answers.append(Placed(order_id, status, order_id not in new or order is not first[order_id]))
        else:
            answers.append(OrderConflict(f"order {order_id} exists with other content; it was left as it is"))
    return answers


def _insert(
    orders: Sequence[Order], content: dict[int, bytes], tx: Transaction, traceparent: str
) -> set[str]:
    """Insert ``orders``, of distinct ids; return the ids that were new."""
    if not orders:
        return set()
    now = utc_now()
    traces = {order.order_id: trace.child(traceparent) if traceparent else trace.new() for order in orders}
    rows = [
        (
            order.order_id, order.customer_id, order.currency, order.total_minor, content[id(order)],
            traces[order.order_id], order.placed_at or now, order.card_token, order.contact.phone,
            order.contact.email, order.contact.name,
        )
        for order in orders
    ]  # fmt: skip
    commands = [
        command_of(step, order.order_id, 1, traces[order.order_id])
        for order in orders
        for step in _PLACED.sends
    ]
    tables = (
        rows,
        [row for order in orders for row in _item_rows(order)],
        [_event(order, now, content[id(order)]) for order in orders],
        tx.outgoing(commands),
    )
    arrays = [array for table in tables for array in arrays_of(table)]
    new = {row[0] for row in tx.fetch_all(_ADD, (_PLACED.state.status, _PENDING, *arrays))}
    failpoint("place.before_commit")
    return new


def _item_rows(order: Order) -> list[tuple[str, int, str, int, int, int]]:
    return [
        (order.order_id, line_no, item.product_id, item.quantity, item.unit_price_minor, item.freight_minor)
        for line_no, item in enumerate(order.items, start=1)
    ]


def _event(order: Order, now: datetime, sha256: bytes) -> StoredEvent:
    data = {
        "customer_id": order.customer_id,
        "currency": order.currency,
        "total_minor": order.total_minor,
        "items": [msgspec.to_builtins(item) for item in order.items],
        "content_sha256": sha256.hex(),
    }
    event = Event(EventType.ORDER_PLACED)
    return events.stored(order.order_id, 1, event, status=_PLACED.state.status, occurred_at=now, data=data)
