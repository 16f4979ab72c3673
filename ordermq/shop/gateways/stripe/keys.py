"""The table stripe.keys: which PaymentIntent a key of ours made.

Stripe looks up nothing by an idempotency key and forgets each after a day, so this table remembers.

Invariants
    SKY1  A key's row is committed before the key is first used. So a key without a row was never
        used, whatever Stripe has forgotten.
    SKY2  What a row names as its PaymentIntent never changes.
"""

import logging
import threading
from datetime import datetime
from typing import NamedTuple

from ordermq.errors import GatewayUnavailable, StoreError
from ordermq.shop.log_events import STRIPE_KEY_UNWRITTEN
from ordermq.store import Session

log = logging.getLogger(__name__)

_BEGIN = """
    INSERT INTO stripe.keys (key, order_id) VALUES (%s, %s) ON CONFLICT (key) DO NOTHING
    RETURNING object_id, called_at
"""
_READ = "SELECT object_id, called_at FROM stripe.keys WHERE key = %s"
_NAME = "UPDATE stripe.keys SET object_id = %s WHERE key = %s AND object_id IS NULL"


class KeyRow(NamedTuple):
    """What is known of a key: the PaymentIntent it made, if that was ever learnt, and its first use."""

    object_id: str | None
    called_at: datetime
    is_new: bool = False


class Keys:
    """The table, by a session of its own. Safe for many threads: each statement is short."""

    def __init__(self, session: Session) -> None:
        self._session = session
        self._lock = threading.Lock()

    def begin(self, key: str, order_id: str) -> KeyRow:
        """Write that the key is about to be used; return what was known of it. Raises GatewayUnavailable."""
        try:
            with self._lock, self._session.transaction() as tx:
                made = tx.fetch_one(_BEGIN, (key, order_id))
                if made is not None:
                    return KeyRow(made[0], made[1], is_new=True)
                known = tx.fetch_one(_READ, (key,))
        except StoreError as exc:
            raise GatewayUnavailable(f"the table of Stripe's keys cannot be written: {exc}") from exc
        if known is None:
            raise GatewayUnavailable("the key has just been deleted from the table of Stripe's keys")
        return KeyRow(*known)

    def read(self, key: str) -> KeyRow | None:
        """Return what is known of the key; None if it was never used. Raises GatewayUnavailable."""
        try:
            with self._lock, self._session.transaction() as tx:
                row = tx.fetch_one(_READ, (key,))
        except StoreError as exc:
            raise GatewayUnavailable(f"the table of Stripe's keys cannot be read: {exc}") from exc
        return None if row is None else KeyRow(*row)

    def name(self, key: str, object_id: str) -> None:
        """Write which PaymentIntent the key made. A failure is logged: it is looked for when it is needed."""
        try:
            with self._lock, self._session.transaction() as tx:
                tx.execute(_NAME, (object_id, key))
        except StoreError as exc:
            log.warning("%s was not written down: %s", object_id, exc, extra=STRIPE_KEY_UNWRITTEN)
