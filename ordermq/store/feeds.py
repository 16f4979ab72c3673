"""The ``feeds`` table: how far the history of all records was sent to others.

Invariants
    FED1  Who holds the lock of a feed's row is the only one that sends. The lock ends with its transaction.
    FED2  A feed moves after what it passes was confirmed, never before: nothing is skipped.
"""

from collections.abc import Collection
from typing import NamedTuple

from ordermq.store.transaction import StoreTransaction

EVENTS = "events"
"""The feed of the stream PREFIX.events.log."""

_READ = "SELECT next_position, last_event FROM ordermq.feeds WHERE feed = %s"
_LOCK = f"{_READ} FOR NO KEY UPDATE SKIP LOCKED"
_MOVE = """
    UPDATE ordermq.feeds SET next_position = %s, last_event = %s, moved_at = clock_timestamp() WHERE feed = %s
"""
_BEHIND_S = """
    SELECT greatest(0, date_part('epoch', now() - oldest)) FROM ordermq.positions
     WHERE first_position >= coalesce(
               (SELECT max(first_position) FROM ordermq.positions WHERE first_position <= %(begin)s), 0)
       AND first_position + records > %(begin)s AND source = ANY(%(sources)s)
     ORDER BY first_position LIMIT 1
"""


class FeedPlace(NamedTuple):
    """How far a feed is: the next position to look at, and the position of the event sent last, if any."""

    next_position: int
    last_event: int | None


def read_feed(tx: StoreTransaction, feed: str) -> FeedPlace:
    """Return how far a feed is."""
    row = tx.fetch_one(_READ, (feed,))
    return FeedPlace(*row) if row else FeedPlace(0, None)


def lock_feed(tx: StoreTransaction, feed: str) -> FeedPlace | None:
    """Lock a feed until the transaction ends (FED1); None if another process has it."""
    row = tx.fetch_one(_LOCK, (feed,))
    return FeedPlace(*row) if row else None


def rewind_feed(tx: StoreTransaction, feed: str, to: int) -> FeedPlace:
    """Have a feed send everything from position ``to`` on again; return how far it was. Waits for its lock.

    The first event that is sent then names none before it. A position that is not sent yet changes nothing.
    """
    before = FeedPlace(*(tx.fetch_one(f"{_READ} FOR NO KEY UPDATE", (feed,)) or (0, None)))
    if to < before.next_position:
        move_feed(tx, feed, FeedPlace(to, None))
    return before


def move_feed(tx: StoreTransaction, feed: str, to: FeedPlace) -> None:
    """Store how far a feed is now. Its row must be locked."""
    tx.execute(_MOVE, (*to, feed))


def feed_behind_s(tx: StoreTransaction, begin: int, sources: Collection[str]) -> float:
    """Return the age in seconds of the first record of ``sources`` from ``begin`` on; 0 if there is none."""
    (seconds,) = tx.fetch_one(_BEHIND_S, {"begin": begin, "sources": list(sources)}) or (0.0,)
    return float(seconds)
