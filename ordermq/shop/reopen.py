"""Opening a cancelled order again: it begins anew, with the reservation of its stock.

Only an order at rest is opened, and only if no money was ever taken for it: there is no payment,
or one that is known to have taken nothing. A declined payment is no such one, because its
idempotency key, the only one that an order has, stands for the answer "declined" (PAY3). Then the
order is placed under another id.

The released reservations are deleted: the order reserves anew, under the same keys. A text that
told the customer of the cancellation is not sent a second time.
"""

from dataclasses import dataclass

from ordermq.errors import OrderConflict, OrderNotFound
from ordermq.shop.events import EventType
from ordermq.shop.journal import Journal
from ordermq.shop.payments import Payments, PaymentState
from ordermq.shop.saga import Status
from ordermq.store import StoreTransaction, actions

_FORGET_RELEASED = "DELETE FROM shop.reservations WHERE order_id = %s AND state = 'released'"

_FORGET_UNSENT = """
    DELETE FROM shop.notifications
     WHERE order_id = %s AND template = 'order_cancelled' AND state IN ('skipped', 'failed')
"""


@dataclass(frozen=True, slots=True)
class Reopened:
    """The order's status; ``is_duplicate``: it was not cancelled, so nothing changed."""

    order_id: str
    status: Status
    is_duplicate: bool


def reopen_order(order_id: str, tx: StoreTransaction, *, by: str, reason: str) -> Reopened:
    """Open a cancelled order again, in the caller's transaction, and record who did it.

    Raises OrderNotFound, or OrderConflict if something is pending or money may have been taken.
    """
    journal = Journal(tx, [order_id])
    order = journal.orders.get(order_id)
    if order is None:
        raise OrderNotFound(f"no order {order_id[:80]!r}")
    if order.state.status not in (Status.CANCELLED, Status.REFUNDED):
        return Reopened(order_id, order.state.status, is_duplicate=True)
    payment = Payments([order_id], tx, settles_s=0.0).rows.get(order_id)
    if order.state.status is Status.REFUNDED or (payment and payment.state is not PaymentState.FAILED):
        state = payment.state if payment else order.state.status
        raise OrderConflict(f"order {order_id}: its payment is {state}; place it again under another id")
    if order.state.pending:
        steps = ", ".join(sorted(order.state.pending))
        raise OrderConflict(f"order {order_id}: {steps} must end first; see: ordermq order show {order_id}")
    tx.write(_FORGET_RELEASED, (order_id,))
    tx.write(_FORGET_UNSENT, (order_id,))
    journal.record(order_id, EventType.ORDER_REOPENED, by=by, reason=reason[:200])
    journal.write()
    actions.record(tx, by, "order.reopen", [f"order {order_id}"], reason)
    return Reopened(order_id, order.state.status, is_duplicate=False)
