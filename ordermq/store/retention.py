"""Deletes old rows that are no longer needed, one batch in each transaction.

    dead_letters   replayed or discarded longer ago than the age of letters; never an open letter
    leases         ended longer ago than the age of the inbox: the message was lost with its queue
    starts         begun longer ago than the age of the inbox: as above
    slots          due longer ago than the age of the inbox: as above
    buckets        of keys that nothing was called for since: a new one is full too
    inbox          settled longer ago than the age of the inbox

The outbox has no history: its rows are deleted once the broker has them. ``actions`` is
kept. All ages are measured from one instant of PostgreSQL's clock, read at the start.

Invariants
    RET1  The rows of a message are deleted only when all of them are old: none in inbox,
        leases and starts is younger than the age, none is in the outbox, and each dead
        letter of it is old too. So a replay, a retry and a result under way find the rows
        that were there when they were sent.
    RET2  No such row is deleted of a queue that settled nothing in the younger half of the
        age. The queue may have stood still, with deliveries in it that were settled and
        never acked. A queue delivers first what came back, so a working one has none as old.
    RET3  Nothing here waits for a row: rows that another transaction has locked are left for
        the next run. So no deadlock can go through here, in whatever order rows are taken. A
        transaction that wants a row being deleted waits for one batch and then inserts.
    RET4  A batch deletes at most ``limit`` rows. If a run is interrupted anywhere, the batches
        before have committed, and the next run goes on with the rest.
"""

from collections.abc import Collection
from datetime import UTC, datetime
from enum import StrEnum
from typing import Any, NamedTuple

from ordermq.config.settings import RetentionSettings
from ordermq.store.transaction import StoreTransaction


class Table(StrEnum):
    """The tables that are pruned, in this order."""

    DEAD_LETTERS = "dead_letters"
    LEASES = "leases"
    STARTS = "starts"
    SLOTS = "slots"
    BUCKETS = "buckets"
    INBOX = "inbox"


class Horizon(NamedTuple):
    """Rows older than these instants may be deleted, for these queues."""

    inbox_before: datetime
    letters_before: datetime
    queues: list[str]
    idle: list[str]  # RET2: queues of which nothing is deleted

    def before(self, table: Table) -> datetime:
        """Return the instant that ``table``'s rows are compared with."""
        return self.letters_before if table is Table.DEAD_LETTERS else self.inbox_before


class PruneBatch(NamedTuple):
    """How many rows a batch had, and the ``after`` of the next batch; None after the last one."""

    rows: int
    after: datetime | None


START = datetime.min.replace(tzinfo=UTC)


_AGES = """
    SELECT now() - %(inbox_s)s * interval '1 second', now() - %(dead_letters_s)s * interval '1 second',
           now() - %(inbox_s)s / 2 * interval '1 second'
"""

# A few index lookups for each queue, however long the history is.
_QUEUES = """
    WITH RECURSIVE each (queue) AS (
        SELECT min(queue) FROM ordermq.inbox
        UNION ALL
        SELECT (SELECT min(queue) FROM ordermq.inbox WHERE queue > each.queue) FROM each
         WHERE each.queue IS NOT NULL)
    SELECT queue, EXISTS (SELECT FROM (SELECT FROM ordermq.inbox AS i
                                        WHERE i.queue = each.queue AND i.settled_at >= %s
                                        ORDER BY i.settled_at DESC LIMIT 1) AS newest)
      FROM each WHERE queue IS NOT NULL ORDER BY queue
"""

_REST_IS_OLD = """
       AND t.queue = ANY(%(queues)s)
       AND NOT EXISTS (SELECT FROM ordermq.outbox AS o
                        WHERE o.routing_key = t.queue AND o.message_id = t.message_id)
       AND NOT EXISTS (SELECT FROM ordermq.dead_letters AS d
                        WHERE d.queue = t.queue AND d.message_id = t.message_id
                          AND coalesce(greatest(d.replayed_at, d.discarded_at) >= %(letters_before)s, true))
       AND NOT EXISTS (SELECT FROM ordermq.leases AS l WHERE l.queue = t.queue
                          AND l.message_id = t.message_id AND l.lease_until >= %(inbox_before)s)
       AND NOT EXISTS (SELECT FROM ordermq.starts AS s WHERE s.queue = t.queue
                          AND s.message_id = t.message_id AND s.started_at >= %(inbox_before)s)
"""
_INBOX_IS_OLD = """
       AND NOT EXISTS (SELECT FROM ordermq.inbox AS i WHERE i.queue = t.queue
                          AND i.message_id = t.message_id AND i.settled_at >= %(inbox_before)s)
"""

