"""What waits for each feed: how many records of the history, and for how long."""

from collections.abc import Collection
from typing import NamedTuple

from ordermq.store.positions import count_positions
from ordermq.store.transaction import StoreTransaction

_FEEDS = """
    SELECT feed, next_position, refused, CASE WHEN held_until > clock_timestamp() THEN holder ELSE '' END,
           holder, greatest(0, date_part('epoch', clock_timestamp() - moved_at))
      FROM ordermq.feeds ORDER BY feed
"""
_WAITS_S = """
    SELECT greatest(0, date_part('epoch', now() - oldest)) FROM ordermq.positions
     WHERE first_position >= coalesce(
               (SELECT max(first_position) FROM ordermq.positions WHERE first_position <= %(begin)s), 0)
       AND first_position + records > %(begin)s AND source = ANY(%(sources)s)
     ORDER BY first_position LIMIT 1
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


class FeedStatus(NamedTuple):
    """A feed as it stands. ``behind`` counts positions; ``behind_s`` is how long its first event has waited.

    ``holder`` is the process that has its lease, and empty if none has; ``last_holder`` the one that sent
    last. ``moved_s`` is how long ago that was.
    """

    feed: str
    next_position: int
    behind: int
    behind_s: float
    refused: int
    holder: str
    last_holder: str
    moved_s: float


def feeds_now(tx: StoreTransaction, sources: Collection[str]) -> list[FeedStatus]:
    """Return all feeds; records of ``sources`` are the events."""
    end, rows = count_positions(tx), tx.fetch_all(_FEEDS)
    return [
        FeedStatus(row[0], row[1], end - row[1], waits_s(tx, row[1], sources), row[2], row[3], row[4], row[5])
        for row in rows
    ]


def waits_s(tx: StoreTransaction, begin: int, sources: Collection[str]) -> float:
    """Return the age in seconds of the first record of ``sources`` from ``begin`` on; 0 if there is none."""
    (seconds,) = tx.fetch_one(_WAITS_S, {"begin": begin, "sources": list(sources)}) or (0.0,)
    return float(seconds)


def position_before(tx: StoreTransaction, sources: Collection[str], begin: int) -> int | None:
    """Return the last position before ``begin`` that a record of ``sources`` has; None if none has."""
    row = tx.fetch_one(_BEFORE, {"begin": begin, "sources": list(sources)})
    return None if row is None else int(row[0])


def waiting_records(tx: StoreTransaction, begin: int, end: int) -> dict[str, int]:
    """Return how many records of each source have positions from ``begin`` to before ``end``."""
    return {row[0]: row[1] for row in tx.fetch_all(_WAITING, {"begin": begin, "end": end}) if row[1] > 0}
