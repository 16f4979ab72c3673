"""The ``notifications`` table: each order is told each thing at most once.

    none ──> sending ──> sent
      │         ├──────> unknown (perhaps sent; final)
      │         └──────> failed (certainly not sent) ──> sending, on the next attempt
      └──> skipped (no phone)

Invariants
    N1  A message is sent only after its row committed as ``sending``, by whoever wrote it so.
    N2  Only ``failed`` becomes ``sending`` again: what may have been sent is never resent.
"""

from enum import StrEnum
from typing import NamedTuple

from ordermq.orders.commands import Template
from ordermq.store import Transaction


class NotificationState(StrEnum):
    """See the module."""

    SENDING = "sending"
    SENT = "sent"
    UNKNOWN = "unknown"
    SKIPPED = "skipped"
    FAILED = "failed"


class Recipient(NamedTuple):
    """Whom to tell about which amount. Never log it."""

    phone: str | None
    amount_minor: int
    currency: str


_RECIPIENT = """
    SELECT c.phone, o.total_minor, o.currency
      FROM shop.orders AS o JOIN shop.contacts AS c USING (order_id) WHERE o.order_id = %s
"""

_BEGIN = """
    INSERT INTO shop.notifications AS n (order_id, template, state) VALUES (%s, %s, 'sending')
    ON CONFLICT (order_id, template) DO UPDATE
       SET state = 'sending', reason = NULL, updated_at = now() WHERE n.state = 'failed'
    RETURNING state
"""

_STATE = "SELECT state FROM shop.notifications WHERE order_id = %s AND template = %s"

_SAVE = """
    INSERT INTO shop.notifications (order_id, template, state, provider_id, reason)
    VALUES (%s, %s, %s, %s, %s)
    ON CONFLICT (order_id, template) DO UPDATE
       SET state = excluded.state, provider_id = excluded.provider_id, reason = excluded.reason,
           updated_at = now()
"""

_GIVE_UP = """
    INSERT INTO shop.notifications AS n (order_id, template, state, reason) VALUES (%s, %s, 'failed', %s)
    ON CONFLICT (order_id, template) DO UPDATE
       SET state = 'unknown', reason = excluded.reason, updated_at = now() WHERE n.state = 'sending'
"""


def recipient(order_id: str, tx: Transaction) -> Recipient | None:
    """Read whom to tell; None if there is no such order."""
    row = tx.fetch_one(_RECIPIENT, (order_id,))
    return Recipient(*row) if row else None


def begin(order_id: str, template: Template, tx: Transaction) -> NotificationState | None:
    """Write ``sending`` if it may be sent now, and return None; else return what it is already (N2)."""
    if tx.fetch_one(_BEGIN, (order_id, template)) is not None:
        return None
    return state(order_id, template, tx)


def state(order_id: str, template: Template, tx: Transaction) -> NotificationState | None:
    """Return what became of it so far; None if it was never begun."""
    row = tx.fetch_one(_STATE, (order_id, template))
    return NotificationState(row[0]) if row else None


def save(
    order_id: str,
    template: Template,
    new_state: NotificationState,
    tx: Transaction,
    *,
    provider_id: str | None = None,
    reason: str | None = None,
) -> None:
    """Write what is known now."""
    tx.execute(_SAVE, (order_id, template, new_state, provider_id, reason))


def give_up(order_id: str, template: Template, reason: str, tx: Transaction) -> None:
    """Write that nobody will try any more: unknown if it was being sent, else failed."""
    tx.execute(_GIVE_UP, (order_id, template, reason))
