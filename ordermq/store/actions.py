"""The ``actions`` table: who changed what by hand, when and why.

A row is written in the transaction that makes the change, so every change is recorded and
every record is a change.
"""

from collections.abc import Iterable
from datetime import datetime
from typing import NamedTuple

from ordermq.module import RecordSource
from ordermq.store.transaction import StoreTransaction

_RECORD = "INSERT INTO ordermq.actions (actor, action, subject, reason) VALUES %s"

_SELECT = """
    SELECT action_id, acted_at, actor, action, subject, reason FROM ordermq.actions
     WHERE (%(subject)s::text IS NULL OR subject = %(subject)s)
       AND (%(action)s::text IS NULL OR action = %(action)s)
       AND (%(actor)s::text IS NULL OR actor = %(actor)s)
     ORDER BY action_id DESC LIMIT %(limit)s
"""

# The audit log holds the hash of an action, because its folder is public and an action names persons.
RECORDS = RecordSource(
    "ordermq.actions",
    """SELECT '' AS subject, action_id AS number, acted_at AS at,
              convert_to(encode(sha256(convert_to(jsonb_build_array(
                  to_char(acted_at AT TIME ZONE 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS.US"Z"'),
                  actor, action, subject, reason)::text, 'UTF8')), 'hex'), 'UTF8') AS content
         FROM ordermq.actions""",
)


class Action(NamedTuple):
    """A row of the table."""

    action_id: int
    acted_at: datetime
    actor: str
    action: str
    subject: str
    reason: str


def record(tx: StoreTransaction, actor: str, action: str, subjects: Iterable[str], reason: str) -> None:
    """Record one action for each of ``subjects``: ``dead_letter 17``, ``order A-1001``."""
    tx.write_values(_RECORD, [(actor, action, subject, reason) for subject in subjects])


def select(
    tx: StoreTransaction,
    *,
    subject: str | None = None,
    action: str | None = None,
    actor: str | None = None,
    limit: int = 100,
) -> list[Action]:
    """Return recorded actions, newest first; None matches any."""
    params = {"subject": subject, "action": action, "actor": actor, "limit": limit}
    return [Action(*row) for row in tx.fetch_all(_SELECT, params)]
