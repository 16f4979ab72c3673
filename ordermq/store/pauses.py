"""The ``pauses`` table: queues that a person has paused, now and before.

Each consumer reads once a second what is new for its queue. A row is never deleted, because the
age of a message is counted without the time in which its queue was paused.

Invariants
    PAU1  A queue has at most one pause that is not resumed, which is its newest: the unique
        index decides, also between two people at the same moment.
"""

from datetime import datetime
from typing import NamedTuple

from ordermq.store.transaction import StoreTransaction

_COLUMNS = "pause_id, queue, paused_at, paused_by, pause_reason, resumed_at"

_PAUSE = f"""
    INSERT INTO ordermq.pauses (queue, paused_at, paused_by, pause_reason)
    VALUES (%s, clock_timestamp(), %s, %s)
    ON CONFLICT (queue) WHERE resumed_at IS NULL DO NOTHING RETURNING {_COLUMNS}
"""  # noqa: S608 # constants; values are bound

_RESUME = f"""
    UPDATE ordermq.pauses SET resumed_at = clock_timestamp(), resumed_by = %s, resume_reason = %s
     WHERE queue = %s AND resumed_at IS NULL RETURNING {_COLUMNS}
"""  # noqa: S608 # as above

_OPEN = f"SELECT {_COLUMNS} FROM ordermq.pauses WHERE resumed_at IS NULL ORDER BY queue"  # noqa: S608 # as above


class QueuePause(NamedTuple):
    """A row of the table. ``resumed_at`` is None while the pause lasts."""

    pause_id: int
    queue: str
    paused_at: datetime
    paused_by: str
    pause_reason: str
    resumed_at: datetime | None


def pause(tx: StoreTransaction, queue: str, *, by: str, reason: str) -> QueuePause | None:
    """Pause a queue; return None if it is paused already, which stays as it is."""
    row = tx.fetch_one(_PAUSE, (queue, by, reason))
    return QueuePause(*row) if row else None


def resume(tx: StoreTransaction, queue: str, *, by: str, reason: str) -> QueuePause | None:
    """End the pause of a queue and return it; None if it is not paused."""
    row = tx.fetch_one(_RESUME, (by, reason, queue))
    return QueuePause(*row) if row else None


def paused_now(tx: StoreTransaction) -> list[QueuePause]:
    """Return the pauses that last, by queue."""
    return [QueuePause(*row) for row in tx.fetch_all(_OPEN)]
