"""The ``payments`` table: one row an order, written before the gateway is first called.

    none ──intend──> intent ──> captured ──> refunded
                       │  └───> declined
                       │  └───> unknown ──> captured, declined, failed
                       └──────> failed (known to have taken nothing)
                                  └──> captured, if the gateway tells so after all

Invariants
    Y1  A call that may capture is made only after its intent has committed.
    Y2  Whoever finds an intent asks the gateway what became of it before capturing.
    Y3  One idempotency key an order, for ever: the gateway takes the money at most once.
"""

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
    capture_id: str | None
    is_settling: bool

    @property
    def refund_key(self) -> str:
        return f"refund:{self.idempotency_key}"


class Due(NamedTuple):
    """What a capture needs, and whether an intent exists already."""

    status: str
    pending: list[str]
    amount_minor: int
    currency: str
    card_token: str
    has_intent: bool


_GET = """
    SELECT order_id, idempotency_key, amount_minor, currency, state, capture_id,
           called_at > clock_timestamp() - %s * interval '1 second'
      FROM shop.payments WHERE order_id = %s FOR UPDATE
"""

_DUE = """
    SELECT o.status, o.pending, o.total_minor, o.currency, c.card_token, p.order_id IS NOT NULL
      FROM shop.orders AS o
      JOIN shop.contacts AS c USING (order_id)
      LEFT JOIN shop.payments AS p USING (order_id)
     WHERE o.order_id = %s
"""

_INTEND = """
    INSERT INTO shop.payments (order_id, idempotency_key, amount_minor, currency, state)
    VALUES (%s, %s, %s, %s, 'intent')
    ON CONFLICT (order_id) DO UPDATE SET called_at = now(), updated_at = now()
"""

_SET = """
    UPDATE shop.payments
       SET state = %s, reason = %s, updated_at = now(),
           capture_id = coalesce(%s, capture_id), refund_id = coalesce(%s, refund_id)
     WHERE order_id = %s
"""


def key_of(order_id: str) -> str:
    """Return the idempotency key of the order's capture."""
    return f"capture:{order_id}"


def due(order_id: str, tx: Transaction) -> Due | None:
    """Read what a capture needs, without a lock; None if there is no such order."""
    row = tx.fetch_one(_DUE, (order_id,))
    return Due(*row) if row else None


def intend(order_id: str, amount_minor: int, currency: str, tx: Transaction) -> None:
    """Write that a capture is about to be tried, for the first time or again (Y1)."""
    tx.execute(_INTEND, (order_id, key_of(order_id), amount_minor, currency))


def lock(order_id: str, tx: Transaction, *, settles_s: float) -> Payment | None:
    """Read and lock the row; None if nothing was ever tried. ``settles_s`` is for ``is_settling``."""
    row = tx.fetch_one(_GET, (settles_s, order_id))
    return Payment(*row)._replace(state=PaymentState(row[4])) if row else None


def save(
    order_id: str,
    state: PaymentState,
    tx: Transaction,
    *,
    reason: str | None = None,
    capture_id: str | None = None,
    refund_id: str | None = None,
) -> None:
    """Write what is known now."""
    tx.execute(_SET, (state, reason, capture_id, refund_id, order_id))
