"""The ``inbox`` table: which messages this database has settled, and how.

There is one row for a message and a queue, written in the transaction that settles the
message. ``hop`` rises each time a message is sent again (retry, postponement, replay), so a
late duplicate of an earlier hop is recognised. A message that is done stays done.

Invariants
    INB1  At most one transaction settles a message for each hop, and at most one in all
        settles it as done, unless a person reopens it. A person may also have a message of
        MAX_HOP, which has no next hop, handled again. The primary key and the WHERE of the
        upsert decide, also between two consumers at the same instant: one waits for the
        other's commit.
    INB2  Rows of one statement are sorted by message_id: two batches that share
        messages lock them in the same order and cannot deadlock.
"""

from collections.abc import Sequence
from typing import Any

from ordermq.store.arrays import array_of
from ordermq.store.transaction import StoreTransaction

_ROWS = """
    SELECT %(queue)s, message_id, hop, %(outcome)s
      FROM unnest(%(message_ids)s::text[], %(hops)s::int[]) AS v (message_id, hop)
"""
# For one message PostgreSQL needs a third less time with VALUES. Handlers without a batch wait for it.
_ROW = "VALUES (%(queue)s, %(message_id)s, %(hop)s, %(outcome)s)"

_SETTLE = """
    INSERT INTO ordermq.inbox AS seen (queue, message_id, hop, outcome) {rows}
    ON CONFLICT (queue, message_id) DO UPDATE
       SET hop = excluded.hop, outcome = excluded.outcome, settled_at = now()
     WHERE seen.outcome <> 'done' AND seen.hop < excluded.hop
    RETURNING message_id
"""

# The holder of the lease brings the result of a call that was made. The result counts even if
# a duplicate of the message was postponed meanwhile.
_COMPLETE = """
    INSERT INTO ordermq.inbox AS seen (queue, message_id, hop, outcome) {rows}
    ON CONFLICT (queue, message_id) DO UPDATE
       SET hop = greatest(seen.hop, excluded.hop), outcome = 'done', settled_at = now()
     WHERE seen.outcome <> 'done'
"""

_REOPEN = """
    UPDATE ordermq.inbox SET outcome = 'postponed', hop = least(hop, %(hop)s - 1), settled_at = now()
     WHERE queue = %(queue)s AND message_id = %(message_id)s AND (outcome = 'done' OR hop >= %(hop)s)
"""

_LAST_HOP = "SELECT hop FROM ordermq.inbox WHERE queue = %s AND message_id = %s"


def settle(tx: StoreTransaction, queue: str, messages: Sequence[tuple[str, int]], outcome: str) -> set[str]:
    """Record ``(message_id, hop)`` as settled; return the ids that were not settled before."""
    if not messages:
        return set()
    return {row[0] for row in tx.fetch_all(*_statement(_SETTLE, queue, messages, outcome))}


def complete(tx: StoreTransaction, queue: str, messages: Sequence[tuple[str, int]]) -> None:
    """Record the leased messages as done."""
    if messages:
        tx.write(*_statement(_COMPLETE, queue, messages, "done"))


def reopen(tx: StoreTransaction, queue: str, message_id: str, hop: int) -> None:
    """Let a settled message be handled once more, at ``hop``; earlier hops stay settled."""
    tx.write(_REOPEN, {"queue": queue, "message_id": message_id, "hop": hop})


def last_hop(tx: StoreTransaction, queue: str, message_id: str) -> int:
    """Return the hop at which the message was last settled; -1 if it never was."""
    row = tx.fetch_one(_LAST_HOP, (queue, message_id))
    return int(row[0]) if row else -1


def _statement(
    sql: str, queue: str, messages: Sequence[tuple[str, int]], outcome: str
) -> tuple[str, dict[str, Any]]:
    message_ids, hops = zip(*sorted(messages), strict=True)
    rows = _ROW if len(messages) == 1 else _ROWS
    return sql.format(rows=rows), {
        "queue": queue, "outcome": outcome, "message_ids": array_of(message_ids), "hops": array_of(hops),
        "message_id": message_ids[0], "hop": hops[0],
    }  # fmt: skip