_OLD = {
    Table.DEAD_LETTERS: "greatest(t.replayed_at, t.discarded_at) < %(letters_before)s",
    Table.LEASES: f"t.lease_until < %(inbox_before)s {_REST_IS_OLD} {_INBOX_IS_OLD}",
    Table.STARTS: f"t.started_at < %(inbox_before)s {_REST_IS_OLD} {_INBOX_IS_OLD}",
    Table.SLOTS: "t.slot_at < %(inbox_before)s",
    Table.BUCKETS: "t.limit_key <> '' AND t.filled_at < %(inbox_before)s",
    Table.INBOX: f"t.settled_at > %(after)s AND t.settled_at <= %(until)s {_REST_IS_OLD}",
}

# An array of ctids makes a TID scan; a join might read the whole table.
DELETE = {
    table: f"""
        DELETE FROM ordermq.{table} WHERE ctid = ANY(ARRAY(
            SELECT t.ctid FROM ordermq.{table} AS t WHERE {old} LIMIT %(limit)s FOR UPDATE SKIP LOCKED))
    """  # noqa: S608 # constants; values are bound
    for table, old in _OLD.items()
}

_COUNT = {
    table: f"SELECT count(*) FROM ordermq.{table} AS t WHERE {old}"  # noqa: S608 # as above
    for table, old in _OLD.items()
}

# The part of the history that one batch reads: rows that are kept are passed by once.
UNTIL = """
    SELECT max(settled_at) FROM (
        SELECT settled_at FROM ordermq.inbox WHERE settled_at > %(after)s AND settled_at < %(inbox_before)s
         ORDER BY settled_at LIMIT %(limit)s) AS part
"""


def horizon(tx: StoreTransaction, ages: RetentionSettings, *, gone: Collection[str] = ()) -> Horizon:
    """Return what is old now. ``gone`` are queues that no longer exist: RET2 does not hold for them."""
    row = tx.fetch_one(_AGES, {"inbox_s": ages.inbox_s, "dead_letters_s": ages.dead_letters_s})
    assert row is not None  # noqa: S101 # a SELECT without FROM has one row
    inbox_before, letters_before, younger_half = row
    works: dict[str, bool] = dict(tx.fetch_all(_QUEUES, (younger_half,)))
    queues = {queue for queue, has_settled in works.items() if has_settled} | set(gone)
    return Horizon(inbox_before, letters_before, sorted(queues), sorted(works.keys() - queues))


def delete(
    tx: StoreTransaction, table: Table, horizon: Horizon, *, after: datetime, limit: int
) -> PruneBatch:
    """Delete up to ``limit`` old rows. ``after`` is START at first, then that of the batch before."""
    params = _params(tx, table, horizon, after=after, limit=limit)
    if params is None:
        return PruneBatch(0, None)
    rows = tx.execute(DELETE[table], params)
    return PruneBatch(rows, after if rows == limit else params["until"])


def count(tx: StoreTransaction, table: Table, horizon: Horizon, *, after: datetime, limit: int) -> PruneBatch:
    """Count the rows that ``delete`` would delete, about ``limit`` inbox rows at a time. Locks nothing."""
    params = _params(tx, table, horizon, after=after, limit=limit)
    if params is None:
        return PruneBatch(0, None)
    row = tx.fetch_one(_COUNT[table], params)
    return PruneBatch(int(row[0]) if row else 0, params["until"])


def _params(
    tx: StoreTransaction, table: Table, horizon: Horizon, *, after: datetime, limit: int
) -> dict[str, Any] | None:
    """Return the parameters of the statements; None past the end of the old part of the inbox."""
    params = {**horizon._asdict(), "after": after, "limit": limit, "until": None}
    if table is Table.INBOX:
        row = tx.fetch_one(UNTIL, params)
        params["until"] = row[0] if row else None
        if params["until"] is None:
            return None
    return params
