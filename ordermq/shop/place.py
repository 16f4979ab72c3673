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
from functools import partial

from ordermq.clock import utc_now
from ordermq.errors import OrderConflict
from ordermq.failpoints import failpoint
from ordermq.observe import trace, tracing
from ordermq.shop.commands import command_of
from ordermq.shop.earlier import read_earlier
from ordermq.shop.model import Order, is_by_meaning
from ordermq.shop.placement import ADD_MANY, ADD_ONE, PLACED, NewOrder, arguments_of_many, arguments_of_one
from ordermq.shop.saga import Status
from ordermq.store import StoreTransaction
from ordermq.task.transaction import Row

[_FIRST_STEP] = PLACED.sends

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
    if _insert_one(order, order.content_hash(), tx, traceparent):
        return Placed(order.order_id, Status.PLACED, is_duplicate=False)
    known = _known([order.order_id], tx)[order.order_id]
    answer = answer_to(order, known, is_duplicate=True)
    if isinstance(answer, OrderConflict):
        raise answer
    return answer


def place_orders(orders: Sequence[Order], tx: StoreTransaction, *, traceparent: str = "") -> Answers:
    """Accept many orders with two statements; return one answer for each, in their order.

    A conflict is an answer here, so it does not keep the others from being placed.
    """
    content = {id(order): order.content_hash() for order in orders}
    first: dict[str, Order] = {}
    for order in orders:
        first.setdefault(order.order_id, order)
    new = _insert_many([first[order_id] for order_id in sorted(first)], content, tx, traceparent)
    known = {order_id: Known(content[id(first[order_id])]) for order_id in new}
    if others := [order_id for order_id in first if order_id not in new]:
        known |= _known(others, tx)
    return [
        answer_to(
            order, known[order.order_id],
            is_duplicate=order.order_id not in new or order is not first[order.order_id],
        )
        for order in orders
    ]  # fmt: skip


@dataclass(frozen=True, slots=True)
class Known:
    """What is known of an order that exists; ``earlier`` is its content where the hash is of version 1."""

    content_hash: bytes
    status: Status = Status.PLACED
    earlier: Order | None = None

    def is_same(self, order: Order) -> bool:
        """Return whether ``order`` has its content."""
        return order.has_content(self.content_hash) or (
            self.earlier is not None and order.means(self.earlier)
        )


def _known(order_ids: Sequence[str], tx: StoreTransaction) -> dict[str, Known]:
    """Return what is known of each order that exists."""
    rows = tx.fetch_all(_KNOWN, (list(order_ids),))
    as_written = [order_id for order_id, content_hash, _ in rows if not is_by_meaning(bytes(content_hash))]
    earlier = read_earlier(as_written, tx) if as_written else {}
    return {
        order_id: Known(bytes(content_hash), Status(status), earlier.get(order_id))
        for order_id, content_hash, status in rows
    }


def answer_to(order: Order, known: Known, *, is_duplicate: bool) -> Placed | OrderConflict:
    """Return the answer to ``order`` whose id is known."""
    if known.is_same(order):
        return Placed(order.order_id, known.status, is_duplicate)
    return OrderConflict(f"order {order.order_id} exists with other content; it was left as it is")


def _insert_one(order: Order, content_hash: bytes, tx: StoreTransaction, traceparent: str) -> bool:
    """Insert ``order``; return whether it was new."""
    new = NewOrder(order, content_hash, _trace_of(traceparent), utc_now(), tx.actor)
    [message] = tx.outgoing([command_of(_FIRST_STEP, order.order_id, 1, new.traceparent)])
    is_new = _add(tx, ADD_ONE, arguments_of_one(new, message)) == [(True,)]
    if is_new:
        tx.trace_created([message], [new.traceparent])
        _trace_placed(tx, [new], traceparent)
    return is_new


def _insert_many(
    orders: Sequence[Order], content: dict[int, bytes], tx: StoreTransaction, traceparent: str
) -> set[str]:
    """Insert ``orders``, of distinct ids; return the ids that were new."""
    if not orders:
        return set()
    now, actor = utc_now(), tx.actor
    new = [NewOrder(each, content[id(each)], _trace_of(traceparent), now, actor) for each in orders]
    added = {row[0] for row in _add(tx, ADD_MANY, arguments_of_many(new))}
    tx.send(
        [
            command_of(_FIRST_STEP, each.order.order_id, 1, each.traceparent)
            for each in new
            if each.order.order_id in added
        ]
    )
    _trace_placed(tx, [each for each in new if each.order.order_id in added], traceparent)
    return added


def _trace_placed(tx: StoreTransaction, new: Sequence[NewOrder], parent: str) -> None:
    if (tracer := tracing.tracer()) is not None:
        for each in new:
            tx.trace(partial(tracer.placed, "place order", each.traceparent, parent))


def _add(tx: StoreTransaction, sql: str, arguments: Sequence[object]) -> list[Row]:
    rows = tx.fetch_all(sql, arguments)
    failpoint("place.before_commit")
    return rows


def _trace_of(traceparent: str) -> str:
    return trace.child(traceparent) if traceparent else trace.new()
