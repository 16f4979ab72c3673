"""A refund or chargeback that was made at the payment service itself, and that a person reports.

Of a cancelled order it ends the refund, and of any order a refund that was given up. A paid or completed
order goes on: its history, and so ``ordermq reconcile``, know what the customer got.
"""

from contextlib import suppress
from dataclasses import dataclass

from ordermq.errors import BadInput, OrderConflict, OrderNotFound
from ordermq.shop.events import EventType, Step
from ordermq.shop.journal import Journal, LockedOrder
from ordermq.shop.money import read_amount, written
from ordermq.shop.payments import Payments, PaymentState
from ordermq.shop.recorded import read_body
from ordermq.shop.refunds import Refunds, RefundState
from ordermq.shop.resolve import resolve_order
from ordermq.shop.saga import Status
from ordermq.store import StoreTransaction, actions

_REPORTED = """
    SELECT version, convert_from(body, 'UTF8') FROM shop.order_events
     WHERE order_id = %s AND type = 'refunded_by_hand'
"""

# An open refund may still reach the service until it is given up.
_GIVEN_UP = """
    SELECT type FROM shop.order_events
     WHERE order_id = %s AND type IN ('refund_requested', 'refund_failed') ORDER BY version DESC LIMIT 1
"""

_MAY_GO_ON = frozenset({Status.PAID, Status.COMPLETED})


@dataclass(frozen=True, slots=True)
class RefundedByHand:
    """The order after the report. ``is_duplicate``: the reference was reported before, so nothing changed."""

    order_id: str
    status: Status
    amount_minor: int
    currency: str
    is_duplicate: bool


def refunded_by_hand(
    order_id: str, amount: str, tx: StoreTransaction, *, by: str, reference: str, reason: str
) -> RefundedByHand:
    """Record that ``amount``, as ``12.99``, went back to the customer at the payment service itself.

    ``reference`` is what the service calls the refund. A cancelled order that waits for its refund is
    refunded, and needs no person any more. Raises OrderNotFound, BadInput, or OrderConflict if the
    order has nothing to give back.
    """
    journal = Journal(tx, [order_id], by=by)
    order = journal.orders.get(order_id)
    if order is None:
        raise OrderNotFound(f"no order {order_id[:80]!r}")
    amount_minor = read_amount(amount, order.currency, "--by-hand")
    rows = tx.fetch_all(_REPORTED, (order_id,))
    before = [read_body(body, version, order_id).data for version, body in rows]
    reported: dict[str, int] = {each["reference"]: each["amount_minor"] for each in before}
    if reference in reported:
        first_minor = reported[reference]
        return RefundedByHand(order_id, order.state.status, first_minor, order.currency, is_duplicate=True)
    _check_waits(order, tx)
    if amount_minor + order.refunded_minor > order.total_minor:
        left = written(order.total_minor - order.refunded_minor, order.currency)
        raise BadInput(f"order {order_id}: no more than {left} {order.currency} can go back")
    _write(order, amount_minor, reference, tx)
    order.refunded_minor += amount_minor
    step = Step.REFUND if Step.REFUND in order.state.pending else None
    journal.record(
        order_id, EventType.REFUNDED_BY_HAND, step, reference=reference, amount_minor=amount_minor,
        currency=order.currency, by=by, reason=reason[:200],
    )  # fmt: skip
    journal.write()
    if step:
        _resolve(order_id, tx, by=by, reason=reason)
    actions.record(tx, by, "order.refunded", [f"order {order_id}"], f"{reference}: {reason}")
    return RefundedByHand(order_id, order.state.status, amount_minor, order.currency, is_duplicate=False)


def _check_waits(order: LockedOrder, tx: StoreTransaction) -> None:
    """Raise OrderConflict if the order has nothing to give back, or gives it back at this moment."""
    is_pending = Step.REFUND in order.state.pending
    if not is_pending and order.state.status not in _MAY_GO_ON:
        raise OrderConflict(f"order {order.order_id} is {order.state.status}: no refund of it is waited for")
    if is_pending and order.state.status in _MAY_GO_ON:
        newest = tx.fetch_one(_GIVEN_UP, (order.order_id,))
        if newest is None or newest[0] != EventType.REFUND_FAILED:
            raise OrderConflict(
                f"order {order.order_id}: a refund of it is under way, and would be made as well; report this"
                " one when that has ended"
            )


def _write(order: LockedOrder, amount_minor: int, reference: str, tx: StoreTransaction) -> None:
    """Write the refund, in place of the open one if there is one."""
    payments, refunds = Payments([order.order_id], tx, settles_s=0.0), Refunds([order.order_id], tx)
    if order.order_id not in payments.rows:
        raise OrderConflict(f"order {order.order_id}: no payment of it was ever tried")
    if order.state.status not in _MAY_GO_ON:
        payments.set(order.order_id, PaymentState.REFUNDED, reason="by hand", refund_id=reference)
        payments.write()
    if refund := refunds.open(order.order_id):
        refunds.change(
            refund._replace(state=RefundState.BY_HAND, refund_id=reference, amount_minor=amount_minor)
        )
    else:
        refunds.add(order.order_id, amount_minor, RefundState.BY_HAND, refund_id=reference)
    refunds.write()


def _resolve(order_id: str, tx: StoreTransaction, *, by: str, reason: str) -> None:
    """Record that nobody is needed any more, unless another step was given up and must still be done."""
    with suppress(OrderConflict):
        resolve_order(order_id, tx, by=by, reason=reason)
