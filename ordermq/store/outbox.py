"""The ``outbox`` table: messages that commit with the data they describe.

The relay claims rows while it holds an advisory lock, so one relay is active. It deletes the
rows that the broker confirmed. If the relay ends, its lock and its claim end with its
transaction, and the next relay publishes the same rows again: delivery is at least once, and
the consumer's inbox makes the effect once.

Invariants
    OUT1  A row is deleted only after the broker confirmed its publishing.
    OUT2  The due rows of one correlation_id are published in the order they were written.
        A refused row holds back the later rows of its own correlation_id and no others.
"""

import logging
from collections.abc import Sequence
from datetime import datetime
from typing import NamedTuple

import psycopg2
from psycopg2.extensions import TRANSACTION_STATUS_INERROR, TRANSACTION_STATUS_INTRANS
from psycopg2.extensions import connection as Connection
from psycopg2.extensions import cursor as Cursor

from ordermq.clock import monotonic_s
from ordermq.errors import ReadOnlyServer, UsageError
from ordermq.log_events import DATABASE_NOT_NOTIFIED
from ordermq.store.arrays import array_of
from ordermq.store.low_mark import LowMark
from ordermq.store.outgoing import COLUMNS, WRITTEN_AT, OutboxRow, row_of
from ordermq.store.session import Session
from ordermq.store.transaction import StoreTransaction, check_driver

log = logging.getLogger(__name__)

CHANNEL = "ordermq_outbox"  # the NOTIFY channel that wakes the relay

MAX_CLAIM_BYTES = 16 * 1024 * 1024  # bodies of one claim: bounds the memory of a relay

RELAY_LOCK = 0x6F72646572_6D71  # "ordermq" as a number: the advisory lock of the active relay

# Migrations 0007, 0011, 0016 and 0018 have the functions. This one takes the lock and returns due rows.
_CLAIM = f"""
    SELECT idle, low, next_low, next_xid, outbox_id, refusals, due_at, {COLUMNS}
      FROM ordermq.claim(%s, %s, %s, %s, %s, %s, %s::xid8, %s)
"""  # noqa: S608 # COLUMNS is a constant

_REFUSED = """
    UPDATE ordermq.outbox AS o
       SET refusals = o.refusals + 1, refused_reason = v.reason,
           available_at = now() + v.delay_s * interval '1 second'
      FROM unnest(%(ids)s::bigint[], %(reasons)s::text[], %(delays_s)s::float8[])
           AS v (outbox_id, reason, delay_s)
     WHERE o.outbox_id = v.outbox_id AND o.outbox_id = ANY(%(ids)s::bigint[])
"""

_HASTEN = f"""
    UPDATE ordermq.outbox SET available_at = {WRITTEN_AT}
     WHERE routing_key = %s AND correlation_id = %s AND type = ANY(%s) AND refusals = 0
       AND available_at > now()
"""  # noqa: S608 # WRITTEN_AT is a constant

_REFUSING = """
    SELECT routing_key, max(refused_reason) FROM ordermq.outbox WHERE refusals > 0 GROUP BY routing_key
"""

_IS_REFUSED = """
    SELECT EXISTS (
        SELECT FROM ordermq.outbox WHERE refusals > 0 AND routing_key = %s AND available_at > now())
"""

_PENDING = """
    SELECT count(*), coalesce(extract(epoch FROM now() - min(available_at)), 0)::float8
      FROM (SELECT available_at FROM ordermq.outbox
             WHERE available_at BETWEEN coalesce(%(low)s::timestamptz, '-infinity') AND now()
             ORDER BY available_at LIMIT %(limit)s) AS due
"""

_COUNT_LATER = """
    SELECT count(*) FROM (SELECT FROM ordermq.outbox WHERE available_at > now() LIMIT %s) AS later
"""

_COUNT_REFUSED = """
    SELECT count(*) FROM (SELECT FROM ordermq.outbox WHERE refusals > 0 LIMIT %s) AS refused
"""


class ClaimedRow(NamedTuple):
    """A message the relay is about to publish; ``refusals`` counts earlier returns and nacks.

    ``due_at`` is the time at which it was due, in seconds since 1970; None once the broker refused it.
    """

    outbox_id: int
    refusals: int
    row: OutboxRow
    due_at: float | None = None


def wake_relay(session: Session | Connection) -> None:
    """Notify the relay, best effort, that rows were committed; its poll would find them too, a little later.

    With a psycopg2 connection of your own: call it after your commit. It commits the
    notification by itself and raises UsageError inside a transaction, because a notification
    in a writing transaction makes all commits of the server queue behind one lock. Another driver's
    connection is a UsageError too.
    """
    if isinstance(session, Session):
        session.notify(CHANNEL)
        return
    check_driver(session)
    if session.get_transaction_status() in (TRANSACTION_STATUS_INTRANS, TRANSACTION_STATUS_INERROR):
        raise UsageError("wake_relay() inside a transaction: call it after the commit")
    try:
        with session.cursor(cursor_factory=Cursor) as cursor:
            cursor.execute(f"NOTIFY {CHANNEL}")
        session.commit()
    except psycopg2.Error as exc:
        log.debug("could not notify the relay: %s", exc, extra=DATABASE_NOT_NOTIFIED)


