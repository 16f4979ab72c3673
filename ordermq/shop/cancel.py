"""Cancelling an order at the customer's request."""

from dataclasses import dataclass

from ordermq.errors import OrderConflict, OrderNotFound
from ordermq.shop.events import EventType, Step
from ordermq.shop.journal import Journal, LockedOrder
from ordermq.shop.saga import CANCELLED, Status, can_happen
from ordermq.task import Transaction


@dataclass(frozen=True, slots=True)
class Cancelled:
    """The order's status after the request; ``is_duplicate``: it was cancelled before, so nothing changed."""

    order_id: str
    status: Status
    is_duplicate: bool


def cancel_order(order_id: str, tx: Transaction, reason: str, *, by: str = "") -> Cancelled:
    """Cancel an order whose goods have not left yet, in the caller's transaction.

    Asking twice changes nothing: an order that is cancelled or refunded already stays
    so. Money that was taken is refunded; a capture under way is not stopped, and if it takes
    the money, that is refunded. ``reason`` is kept in the history, 200 characters at most; it
    holds nothing personal. ``by`` is who asks, if the history shall not name the process. Raises
    OrderNotFound, or OrderConflict once the goods have left or while a refund is under way.
    """
    journal = Journal(tx, [order_id], by=by)
    order = journal.orders.get(order_id)
    if order is None:
        raise OrderNotFound(f"no order {order_id[:80]!r}")
    if order.state.status in CANCELLED:
        return Cancelled(order_id, order.state.status, is_duplicate=True)
    if not can_happen(order.state, EventType.CANCEL_REQUESTED):
        raise OrderConflict(_not_any_more(order))
    journal.record(order_id, EventType.CANCEL_REQUESTED, reason=reason[:200])
    journal.write()
    return Cancelled(order_id, order.state.status, is_duplicate=False)


def _not_any_more(order: LockedOrder) -> str:
    if Step.SHIP in order.state.pending:
        return f"order {order.order_id}: a refund of it is under way; cancel it when that has ended"
    return (
        f"order {order.order_id} is {order.state.status} and shipped; it can no longer be cancelled: see"
        " 'ordermq order return' for goods that come back, 'ordermq order refund' for money alone"
    )
