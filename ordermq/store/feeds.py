"""The ``feeds`` table: how far the history of all records was sent to each way out, and what was refused.

Invariants
    FED1  Only the process whose transaction has locked a feed's row sends, from where the one before came to.
        The lock ends with its transaction, also that of a process that freezes (idle_in_transaction_s).
    FED2  A feed moves in the transaction under which what it passes was confirmed, and past no event that was
        neither confirmed nor written down as refused: nothing is skipped silently.
    FED3  A row with a lease is locked by its holder alone, until ``held_until`` has passed by the database's
        clock. That keeps the role with one process between its transactions; FED1 does not depend on it.
"""

import os
import secrets
import socket
from collections.abc import Sequence
from typing import NamedTuple

from ordermq.errors import UsageError
from ordermq.store.transaction import StoreTransaction

EVENTS = "events"
"""The feed of the stream PREFIX.events.log."""

_ENROL = "INSERT INTO ordermq.feeds (feed) VALUES (%s) ON CONFLICT DO NOTHING"
_READ = "SELECT next_position, last_event, refused FROM ordermq.feeds WHERE feed = %s"
_CLAIM = """
    SELECT next_position, last_event, refused,
           CASE WHEN holder = %(holder)s THEN date_part('epoch', held_until - clock_timestamp()) ELSE 0 END
      FROM ordermq.feeds
     WHERE feed = %(feed)s AND (holder = %(holder)s OR held_until <= clock_timestamp())
       FOR NO KEY UPDATE SKIP LOCKED
"""
_HOLDER = "SELECT holder FROM ordermq.feeds WHERE feed = %s"
_MOVE = """
    UPDATE ordermq.feeds
       SET next_position = %(next_position)s, last_event = %(last_event)s, refused = %(refused)s,
           holder = %(holder)s, held_until = clock_timestamp() + %(lease_s)s * interval '1 second',
           moved_at = clock_timestamp()
     WHERE feed = %(feed)s
"""
_REFUSE = """
    INSERT INTO ordermq.refused_events (feed, position, source, subject, number, reason) VALUES %s
    ON CONFLICT (feed, position) DO UPDATE SET reason = excluded.reason, refused_at = now()
"""
_RENEW = """
    UPDATE ordermq.feeds
       SET holder = %(holder)s, held_until = clock_timestamp() + %(lease_s)s * interval '1 second'
     WHERE feed = %(feed)s
"""
_GIVE_UP = "UPDATE ordermq.feeds SET held_until = '-infinity' WHERE feed = %s AND holder = %s"
_REWIND = "UPDATE ordermq.feeds SET next_position = %s, last_event = NULL WHERE feed = %s"
_IN_USE = """
    SELECT holder, held_until > clock_timestamp() FROM ordermq.feeds WHERE feed = %s FOR UPDATE SKIP LOCKED
"""
_REFUSED = """
    SELECT position FROM ordermq.refused_events WHERE feed = %s AND position >= %s AND position < %s
"""
_FORGET = ("DELETE FROM ordermq.refused_events WHERE feed = %s", "DELETE FROM ordermq.feeds WHERE feed = %s")


class FeedPlace(NamedTuple):
    """How far a feed is: the next position to look at, and which one the next event names as that before it.

    ``refused`` is how many events were written down as refused.
    """

    next_position: int = 0
    last_event: int | None = None
    refused: int = 0


class FeedClaim(NamedTuple):
    """A feed that is locked: how far it is, and how many seconds are left of this process's lease."""

    place: FeedPlace
    left_s: float


class RefusedEvent(NamedTuple):
    """An event that a feed does not send, and why."""

    position: int
    source: str
    subject: str
    number: int
    reason: str


def holder_name() -> str:
    """Return a name for this process that no other has, also one with its host and its pid."""
    return f"{socket.gethostname()[:64]}:{os.getpid()}:{secrets.token_hex(4)}"


def enrol_feed(tx: StoreTransaction, feed: str) -> None:
    """Make the row of a feed, at the beginning of the history, if there is none."""
    tx.execute(_ENROL, (feed,))


def read_feed(tx: StoreTransaction, feed: str) -> FeedPlace | None:
    """Return how far a feed is; None if it has no row."""
    row = tx.fetch_one(_READ, (feed,))
    return FeedPlace(*row) if row else None


def read_holder(tx: StoreTransaction, feed: str) -> str | None:
    """Return which process sends, or was the last to; None if the feed has no row."""
    row = tx.fetch_one(_HOLDER, (feed,))
    return None if row is None else str(row[0])


def claim_feed(tx: StoreTransaction, feed: str, holder: str) -> FeedClaim | None:
    """Lock a feed until the transaction ends; None if another process has it, or its lease. FED1, FED3."""
    row = tx.fetch_one(_CLAIM, {"feed": feed, "holder": holder})
    return None if row is None else FeedClaim(FeedPlace(row[0], row[1], row[2]), float(row[3]))


def move_feed(
    tx: StoreTransaction,
    feed: str,
    holder: str,
    to: FeedPlace,
    refused: Sequence[RefusedEvent] = (),
    *,
    lease_s: float = 0.0,
) -> None:
    """Store how far a feed is now, and what it refused; ``lease_s`` begins now. FED2. Claim it before."""
    if refused:
        tx.write_values(_REFUSE, [(feed, *each) for each in refused])
    tx.write(_MOVE, {"feed": feed, "holder": holder, "lease_s": lease_s, **to._asdict()})


def renew_lease(tx: StoreTransaction, feed: str, holder: str, lease_s: float) -> None:
    """Begin the lease of ``holder`` anew. Claim the feed before."""
    tx.write(_RENEW, {"feed": feed, "holder": holder, "lease_s": lease_s})


def give_up_lease(tx: StoreTransaction, feed: str, holder: str) -> None:
    """End the lease of ``holder``, if it still is the holder."""
    tx.execute(_GIVE_UP, (feed, holder))


def rewind_feed(tx: StoreTransaction, feed: str, to: int) -> FeedPlace:
    """Have a feed send everything from position ``to`` on again; return how far it was. Waits for its lock.

    The first event that is sent then names none before it. A position that is not sent yet changes nothing.
    """
    row = tx.fetch_one(f"{_READ} FOR NO KEY UPDATE", (feed,))
    before = FeedPlace(*row) if row else FeedPlace()
    if to < before.next_position:
        tx.execute(_REWIND, (to, feed))
    return before


def refused_positions(tx: StoreTransaction, feed: str, begin: int, end: int) -> set[int]:
    """Return the positions from ``begin`` to before ``end`` whose events a feed has refused."""
    return {row[0] for row in tx.fetch_all(_REFUSED, (feed, begin, end))}


def forget_feed(tx: StoreTransaction, feed: str) -> FeedPlace:
    """Delete a feed and what it refused; return how far it was. Raises UsageError if it is in use."""
    place, used = read_feed(tx, feed), tx.fetch_one(_IN_USE, (feed,))
    if place is None:
        raise UsageError(f"there is no feed {feed!r}; 'ordermq events feeds' lists them")
    if used is None or used[1]:
        holder = read_holder(tx, feed)
        raise UsageError(f"feed {feed!r} is in use by {holder}; stop that process, and what starts it again")
    for each in _FORGET:
        tx.execute(each, (feed,))
    return place