def claim(
    tx: StoreTransaction, limit: int, *, beside: Sequence[str] = (), mark: LowMark | None = None
) -> list[ClaimedRow] | None:
    """Become the active relay until the transaction ends; return None if another relay is active.

    Returns up to ``limit`` due rows, oldest first; fewer if their bodies reach MAX_CLAIM_BYTES.
    Of the routing keys ``beside`` it returns none, and none that must wait for one of theirs: a
    claim that costs as much as the table is long. Reads from ``mark`` on, and moves it. Raises
    ReadOnlyServer on a server that takes no writes.
    """
    mark = mark or LowMark()
    began_s = monotonic_s()
    params = (RELAY_LOCK, limit, MAX_CLAIM_BYTES, list(beside) or None, *mark.params(began_s))
    try:
        *records, (idle, low, next_low, next_xid, *_) = tx.fetch_all(_CLAIM, params)
    finally:
        mark.claimed(began_s, monotonic_s())
    if idle == "read-only":
        raise ReadOnlyServer("PostgreSQL takes no writes: a standby, or default_transaction_read_only is on")
    if idle == "standby":
        return None
    mark.move(low, next_low, next_xid)
    return [ClaimedRow(record[4], record[5], row_of(record[7:]), record[6]) for record in records]


def delete(tx: StoreTransaction, outbox_ids: Sequence[int]) -> None:
    """Remove confirmed rows. Call only after their confirms arrived (OUT1)."""
    if outbox_ids:
        tx.write("SELECT ordermq.delete_confirmed(%s)", (array_of(outbox_ids),))


def refused(tx: StoreTransaction, refusals: Sequence[tuple[int, str, float]]) -> None:
    """Record (outbox_id, reason, delay in seconds) of rows that the broker returned or nacked."""
    if refusals:
        ids, reasons, delays_s = map(list, zip(*refusals, strict=True))
        tx.write(_REFUSED, {"ids": ids, "reasons": reasons, "delays_s": delays_s})


def park(
    tx: StoreTransaction, key: str, reason: str, delay_s: float, *, limit: int, low: datetime | None = None
) -> int:
    """Put off due rows of a queue that refuses, up to ``limit``; return how many. Reads from ``low`` on."""
    row = tx.fetch_one(
        "SELECT ordermq.park(%s, %s, %s * interval '1 second', %s, coalesce(%s::timestamptz, '-infinity'))",
        (key, reason, delay_s, limit, low),
    )
    return int(row[0]) if row else 0


def release(tx: StoreTransaction, key: str, *, limit: int) -> int:
    """Let up to ``limit`` rows that a queue refused be tried now; return how many."""
    row = tx.fetch_one("SELECT ordermq.release(%s, %s)", (key, limit))
    return int(row[0]) if row else 0


def has_refused(tx: StoreTransaction, key: str) -> bool:
    """Return whether a refused row of a queue waits for its time, or for another row to be taken."""
    row = tx.fetch_one(_IS_REFUSED, (key,))
    return row is not None and bool(row[0])


def hasten(tx: StoreTransaction, queue: str, correlation_id: str, types: Sequence[str]) -> int:
    """Let messages of these types that wait for their time be sent now; return how many.

    Those that a queue refused keep their time. ``wake_relay`` after the commit saves its poll.
    """
    return tx.execute(_HASTEN, (queue, correlation_id, list(types)))


def refusing(tx: StoreTransaction) -> list[tuple[str, str]]:
    """Return each routing key that has refused rows, with a reason."""
    return [(key, reason or "") for key, reason in tx.fetch_all(_REFUSING)]


def pending(tx: StoreTransaction, limit: int = 100_000, *, low: datetime | None = None) -> tuple[int, float]:
    """Return how many rows are due, counted up to ``limit``, and the oldest one's lateness in seconds.

    Reads from ``low`` on.
    """
    row = tx.fetch_one(_PENDING, {"limit": limit, "low": low})
    return (int(row[0]), float(row[1])) if row else (0, 0.0)


def count_later(tx: StoreTransaction, limit: int = 100_000) -> int:
    """Return how many rows wait for their time, counted up to ``limit``."""
    row = tx.fetch_one(_COUNT_LATER, (limit,))
    return int(row[0]) if row else 0


def count_refused(tx: StoreTransaction, limit: int = 100_000) -> int:
    """Return how many rows the broker has returned or nacked, counted up to ``limit``."""
    row = tx.fetch_one(_COUNT_REFUSED, (limit,))
    return int(row[0]) if row else 0
