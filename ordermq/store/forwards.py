"""The ``forwards`` table: how far the history was forwarded to each target outside, and what could not be.

Invariants
    FWD1  Only the process whose transaction has locked a target's row sends, from where the one before came
        to. A process that freezes loses the lock with its transaction (idle_in_transaction_s).
    FWD2  The progress of a target moves in the transaction under which its events were acknowledged, and past
        no event that was neither acknowledged nor written down as refused.
    FWD3  A row is locked by its holder alone, until ``held_until`` has passed by the database's clock. That
        keeps the role with one process between its transactions; FWD1 does not depend on it.
"""

from collections.abc import Sequence
from typing import NamedTuple

from ordermq.store.transaction import StoreTransaction

LEASE_S = 8.0
"""For so long after its last sign a process that died is waited for."""

_ENROL = "INSERT INTO ordermq.forwards (target) VALUES (%s) ON CONFLICT DO NOTHING"
_CLAIM = """
    SELECT next_position, refused,
           CASE WHEN holder = %(holder)s THEN date_part('epoch', held_until - clock_timestamp()) ELSE 0 END
      FROM ordermq.forwards
     WHERE target = %(target)s AND (holder = %(holder)s OR held_until <= clock_timestamp())
       FOR NO KEY UPDATE SKIP LOCKED
"""
_READ = "SELECT next_position, refused FROM ordermq.forwards WHERE target = %s"
_HOLDER = "SELECT holder FROM ordermq.forwards WHERE target = %s"
_MOVE = """
    UPDATE ordermq.forwards
       SET next_position = %(next_position)s, refused = %(refused)s, moved_at = clock_timestamp(),
           holder = %(holder)s, held_until = clock_timestamp() + %(lease_s)s * interval '1 second'
     WHERE target = %(target)s
"""
_RENEW = """
    UPDATE ordermq.forwards
       SET holder = %(holder)s, held_until = clock_timestamp() + %(lease_s)s * interval '1 second'
     WHERE target = %(target)s
"""
_GIVE_UP = """
    UPDATE ordermq.forwards SET held_until = '-infinity' WHERE target = %s AND holder = %s
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


class FeedClaim(NamedTuple):
    """A row that is locked: how far its target has come, and what is left of our lease."""

    progress: ForwardProgress
    left_s: float


def enrol(tx: StoreTransaction, target: str) -> None:
    """Make the row of ``target`` if there is none."""
    tx.execute(_ENROL, (target,))


def claim(tx: StoreTransaction, target: str, holder: str) -> FeedClaim | None:
    """Lock ``target`` until the transaction ends; None if another process has it or its lease."""
    row = tx.fetch_one(_CLAIM, {"target": target, "holder": holder})
    return None if row is None else FeedClaim(ForwardProgress(row[0], row[1]), float(row[2]))


def read_holder(tx: StoreTransaction, target: str) -> str | None:
    """Return which process forwards, or was the last to; None if the target has no row."""
    row = tx.fetch_one(_HOLDER, (target,))
    return None if row is None else str(row[0])


def read_progress(tx: StoreTransaction, target: str) -> ForwardProgress:
    """Return how far ``target`` has come; the beginning if nothing was ever forwarded to it."""
    row = tx.fetch_one(_READ, (target,))
    return ForwardProgress() if row is None else ForwardProgress(*row)


def move(
    tx: StoreTransaction,
    target: str,
    holder: str,
    progress: ForwardProgress,
    refused: Sequence[Unforwarded],
) -> None:
    """Write down how far ``target`` has come, and which events it will not get. FWD2. Lock its row before."""
    if refused:
        tx.write_values(_REFUSE, [(target, *each) for each in refused])
    tx.write(_MOVE, {"target": target, "holder": holder, "lease_s": LEASE_S, **progress._asdict()})


def renew(tx: StoreTransaction, target: str, holder: str) -> None:
    """Begin the lease of ``holder`` anew. The row must be locked."""
    tx.write(_RENEW, {"target": target, "holder": holder, "lease_s": LEASE_S})


def give_up(tx: StoreTransaction, target: str, holder: str) -> None:
    """End the lease of ``holder``, if it still is the holder."""
    tx.execute(_GIVE_UP, (target, holder))


def position_before(tx: StoreTransaction, sources: Sequence[str], begin: int) -> int | None:
    """Return the last position before ``begin`` that a record of ``sources`` has; None if none has."""
    row = tx.fetch_one(_BEFORE, {"begin": begin, "sources": list(sources)})
    return None if row is None else int(row[0])


def waiting_records(tx: StoreTransaction, begin: int, end: int) -> dict[str, int]:
    """Return how many records of each source have positions from ``begin`` to before ``end``."""
    return {row[0]: row[1] for row in tx.fetch_all(_WAITING, {"begin": begin, "end": end}) if row[1] > 0}
