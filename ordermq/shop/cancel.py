"""Cancelling an order at the customer's request."""

from dataclasses import dataclass

from ordermq.errors import OrderConflict, OrderNotFound
from ordermq.shop.events import EventType
from ordermq.shop.journal import Journal
from ordermq.shop.saga import Status, can_happen
from ordermq.task import Transaction

_CANCELLED = frozenset({Status.CANCELLED, Status.REFUNDED})


@dataclass(frozen=True, slots=True)
class Cancelled:
    """The order's status after the request; ``is_duplicate``: it was cancelled before, so nothing changed."""

    order_id: str
    status: Status
    is_duplicate: bool


def cancel_order(order_id: str, tx: Transaction, reason: str) -> Cancelled:
    """Cancel an order that is not paid yet, in the caller's transaction.

    Asking twice changes nothing: an order that is cancelled or refunded already stays
    so. A capture under way is not stopped; if it takes the money, the money is refunded.
    ``reason`` is kept in the history, 200 characters at most; it holds nothing personal.
    Raises OrderNotFound, or OrderConflict once the order is paid.
    """
    journal = Journal(tx, [order_id])
    order = journal.orders.get(order_id)
    if order is None:
        raise OrderNotFound(f"no order {order_id[:80]!r}")
    if order.state.status in _CANCELLED:
        return Cancelled(order_id, order.state.status, is_duplicate=True)
    if not can_happen(order.state.status, EventType.CANCEL_REQUESTED):
        raise OrderConflict(f"order {order_id} is {order.state.status}; it can no longer be cancelled")
    journal.record(order_id, EventType.CANCEL_REQUESTED, reason=reason[:200])
    journal.write()
    return Cancelled(order_id, order.state.status, is_duplicate=False)
