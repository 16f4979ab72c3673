"""Deleting what is old and needed no more, a batch a transaction.

    dead_letters   replayed or discarded longer ago than the letters' age; never an open one
    leases         their end longer ago than the inbox's age: the message was lost with its queue
    starts         begun longer ago than the inbox's age: as above
    inbox          settled longer ago than the inbox's age

The outbox has no history: its rows are deleted when the broker has them. ``actions`` is
kept. All ages are reckoned from one instant of PostgreSQL's clock, taken at the start.

Invariants
    RET1  What is known of a message goes only when all of it is old: none of its rows in
        inbox, leases and starts is younger than the age, none is in the outbox, and no
        dead letter of it is left but those that are old too. A replay, a retry and a
        result under way find what was known when they were sent.
    RET2  Of a queue that settled nothing in the younger half of the age nothing of RET1 goes:
        it may have stood still, with deliveries in it that were settled and never acked.
        Queues give back first what came back, so one that works has none that old.
    RET3  Nothing here waits for a row: what another transaction has locked is left for the
        next time. So a deadlock cannot go through here, in whatever order rows are
        taken; who wants a row that is being deleted waits for one batch and inserts.
    RET4  A batch deletes at most ``limit`` rows. Interrupted anywhere, the batches before it
        have committed, and the next run goes on with what is left.
"""

from collections.abc import Collection
from datetime import UTC, datetime
from enum import StrEnum
from typing import Any, NamedTuple

from ordermq.config.settings import RetentionSettings
from ordermq.store.transaction import StoreTransaction


class Table(StrEnum):
    """What is pruned, in this order."""

    DEAD_LETTERS = "dead_letters"
    LEASES = "leases"
    STARTS = "starts"
    INBOX = "inbox"


class Horizon(NamedTuple):
    """What is older than which instant may go, and of which queues."""

    inbox_before: datetime
    letters_before: datetime
    queues: list[str]
    idle: list[str]  # RET2: left alone

    def before(self, table: Table) -> datetime:
        """Return the instant that ``table``'s rows are compared with."""
        return self.letters_before if table is Table.DEAD_LETTERS else self.inbox_before


class PruneBatch(NamedTuple):
    """How many rows one batch was, and the ``after`` of the next; None when it was the last."""

    rows: int
    after: datetime | None


START = datetime.min.replace(tzinfo=UTC)


_AGES = """
    SELECT now() - %(inbox_s)s * interval '1 second', now() - %(dead_letters_s)s * interval '1 second',
           now() - %(inbox_s)s / 2 * interval '1 second'
"""

# A few looks into indexes for each queue, whatever the length of the history.
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
    Table.INBOX: f"t.settled_at > %(after)s AND t.settled_at <= %(until)s {_REST_IS_OLD}",
}

# By ctid of an array, which is a TID scan: a join might read the whole table.
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

# The part of the history that a batch looks at: what is kept is passed by once.
UNTIL = """
    SELECT max(settled_at) FROM (
        SELECT settled_at FROM ordermq.inbox WHERE settled_at > %(after)s AND settled_at < %(inbox_before)s
         ORDER BY settled_at LIMIT %(limit)s) AS part
"""


def horizon(tx: StoreTransaction, ages: RetentionSettings, *, gone: Collection[str] = ()) -> Horizon:
    """Say what is old now. RET2 does not hold for queues that are ``gone`` from the broker for good."""
    row = tx.fetch_one(_AGES, {"inbox_s": ages.inbox_s, "dead_letters_s": ages.dead_letters_s})
    assert row is not None  # noqa: S101 # a SELECT without FROM has one row
    inbox_before, letters_before, younger_half = row
    works: dict[str, bool] = dict(tx.fetch_all(_QUEUES, (younger_half,)))
    queues = {queue for queue, has_settled in works.items() if has_settled} | set(gone)
    return Horizon(inbox_before, letters_before, sorted(queues), sorted(works.keys() - queues))


def delete(
    tx: StoreTransaction, table: Table, horizon: Horizon, *, after: datetime, limit: int
) -> PruneBatch:
    """Delete up to ``limit`` old rows. Begin with START, go on with what the batch before returned."""
    params = _params(tx, table, horizon, after=after, limit=limit)
    if params is None:
        return PruneBatch(0, None)
    rows = tx.execute(DELETE[table], params)
    return PruneBatch(rows, after if rows == limit else params["until"])


def count(tx: StoreTransaction, table: Table, horizon: Horizon, *, after: datetime, limit: int) -> PruneBatch:
    """Count what ``delete`` would delete, in steps of about ``limit`` rows of the inbox. Locks nothing."""
    params = _params(tx, table, horizon, after=after, limit=limit)
    if params is None:
        return PruneBatch(0, None)
    row = tx.fetch_one(_COUNT[table], params)
    return PruneBatch(int(row[0]) if row else 0, params["until"])


def _params(
    tx: StoreTransaction, table: Table, horizon: Horizon, *, after: datetime, limit: int
) -> dict[str, Any] | None:
    """Return what the statements bind; None past the end of the old part of the inbox."""
    params = {**horizon._asdict(), "after": after, "limit": limit, "until": None}
    if table is Table.INBOX:
        row = tx.fetch_one(UNTIL, params)
        params["until"] = row[0] if row else None
        if params["until"] is None:
            return None
    return params
