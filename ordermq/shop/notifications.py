"""The ``notifications`` table: a customer gets each notification of an order at most once.

    none ──> sending ──> sent <── none, failed: found in the service's ledger (``adopt``)
      │         ├──────> unknown (perhaps sent; final)
      │         └──────> failed (certainly not sent) ──> sending, on the next attempt
      └──> skipped (no phone)

Invariants
    NTF1  A text is sent only after its row committed as ``sending``, and only by the worker
        that wrote the row so.
    NTF2  Only ``failed`` becomes ``sending`` again: a text that may have been sent is never
        sent again.
    NTF3  While a row is read and changed, the row of its order is locked.
"""

from collections.abc import Iterable
from enum import StrEnum

from ordermq.shop.commands import Template
from ordermq.task import Transaction


class NotificationState(StrEnum):
    """The states of a notification; the module draws how they follow each other."""

    SENDING = "sending"
    SENT = "sent"
    UNKNOWN = "unknown"
    SKIPPED = "skipped"
    FAILED = "failed"


_TEMPLATES = frozenset(template.value for template in Template)

Key = tuple[str, Template]
"""An order, and which of its notifications."""

_PHONES = "SELECT order_id, phone FROM shop.contacts WHERE order_id = ANY(%s) AND phone IS NOT NULL"

_STATES = "SELECT order_id, template, state FROM shop.notifications WHERE order_id = ANY(%s)"

_SAVE = """
    INSERT INTO shop.notifications (order_id, template, state, provider_id, reason) VALUES %s
    ON CONFLICT (order_id, template) DO UPDATE
       SET state = excluded.state, provider_id = excluded.provider_id, reason = excluded.reason,
           updated_at = now()
"""

_GIVE_UP = """
    INSERT INTO shop.notifications AS n (order_id, template, state, reason)
    SELECT order_id, %s, 'failed', %s FROM shop.orders WHERE order_id = %s
    ON CONFLICT (order_id, template) DO UPDATE
       SET state = 'unknown', reason = excluded.reason, updated_at = now() WHERE n.state = 'sending'
"""


_ADOPT = """
    INSERT INTO shop.notifications AS n (order_id, template, state, reason)
    SELECT order_id, v.template, 'sent', 'found in the ledger of the SMS service'
      FROM (VALUES %s) AS v (order_id, template) JOIN shop.orders USING (order_id)
    ON CONFLICT (order_id, template) DO UPDATE
       SET state = excluded.state, reason = excluded.reason, updated_at = now() WHERE n.state = 'failed'
    RETURNING order_id, template
"""


def adopt(references: Iterable[str], tx: Transaction) -> list[Key]:
    """Mark as sent what the SMS service has sent and the database does not know of.

    ``references`` are those of the service's ledger. For a database restored from a
    backup: its customers would get these texts a second time. Returns what was new.
    """
    wanted = []
    for reference in references:
        order_id, _, template = reference.partition(":")
        if template in _TEMPLATES:
            wanted.append((order_id, template))
    rows = tx.fetch_values(_ADOPT, sorted(set(wanted)))
    return [(order_id, Template(template)) for order_id, template in rows]


def phones(order_ids: Iterable[str], tx: Transaction) -> dict[str, str]:
    """Return the phone numbers by order_id, without orders that have none. Never log them."""
    return dict(tx.fetch_all(_PHONES, (list(order_ids),)))


class Notifications:
    """The notifications of some orders: read when this object is made, changed by ``write()``.

    For one transaction, in which the orders are locked (NTF3).
    """

    def __init__(self, order_ids: Iterable[str], tx: Transaction) -> None:
        self._tx = tx
        self._changed: dict[Key, tuple[str | None, str | None]] = {}
        self._states: dict[tuple[str, str], NotificationState] = {
            (order_id, template): NotificationState(state)
            for order_id, template, state in tx.fetch_all(_STATES, (sorted(set(order_ids)),))
        }

    def state(self, key: Key) -> NotificationState | None:
        """Return the state of a notification; None if it was never begun."""
        return self._states.get(key)

    def set(
        self, key: Key, state: NotificationState, *, provider_id: str | None = None, reason: str | None = None
    ) -> None:
        """Change the state of a notification; written by ``write()``."""
        self._states[key] = state
        self._changed[key] = (provider_id, reason)

    def write(self) -> None:
        """Write the changes."""
        rows = [(*key, self._states[key], *self._changed[key]) for key in sorted(self._changed)]
        self._tx.write_values(_SAVE, rows)
        self._changed.clear()


def give_up(order_id: str, template: Template, reason: str, tx: Transaction) -> None:
    """Record that the notification will not be tried again: unknown if it was being sent, else failed."""
    tx.write(_GIVE_UP, (template, reason, order_id))
