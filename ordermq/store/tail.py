"""What consumers settle, written down only while somebody looks: the tables ``taps`` and ``tail``."""

from collections.abc import Sequence
from datetime import datetime
from typing import NamedTuple

from ordermq.store.transaction import StoreTransaction

OPEN_S = 10.0  # a tap that is not kept open for so long is closed
KEPT_S = 60.0

_ADD = """
    INSERT INTO ordermq.tail (settled_at, queue, type, correlation_id, message_id, attempt, hop, outcome,
                              reason, process) VALUES %s
"""

_OPEN = """
    INSERT INTO ordermq.taps (queue, open_until) VALUES (%s, now() + %s * interval '1 second')
    RETURNING tap_id
"""

_KEEP_OPEN = "UPDATE ordermq.taps SET open_until = now() + %s * interval '1 second' WHERE tap_id = %s"

_READ = """
    SELECT tail_id, settled_at, queue, type, correlation_id, message_id, attempt, hop, outcome, reason,
           process
      FROM ordermq.tail
     WHERE tail_id > %(after)s
       AND (%(queue)s::text IS NULL OR queue = %(queue)s)
       AND (%(type)s::text IS NULL OR type = %(type)s)
       AND (%(correlation_id)s::text IS NULL OR correlation_id = %(correlation_id)s)
     ORDER BY tail_id LIMIT 20000
"""

_FORGET = """
    DELETE FROM ordermq.tail
     WHERE settled_at < now() - %s * interval '1 second'
        OR NOT EXISTS (SELECT FROM ordermq.taps WHERE open_until > now())
"""


class Settled(NamedTuple):
    """A message that was settled: when, by the consumer's clock, how and why."""

    settled_at: datetime
    queue: str
    type: str
    correlation_id: str
    message_id: str
    attempt: int
    hop: int
    outcome: str
    reason: str
    process: str


def add_settled(tx: StoreTransaction, settled: Sequence[Settled]) -> None:
    """Write down what was settled while somebody looks."""
    tx.write_values(_ADD, settled)


def open_tap(tx: StoreTransaction, queue: str | None) -> int:
    """Ask the consumers of ``queue``, or of all, to write down what they settle; return the tap's number."""
    tx.write(_FORGET, (KEPT_S,))
    row = tx.fetch_one(_OPEN, (queue, OPEN_S))
    assert row is not None  # noqa: S101 # RETURNING
    return int(row[0])


def keep_tap_open(tx: StoreTransaction, tap_id: int) -> None:
    """Keep a tap open for another OPEN_S."""
    tx.write(_KEEP_OPEN, (OPEN_S, tap_id))


def close_tap(tx: StoreTransaction, tap_id: int) -> None:
    """Look no more. What was written down goes with the last tap."""
    tx.write("DELETE FROM ordermq.taps WHERE tap_id = %s OR open_until < now()", (tap_id,))
    tx.write(_FORGET, (KEPT_S,))


def last_settled(tx: StoreTransaction) -> int:
    """Return the number of the newest row there is; 0 if there is none."""
    row = tx.fetch_one("SELECT coalesce(max(tail_id), 0) FROM ordermq.tail")
    return int(row[0]) if row else 0


def read_settled(
    tx: StoreTransaction,
    *,
    after: int,
    queue: str | None = None,
    type_: str | None = None,
    correlation_id: str | None = None,
) -> list[tuple[int, Settled]]:
    """Return rows numbered above ``after``, in order, with their numbers; None matches any."""
    params = {"after": after, "queue": queue, "type": type_, "correlation_id": correlation_id}
    return [(row[0], Settled(*row[1:])) for row in tx.fetch_all(_READ, params)]
