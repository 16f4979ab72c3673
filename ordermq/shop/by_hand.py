"""A refund or chargeback that was made at the payment service itself, and that a person reports.

Of a cancelled order it ends the refund. A paid or completed order goes on, because its goods do
not come back: its history, and so ``ordermq reconcile``, know what the customer got.
"""

from contextlib import suppress
from dataclasses import dataclass
from decimal import Decimal, InvalidOperation
from typing import Any

from ordermq.errors import BadInput, OrderConflict, OrderNotFound
from ordermq.shop.events import EventType, Step
from ordermq.shop.journal import Journal, LockedOrder
from ordermq.shop.money import minor_units, written
from ordermq.shop.payments import Payments, PaymentState
from ordermq.shop.resolve import resolve_order
from ordermq.shop.saga import Status
from ordermq.store import StoreTransaction, actions

_REPORTED = """
    SELECT data ->> 'reference', (data ->> 'amount_minor')::bigint
      FROM (SELECT convert_from(body, 'UTF8')::json -> 'data' AS data FROM shop.order_events
             WHERE order_id = %s AND type = 'refunded_by_hand') AS reported
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
    journal = Journal(tx, [order_id])
    order = journal.orders.get(order_id)
    if order is None:
        raise OrderNotFound(f"no order {order_id[:80]!r}")
    amount_minor = _amount(amount, order.currency)
    reported: dict[str, int] = dict(tx.fetch_all(_REPORTED, (order_id,)))
    if reference in reported:
        first_minor = reported[reference]
        return RefundedByHand(order_id, order.state.status, first_minor, order.currency, is_duplicate=True)
    if amount_minor + sum(reported.values()) > order.total_minor:
        total = written(order.total_minor, order.currency)
        raise BadInput(f"order {order_id}: no more than its {total} {order.currency} can go back")
    data: dict[str, Any] = {"reference": reference, "amount_minor": amount_minor, "currency": order.currency}
    data |= {"by": by, "reason": reason[:200]}
    order.refunded_minor += amount_minor
    if Step.REFUND in order.state.pending:
        _end_refund(order, journal, tx, data)
        _resolve(order_id, tx, by=by, reason=reason)
    elif order.state.status in _MAY_GO_ON:
        journal.record(order_id, EventType.REFUNDED_BY_HAND, **data)
        journal.write()
    else:
        raise OrderConflict(f"order {order_id} is {order.state.status}: no refund of it is waited for")
    actions.record(tx, by, "order.refunded", [f"order {order_id}"], f"{reference}: {reason}")
    return RefundedByHand(order_id, order.state.status, amount_minor, order.currency, is_duplicate=False)


def _resolve(order_id: str, tx: StoreTransaction, *, by: str, reason: str) -> None:
    """Record that nobody is needed any more, unless another step was given up and must still be done."""
    with suppress(OrderConflict):
        resolve_order(order_id, tx, by=by, reason=reason)


def _end_refund(order: LockedOrder, journal: Journal, tx: StoreTransaction, data: dict[str, Any]) -> None:
    payments = Payments([order.order_id], tx, settles_s=0.0)
    if order.order_id not in payments.rows:
        raise OrderConflict(f"order {order.order_id}: no payment of it was ever tried")
    payments.set(order.order_id, PaymentState.REFUNDED, reason="by hand", refund_id=data["reference"])
    payments.write()
    journal.record(order.order_id, EventType.REFUNDED_BY_HAND, Step.REFUND, **data)
    journal.write()


def _amount(text: str, currency: str) -> int:
    try:
        amount_minor = minor_units(Decimal(text), currency, "--by-hand")
    except InvalidOperation as exc:
        raise BadInput(f"--by-hand: {text[:40]!r} is not an amount like 12.99") from exc
    if amount_minor <= 0:
        raise BadInput(f"--by-hand: {text[:40]!r} is not more than 0")
    return amount_minor
