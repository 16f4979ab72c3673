"""The ``starts`` table: how often a redelivered message was begun and not ended.

The row is committed before the handler runs, and the transaction that settles the message
deletes it. If the message kills the process, the row stays and counts.
"""

from collections.abc import Mapping, Sequence
from typing import NamedTuple

from ordermq.store.transaction import StoreTransaction

MAX_STARTS = 3

_BEGIN = """
    INSERT INTO ordermq.starts (queue, message_id) VALUES %s
    ON CONFLICT (queue, message_id) DO NOTHING RETURNING message_id
"""

_KNOWN = "SELECT message_id, starts, overdue FROM ordermq.starts WHERE queue = %s AND message_id = ANY(%s)"

_PUT = """
    INSERT INTO ordermq.starts (queue, message_id, starts, overdue) VALUES %s
    ON CONFLICT (queue, message_id) DO UPDATE SET starts = excluded.starts, overdue = excluded.overdue,
        started_at = now()
"""

_OVERDUE = """
    INSERT INTO ordermq.starts AS s (queue, message_id, overdue) VALUES %s
    ON CONFLICT (queue, message_id) DO UPDATE SET overdue = s.overdue + 1
"""


class Started(NamedTuple):
    """Starts of a message that did not end, and how many of them ran past the handler's deadline."""

    starts: int = 0
    overdue: int = 0


NEVER = Started()


def begin(tx: StoreTransaction, queue: str, message_ids: Sequence[str]) -> dict[str, Started]:
    """Record the first start of each message; return the starts of those begun before, unchanged."""
    rows = [(queue, message_id) for message_id in sorted(message_ids)]
    first = {row[0] for row in tx.fetch_values(_BEGIN, rows)}
    others = [message_id for message_id in message_ids if message_id not in first]
    known = tx.fetch_all(_KNOWN, (queue, others)) if others else []
    return {message_id: Started(starts, overdue) for message_id, starts, overdue in known}


def put(tx: StoreTransaction, queue: str, started: Mapping[str, Started]) -> None:
    """Write the starts of these messages, by message_id."""
    tx.write_values(_PUT, [(queue, message_id, *each) for message_id, each in sorted(started.items())])


def mark_overdue(tx: StoreTransaction, queue: str, message_ids: Sequence[str]) -> None:
    """Record that the handler of these messages ran past its deadline; a first start is recorded too."""
    tx.write_values(_OVERDUE, [(queue, message_id, 1) for message_id in sorted(message_ids)])


def end(tx: StoreTransaction, queue: str, message_ids: Sequence[str]) -> None:
    """Delete the starts of messages that were settled, or given back unharmed."""
    if message_ids:
        tx.write(
            "DELETE FROM ordermq.starts WHERE queue = %s AND message_id = ANY(%s)",
            (queue, list(message_ids)),
        )
