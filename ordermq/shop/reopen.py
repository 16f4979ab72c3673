"""Opening a cancelled order again: it begins anew, with the reservation of its stock.

Only an order at rest is opened, and only if the shop has no money of it. A payment that is known to have
taken nothing goes on under its key. After a decline or a full refund that key is used up, so another
card is needed, and the capture is a new one under a key of its own (``captures``).

The released reservations are deleted: the order reserves anew, under the same keys. A text that
told the customer of the cancellation is not sent a second time. The points of an order that was paid
were taken back, and their row goes, so that they are awarded anew. Nothing counts as paid back any more.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from ordermq.errors import BadInput, OrderConflict, OrderNotFound
from ordermq.shop import reservations
from ordermq.shop.captures import ENDED, UNUSED, replace_card
from ordermq.shop.events import EventType
from ordermq.shop.journal import Journal, LockedOrder
from ordermq.shop.money import written
from ordermq.shop.payments import Payment, Payments, PaymentState
from ordermq.shop.saga import CANCELLED, Charge, Status, can_happen
from ordermq.store import StoreTransaction, actions

_FORGET_UNSENT = """
    DELETE FROM shop.notifications
     WHERE order_id = ANY(%s) AND template = 'order_cancelled' AND state IN ('skipped', 'failed')
"""

_FORGET_UNITS = "UPDATE shop.order_items SET refunded = 0, returned = 0 WHERE order_id = %s AND refunded > 0"

_FORGET_POINTS = "DELETE FROM shop.points WHERE order_id = %s AND points = 0"


@dataclass(frozen=True, slots=True)
class Reopened:
    """The order's status; ``is_duplicate``: it was not cancelled, so nothing changed."""

    order_id: str
    status: Status
    is_duplicate: bool


def reopen_order(
    order_id: str, tx: StoreTransaction, *, by: str, reason: str, card_token: str | None = None
) -> Reopened:
    """Open a cancelled order again, in the caller's transaction, and record who did it.

    ``card_token`` is the card that pays it now; it is needed after a decline or a refund. Raises
    OrderNotFound, BadInput, or OrderConflict if something is pending or the shop may have money of it.
    """
    journal = Journal(tx, [order_id], by=by)
    order = journal.orders.get(order_id)
    if order is None:
        raise OrderNotFound(f"no order {order_id[:80]!r}")
    if order.state.status not in CANCELLED:
        return Reopened(order_id, order.state.status, is_duplicate=True)
    payment = Payments([order_id], tx, settles_s=0.0).rows.get(order_id)
    _check_money(order, payment, card_token)
    if order.state.pending:
        steps = ", ".join(sorted(order.state.pending))
        raise OrderConflict(f"order {order_id}: {steps} must end first; see: ordermq order show {order_id}")
    capture: dict[str, Any] = {}
    if card_token is not None:
        capture = {"capture_no": replace_card(order_id, card_token, tx)}
    reservations.forget_released([order_id], tx)
    forget_cancellations([order_id], tx)
    for sql in (_FORGET_UNITS, _FORGET_POINTS):
        tx.write(sql, (order_id,))
    order.refunded_minor = 0
    journal.record(order_id, EventType.ORDER_REOPENED, by=by, reason=reason[:200], **capture)
    journal.write()
    actions.record(tx, by, "order.reopen", [f"order {order_id}"], reason)
    return Reopened(order_id, order.state.status, is_duplicate=False)


def _check_money(order: LockedOrder, payment: Payment | None, card_token: str | None) -> None:
    """Raise OrderConflict if the shop may have money of the order, or cannot take it again."""
    order_id, charge = order.order_id, order.state.terms.charge
    if charge is not Charge.CARD and card_token is not None:
        raise BadInput(f"order {order_id} is {charge}: no card of it is charged")
    if not can_happen(order.state, EventType.ORDER_REOPENED):
        raise OrderConflict(f"order {order_id} was paid before it came: place it again under another id")
    if payment is None or payment.state in UNUSED:
        return
    if payment.state not in ENDED:
        raise OrderConflict(
            f"order {order_id}: its payment is {payment.state}; place it again under another id"
        )
    if payment.state is PaymentState.REFUNDED and order.refunded_minor < order.total_minor:
        back = (
            f"{written(order.refunded_minor, order.currency)} of {written(order.total_minor, order.currency)}"
        )
        raise OrderConflict(
            f"order {order_id}: {back} {order.currency} went back; place it again under another id"
        )
    if card_token is None:
        raise OrderConflict(
            f"order {order_id}: its payment is {payment.state}; a new card is needed: --card-token TOKEN"
        )


def forget_cancellations(order_ids: Sequence[str], tx: StoreTransaction) -> None:
    """Forget the messages about cancellations that customers did not get, so that a later one is told."""
    tx.write(_FORGET_UNSENT, (list(order_ids),))
