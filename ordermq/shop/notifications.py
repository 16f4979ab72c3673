"""The ``notifications`` table: a customer gets each notification of an order at most once by each channel.

    none ──> sending ──> sent <── none, failed: found in the service's ledger (``adopt``)
      │         ├──────> unknown (perhaps sent; final)
      │         └──────> failed (certainly not sent) ──> sending, on the next attempt
      └──> skipped (no address that can be used, or nothing to tell any more)

Invariants
    NTF1  A message is sent only after its row committed as ``sending``, and only by the worker
        that wrote the row so.
    NTF2  Only ``failed`` becomes ``sending`` again: a message that may have been sent is never
        sent again.
    NTF3  While a row is read and changed, the row of its order is locked.
    NTF4  Each refund is told once: of an order's numbered notifications one at a time is ``sending``,
        and it tells of what no other has told.
"""

from collections.abc import Iterable
from enum import StrEnum
from typing import NamedTuple

from ordermq.shop.commands import Template
from ordermq.shop.occasions import NUMBERED
from ordermq.store.arrays import array_of, arrays_of
from ordermq.task import Transaction


class NotificationChannel(StrEnum):
    """The ways to reach a customer."""

    TEXT = "text"
    EMAIL = "email"


class NotificationState(StrEnum):
    """The states of a notification; the module draws how they follow each other."""

    SENDING = "sending"
    SENT = "sent"
    UNKNOWN = "unknown"
    SKIPPED = "skipped"
    FAILED = "failed"


_SETTLED = frozenset({NotificationState.SENT, NotificationState.UNKNOWN, NotificationState.SKIPPED})

_TEMPLATES = frozenset(template.value for template in Template)


class NotificationKey(NamedTuple):
    """An order, which of its notifications, and its number: of a refund or declined card, else 0."""

    order_id: str
    template: Template
    number: int

    @property
    def reference(self) -> str:
        """What the service's ledger calls it."""
        return f"{self.order_id}:{self.template}" + (f":{self.number}" if self.number > 1 else "")

    @classmethod
    def read(cls, reference: str) -> "NotificationKey | None":
        """Return the key of a reference; None if it is none of a customer's."""
        order_id, _, rest = reference.partition(":")
        template, _, number = rest.partition(":")
        if template not in _TEMPLATES or not (number.isdecimal() or number == ""):
            return None
        is_numbered = template in NUMBERED
        return cls(order_id, Template(template), int(number[:9] or is_numbered))


# Migration 0017 has the functions.
_READ = "SELECT * FROM shop.notifications_of(%s, %s, %s)"
_SAVE = "SELECT shop.save_notifications(%s, %s, %s, %s, %s, %s, %s)"

_GIVE_UP = """
    INSERT INTO shop.notifications AS n (channel, template, number, state, reason, order_id)
    SELECT %s, %s, %s, 'failed', %s, order_id FROM shop.orders WHERE order_id = %s
    ON CONFLICT (order_id, template, channel, number) DO UPDATE
       SET state = 'unknown', reason = excluded.reason, updated_at = now() WHERE n.state = 'sending'
"""

_ADOPT = """
    INSERT INTO shop.notifications AS n (channel, order_id, template, number, state, reason)
    SELECT v.channel, order_id, v.template, v.number, 'sent', 'found in the ledger of the service'
      FROM (VALUES %s) AS v (channel, order_id, template, number) JOIN shop.orders USING (order_id)
    ON CONFLICT (order_id, template, channel, number) DO UPDATE
       SET state = excluded.state, reason = excluded.reason, updated_at = now() WHERE n.state = 'failed'
    RETURNING order_id, template, number
"""


def adopt(references: Iterable[str], channel: NotificationChannel, tx: Transaction) -> list[NotificationKey]:
    """Mark as sent what the service of ``channel`` has sent and the database does not know of.

    ``references`` are those of the service's ledger. For a database restored from a
    backup: its customers would get these messages a second time. Returns what was new.
    """
    keys = {NotificationKey.read(reference) for reference in references} - {None}
    rows = tx.fetch_values(_ADOPT, sorted((channel, *key) for key in keys if key is not None))
    return [NotificationKey(order_id, Template(template), number) for order_id, template, number in rows]


class Notifications:
    """The notifications of some orders by one channel: read when this object is made, changed by ``write()``.

    For one transaction, in which the orders are locked (NTF3). ``addresses`` are phone numbers or
    e-mail addresses by order_id, without orders that have none, if they are asked for. Never log them.
    """

    def __init__(
        self,
        order_ids: Iterable[str],
        channel: NotificationChannel,
        tx: Transaction,
        *,
        with_addresses: bool = False,
    ) -> None:
        self._tx = tx
        self._channel = channel
        self._changed: dict[NotificationKey, tuple[str | None, str | None]] = {}
        rows = tx.fetch_all(_READ, (array_of(sorted(set(order_ids))), channel, with_addresses))
        self.addresses: dict[str, str] = {
            order_id: address
            for order_id, template, _, address in rows
            if template is None and address is not None
        }
        self._states = {
            NotificationKey(order_id, template, number): NotificationState(state)
            for order_id, template, number, state in rows
            if template is not None
        }

    def state(self, key: NotificationKey) -> NotificationState | None:
        """Return the state of a notification; None if it was never begun."""
        return self._states.get(key)

    def settled_until(self, key: NotificationKey) -> int:
        """Return the highest number of the order's notifications like this one that need no sending."""
        return max((each.number for each in self._like(key) if self._states[each] in _SETTLED), default=0)

    def is_another_sending(self, key: NotificationKey) -> bool:
        """Return whether another number of the same notification is being sent (NTF4)."""
        sending = (each for each in self._like(key) if self._states[each] is NotificationState.SENDING)
        return any(each != key for each in sending)

    def set(
        self,
        key: NotificationKey,
        state: NotificationState,
        *,
        provider_id: str | None = None,
        reason: str | None = None,
    ) -> None:
        """Change the state of a notification; written by ``write()``."""
        self._states[key] = state
        self._changed[key] = (provider_id, reason)

    def write(self) -> None:
        """Write the changes."""
        rows = [
            (self._channel, *key, self._states[key], *self._changed[key]) for key in sorted(self._changed)
        ]
        if rows:
            self._tx.write(_SAVE, arrays_of(rows))
        self._changed.clear()

    def _like(self, key: NotificationKey) -> list[NotificationKey]:
        return [each for each in self._states if each[:2] == key[:2]]


def give_up(key: NotificationKey, channel: NotificationChannel, reason: str, tx: Transaction) -> None:
    """Record that the notification will not be tried again: unknown if it was being sent, else failed."""
    tx.write(_GIVE_UP, (channel, key.template, key.number, reason, key.order_id))
