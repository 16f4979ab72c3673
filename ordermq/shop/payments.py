"""The ``payments`` table: one row an order, written before the gateway is first called.

    none ──intend──> intent ──> captured ──> refunded
                       │  └───> declined
                       │  └───> unknown ──> captured, declined, failed
                       └──────> failed (known to have taken nothing)
                                  └──> captured, if the gateway tells so after all

Invariants
    PAY1  A call that may capture is made only after its intent has committed.
    PAY2  Whoever finds an intent asks the gateway what became of it before capturing.
    PAY3  One idempotency key an order, for ever: the gateway takes the money at most once.
    PAY4  Rows are locked sorted by order_id, after the order rows of the same transaction (J2
        of ``journal``): two batches that share orders cannot deadlock on their payments.
"""

from collections.abc import Iterable
from enum import StrEnum
from typing import NamedTuple

from ordermq.store import Transaction


class PaymentState(StrEnum):
    """See the module."""

    INTENT = "intent"
    CAPTURED = "captured"
    DECLINED = "declined"
    UNKNOWN = "unknown"
    FAILED = "failed"
    REFUNDED = "refunded"


class Payment(NamedTuple):
    """A row. ``is_settling``: a capture tried so lately that it may still arrive at the gateway."""

    order_id: str
    idempotency_key: str
    amount_minor: int
    currency: str
    state: PaymentState
    reason: str | None
    capture_id: str | None
    refund_id: str | None
    is_settling: bool

    @property
    def refund_key(self) -> str:
        return f"refund:{self.idempotency_key}"


class Due(NamedTuple):
    """What a capture needs, and whether an intent exists already."""

    order_id: str
    status: str
    pending: list[str]
    amount_minor: int
    currency: str
    card_token: str
    has_intent: bool


_DUE = """
    SELECT o.order_id, o.status, o.pending, o.total_minor, o.currency, c.card_token, p.order_id IS NOT NULL
      FROM shop.orders AS o
      JOIN shop.contacts AS c USING (order_id)
      LEFT JOIN shop.payments AS p USING (order_id)
     WHERE o.order_id = ANY(%s)
"""

_INTEND = """
    INSERT INTO shop.payments (order_id, idempotency_key, amount_minor, currency, state) VALUES %s
    ON CONFLICT (order_id) DO UPDATE SET called_at = now(), updated_at = now()
"""
_INTEND_TEMPLATE = "(%s, %s, %s, %s, 'intent')"

# COLLATE "C" is the order in which intend() sorts, whatever the database's collation is.
_LOCK = """
    SELECT order_id, idempotency_key, amount_minor, currency, state, reason, capture_id, refund_id,
           called_at > clock_timestamp() - %s * interval '1 second'
      FROM shop.payments WHERE order_id = ANY(%s) ORDER BY order_id COLLATE "C" FOR UPDATE
"""

_SAVE = """
    UPDATE shop.payments AS p
       SET state = v.state, reason = v.reason, capture_id = v.capture_id, refund_id = v.refund_id,
           updated_at = now()
      FROM (VALUES %s) AS v (order_id, state, reason, capture_id, refund_id)
     WHERE p.order_id = v.order_id
"""


def key_of(order_id: str) -> str:
    """Return the idempotency key of the order's capture."""
    return f"capture:{order_id}"


def due(order_ids: Iterable[str], tx: Transaction) -> dict[str, Due]:
    """Read what captures need, without a lock; orders nobody knows are left out."""
    return {row[0]: Due(*row) for row in tx.fetch_all(_DUE, (list(order_ids),))}


def intend(captures: Iterable[Due], tx: Transaction) -> None:
    """Write that captures are about to be tried, for the first time or again (PAY1)."""
    rows = [(each.order_id, key_of(each.order_id), each.amount_minor, each.currency) for each in captures]
    tx.write_values(_INTEND, sorted(rows), template=_INTEND_TEMPLATE)


class Payments:
    """Locks the payments of some orders when made; keeps what becomes of them until ``write()``.

    For one transaction. ``rows`` has none for an order for which nothing was ever tried.
    ``settles_s`` is for ``is_settling``, in seconds.
    """

    def __init__(self, order_ids: Iterable[str], tx: Transaction, *, settles_s: float) -> None:
        self._tx = tx
        self._changed: set[str] = set()
        self.rows: dict[str, Payment] = {
            row[0]: Payment(*row)._replace(state=PaymentState(row[4]))
            for row in tx.fetch_all(_LOCK, (settles_s, sorted(set(order_ids))))
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
        """Let a payment become what is known now; an id once told stays."""
        row = self.rows[order_id]
        self.rows[order_id] = row._replace(
            state=state,
            reason=reason,
            capture_id=capture_id or row.capture_id,
            refund_id=refund_id or row.refund_id,
        )
        self._changed.add(order_id)

    def write(self) -> None:
        """Write what has changed."""
        changed = [self.rows[order_id] for order_id in sorted(self._changed)]
        rows = [(each.order_id, each.state, each.reason, each.capture_id, each.refund_id) for each in changed]
        self._tx.write_values(_SAVE, rows)
        self._changed.clear()
