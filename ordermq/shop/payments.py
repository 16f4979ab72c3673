"""The ``payments`` table: one row for each order, written before the gateway is first called.

    none ──intend──> intent ──> captured ──> refunded
                       │  ├───> declined
                       │  ├───> unknown, requires_action ──> each other, captured, declined, failed
                       └──┴───> failed (known to have taken nothing)
                                  └──> captured, if the gateway says so after all

Invariants
    PAY1  A call that may capture is made only after its intent has committed.
    PAY2  A handler that finds an intent asks the gateway what became of it before it captures.
    PAY3  A capture has one idempotency key for ever, so the gateway takes its money at most once. An
        order has one capture at a time; ``captures`` says when the next one may begin.
    PAY4  Rows are locked sorted by order_id, after the order rows of the same transaction
        (JRN2). So two batches that share orders cannot deadlock on their payments.
"""

from collections.abc import Iterable
from enum import StrEnum
from typing import NamedTuple

from ordermq.shop.gateways import Capture
from ordermq.store.arrays import array_of, arrays_of
from ordermq.task import Transaction

FOREVER_S = 1e9  # of an interval in PostgreSQL: 30 years


class PaymentState(StrEnum):
    """The states of a payment; the module draws how they follow each other."""

    NEXT = "next"
    INTENT = "intent"
    CAPTURED = "captured"
    DECLINED = "declined"
    UNKNOWN = "unknown"
    REQUIRES_ACTION = "requires_action"
    FAILED = "failed"
    REFUNDED = "refunded"


class Payment(NamedTuple):
    """A row. ``is_settling``: the last capture call is so recent that it may still reach the gateway.

    ``needed_action``: the service has waited for the customer.
    """

    order_id: str
    idempotency_key: str
    amount_minor: int
    currency: str
    state: PaymentState
    reason: str | None
    capture_id: str | None
    refund_id: str | None
    is_settling: bool
    needed_action: bool = False
    capture_no: int = 1


class Due(NamedTuple):
    """What a capture needs. ``idempotency_key`` is None until it is written with the first intent.

    ``is_new``: nothing was ever tried under the key.
    ``key_lives``: the service still knows the key, if it was ever used. ``action_is_over``: it has waited
    for the customer long enough.
    """

    order_id: str
    status: str
    pending: list[str]
    amount_minor: int
    currency: str
    card_token: str
    idempotency_key: str | None
    key_lives: bool | None
    action_is_over: bool
    is_new: bool


# Migration 0017 has the functions.
_DUE = "SELECT * FROM shop.due_captures(%s, %s, %s)"
_INTEND = "SELECT shop.intend(%s, %s, %s, %s, %s)"
_SAVE = "SELECT shop.save_payments(%s, %s, %s, %s, %s)"

# COLLATE "C" sorts as intend() does, whatever the collation of the database is.
_LOCK = """
    SELECT order_id, idempotency_key, amount_minor, currency, state, reason, capture_id, refund_id,
           called_at > clock_timestamp() - %s * interval '1 second', action_at IS NOT NULL, capture_no
      FROM shop.payments WHERE order_id = ANY(%s) ORDER BY order_id COLLATE "C" FOR UPDATE
"""

_TAKEN_LATE = """
    UPDATE shop.earlier_payments SET state = 'captured', capture_id = %s
     WHERE order_id = %s AND idempotency_key = %s AND state = 'declined' RETURNING capture_no
"""


def new_key(shop: str, order_id: str) -> str:
    """Return the idempotency key of an order's capture that is tried for the first time.

    From then on the key that is stored with the intent counts, whatever this returns.
    """
    return f"capture:{shop}:{order_id}"


def due(
    order_ids: Iterable[str],
    tx: Transaction,
    *,
    key_life_s: float = FOREVER_S,
    action_s: float = FOREVER_S,
) -> dict[str, Due]:
    """Read what the captures of these orders need, without a lock. Orders that do not exist are left out.

    ``key_life_s``: for how many seconds after its first use the service knows a key. ``action_s``: for how
    many it may wait for the customer.
    """
    return {
        row[0]: Due(*row) for row in tx.fetch_all(_DUE, (array_of(list(order_ids)), key_life_s, action_s))
    }


def intend(captures: Iterable[Capture], tx: Transaction) -> None:
    """Write the intent to capture, for the first time or again (PAY1). A stored key stays as it is."""
    rows = [
        (each.order_id, each.key, each.amount_minor, each.currency, PaymentState.INTENT) for each in captures
    ]
    if rows:
        tx.write(_INTEND, arrays_of(sorted(rows)))


class Payments:
    """The payments of some orders: locked when this object is made, changed by ``write()``.

    For one transaction. ``rows`` holds them by order_id, without orders for which nothing
    was ever tried. A capture called within the last ``settles_s`` seconds ``is_settling``.
    """

    def __init__(self, order_ids: Iterable[str], tx: Transaction, *, settles_s: float) -> None:
        self._tx = tx
        self._changed: set[str] = set()
        self.rows: dict[str, Payment] = {
            row[0]: Payment(*row)._replace(state=PaymentState(row[4]))
            for row in tx.fetch_all(_LOCK, (settles_s, array_of(sorted(set(order_ids)))))
        }

    def set(
        self,
        order_id: str,
        state: PaymentState,
        *,
        reason: str | None = None,
        capture_id: str | None = None,
        refund_id: str | None = None,
    ) -> None:
        """Change a payment; written by ``write()``. None leaves a capture_id or refund_id as it is."""
        row = self.rows[order_id]
        self.rows[order_id] = row._replace(
            state=state,
            reason=reason,
            capture_id=capture_id or row.capture_id,
            refund_id=refund_id or row.refund_id,
        )
        self._changed.add(order_id)

    def taken_late(self, order_id: str, key: str, capture_id: str) -> int | None:
        """Write that an earlier capture, which was declined, took the money after all; return its number.

        None if that is known, or if there is no such capture.
        """
        row = self._tx.fetch_one(_TAKEN_LATE, (capture_id, order_id, key))
        return row[0] if row else None

    def write(self) -> None:
        """Write the changes."""
        changed = [self.rows[order_id] for order_id in sorted(self._changed)]
        rows = [(each.order_id, each.state, each.reason, each.capture_id, each.refund_id) for each in changed]
        if rows:
            self._tx.write(_SAVE, arrays_of(rows))
        self._changed.clear()
