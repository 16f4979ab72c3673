"""The ``starts`` table: how often a suspect message was begun without an end.

The row is committed before the handler runs and deleted by the transaction that
settles the message; if the message kills the process, the row stays and counts.
"""

from ordermq.store.transaction import Transaction

MAX_STARTS = 3

_BEGIN = """
    INSERT INTO ordermq.starts AS s (queue, message_id, hop) VALUES (%s, %s, %s)
    ON CONFLICT (queue, message_id, hop) DO UPDATE SET starts = s.starts + 1, started_at = now()
    RETURNING starts
"""


def begin(tx: Transaction, queue: str, message_id: str, hop: int) -> int:
    """Count a start; return how many there have been, this one included."""
    row = tx.fetch_one(_BEGIN, (queue, message_id, hop))
    return int(row[0]) if row else 1


def end(tx: Transaction, queue: str, message_id: str) -> None:
    """Forget the starts of a message: it was settled, or handed back unharmed."""
    tx.execute("DELETE FROM ordermq.starts WHERE queue = %s AND message_id = %s", (queue, message_id))
