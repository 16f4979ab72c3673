"""The ``forwards`` table: how far the history was forwarded to each target outside, and what could not be.

Invariants
    FWD1  One process at a time forwards to a target: the one whose transaction holds the target's lock. It
        reads how far the one before came after it has the lock.
    FWD2  The progress of a target moves in the transaction under which its events were acknowledged, and past
        no event that was neither acknowledged nor written down as refused.
"""

from collections.abc import Sequence
from typing import NamedTuple

from ordermq.store.transaction import StoreTransaction

# A server that takes no writes would let events be sent again and again.
_LOCK = """
    SELECT current_setting('transaction_read_only') = 'off'
           AND pg_try_advisory_xact_lock(hashtextextended('ordermq forward ' || %s, 0))
"""
_READ = "SELECT next_position, refused FROM ordermq.forwards WHERE target = %s"
_MOVE = """
    INSERT INTO ordermq.forwards (target, next_position, refused)
    VALUES (%(target)s, %(next_position)s, %(refused)s)
    ON CONFLICT (target) DO UPDATE
       SET next_position = excluded.next_position, refused = excluded.refused, moved_at = now()
"""
_REFUSE = """
    INSERT INTO ordermq.unforwarded (target, position, source, subject, number, reason) VALUES %s
    ON CONFLICT (target, position) DO UPDATE SET reason = excluded.reason, refused_at = now()
"""
# Positions of one row are of one source. The row that holds `begin` may be the one.
_BEFORE = """
    SELECT least(first_position + records, %(begin)s) - 1 FROM ordermq.positions
     WHERE first_position < %(begin)s AND source = ANY(%(sources)s)
     ORDER BY first_position DESC LIMIT 1
"""
_WAITING = """
    SELECT source, sum(least(first_position + records, %(end)s) - greatest(first_position, %(begin)s))::bigint
      FROM ordermq.positions
     WHERE first_position < %(end)s AND first_position >= coalesce(
               (SELECT max(first_position) FROM ordermq.positions WHERE first_position <= %(begin)s), 0)
     GROUP BY source ORDER BY source
"""


class ForwardProgress(NamedTuple):
    """How far a target has come: the next position, and how many events were refused."""

    next_position: int = 0
    refused: int = 0


class Unforwarded(NamedTuple):
    """An event that no target outside will get, and why."""

    position: int
    source: str
    subject: str
    number: int
    reason: str


def lock_target(tx: StoreTransaction, target: str) -> bool:
    """Take the lock of ``target`` until the transaction ends; False if another process has it. FWD1."""
    (is_ours,) = tx.fetch_one(_LOCK, (target,)) or (False,)
    return bool(is_ours)


def read_progress(tx: StoreTransaction, target: str) -> ForwardProgress:
    """Return how far ``target`` has come; the beginning if nothing was ever forwarded to it."""
    row = tx.fetch_one(_READ, (target,))
    return ForwardProgress() if row is None else ForwardProgress(*row)


def move(
    tx: StoreTransaction, target: str, progress: ForwardProgress, refused: Sequence[Unforwarded]
) -> None:
    """Write down how far ``target`` has come, and which events it will not get. FWD2."""
    if refused:
        tx.write_values(_REFUSE, [(target, *each) for each in refused])
    tx.write(_MOVE, {"target": target, **progress._asdict()})


def position_before(tx: StoreTransaction, sources: Sequence[str], begin: int) -> int | None:
    """Return the last position before ``begin`` that a record of ``sources`` has; None if none has."""
    row = tx.fetch_one(_BEFORE, {"begin": begin, "sources": list(sources)})
    return None if row is None else int(row[0])


def waiting_records(tx: StoreTransaction, begin: int, end: int) -> dict[str, int]:
    """Return how many records of each source have positions from ``begin`` to before ``end``."""
    return {row[0]: row[1] for row in tx.fetch_all(_WAITING, {"begin": begin, "end": end}) if row[1] > 0}
