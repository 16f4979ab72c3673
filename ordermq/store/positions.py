"""The positions of records in one history of all, given in the order in which they committed.

Invariants
    POS1  A record gets a position after it has committed, and exactly one. None is skipped, in whatever order
        transactions commit: what was not seen yet waits in ``ordermq.unnumbered``.
    POS2  One process at a time gives positions: the one that holds the relay's lock. That is the active relay
        or, while none is, one that has no broker: numbering needs none.
    POS3  A position is never taken back. Who has read up to one reads on after it.
"""

import math
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass
from operator import itemgetter
from typing import NamedTuple

from ordermq.clock import monotonic_s
from ordermq.store.outbox import RELAY_LOCK
from ordermq.store.session import Session
from ordermq.store.transaction import StoreTransaction

EVERY_S = 0.5  # while records come; a call that finds the most it may take is followed by another at once
MOST_STATEMENTS = 200  # of one call
LEFT_AFTER_S = 2.0  # a record that has waited for longer is numbered by no active relay

_LOOK_EVERY_S = 1.0
_SHARE = 0.01  # of the time, for calls that look below the mark

# Migrations 0017 and 0018 have the functions.
_NUMBER = """
    SELECT numbered, has_more, new_low, new_next_low, new_next_xid::text
      FROM ordermq.number_records(%s, %s, %s, %s, %s::xid8, %s)
"""
_WAITS_S = """
    SELECT date_part('epoch', now() - newest) FROM ordermq.unnumbered WHERE entry >= %s ORDER BY entry LIMIT 1
"""
_SIZE = "SELECT first_position + records FROM ordermq.positions ORDER BY first_position DESC LIMIT 1"


# One query for each source: `select` gives subject, number, at and content of its records.
CONTENTS = """
    SELECT p.first_position + each.place - 1, p.source, each.subject, each.number, r.content
      FROM ordermq.positions AS p
     CROSS JOIN LATERAL unnest(p.subjects, p.numbers) WITH ORDINALITY AS each (subject, number, place)
      LEFT JOIN LATERAL (SELECT content FROM ({select}) AS s
                          WHERE s.subject = each.subject AND s.number = each.number) AS r ON true
     WHERE p.first_position >= coalesce(
               (SELECT max(first_position) FROM ordermq.positions WHERE first_position <= %(begin)s), 0)
       AND p.first_position < %(end)s AND p.source = %(source)s
       AND p.first_position + each.place - 1 >= %(begin)s AND p.first_position + each.place - 1 < %(end)s
"""

_KEYS = """
    SELECT p.first_position + each.place - 1 AS position, p.source, each.subject, each.number
      FROM ordermq.positions AS p
     CROSS JOIN LATERAL unnest(p.subjects, p.numbers) WITH ORDINALITY AS each (subject, number, place)
     WHERE p.first_position >= coalesce(
               (SELECT max(first_position) FROM ordermq.positions WHERE first_position <= %(begin)s), 0)
       AND p.first_position < %(end)s AND p.source = ANY(%(sources)s)
       AND p.first_position + each.place - 1 >= %(begin)s AND p.first_position + each.place - 1 < %(end)s
     ORDER BY position
"""

_OF_SUBJECT = """
    SELECT p.first_position + each.place - 1, p.source, s.subject, s.number, s.content
      FROM ({select}) AS s
     CROSS JOIN LATERAL (SELECT * FROM ordermq.positions
                          WHERE tstzrange(oldest, newest, '[]') @> s.at AND source = %(source)s) AS p
     CROSS JOIN LATERAL unnest(p.subjects, p.numbers) WITH ORDINALITY AS each (subject, number, place)
     WHERE s.subject = %(subject)s AND (%(number)s::bigint IS NULL OR s.number = %(number)s)
       AND each.subject = s.subject AND each.number = s.number
"""

# The number of records and a sum of their keys: of all rows, then of those that have a position or wait.
_SUMS = """
    SELECT count(*), coalesce(bit_xor(hashtextextended(concat(subject, ' ', number), 0)), 0)
      FROM ({select}) AS s
    UNION ALL
    SELECT count(*), coalesce(bit_xor(hashtextextended(concat(each.subject, ' ', each.number), 0)), 0)
      FROM (SELECT source, subjects, numbers FROM ordermq.positions
            UNION ALL SELECT source, subjects, numbers FROM ordermq.unnumbered) AS p
     CROSS JOIN LATERAL unnest(p.subjects, p.numbers) AS each (subject, number)
     WHERE p.source = %(source)s
"""

_UNPOSITIONED = """
    SELECT s.subject, s.number FROM ({select}) AS s
     WHERE NOT EXISTS (
           SELECT FROM (SELECT source, subjects, numbers FROM ordermq.positions
                        UNION ALL SELECT source, subjects, numbers FROM ordermq.unnumbered) AS p
            CROSS JOIN LATERAL unnest(p.subjects, p.numbers) AS each (subject, number)
            WHERE p.source = %(source)s AND each.subject = s.subject AND each.number = s.number)
     ORDER BY s.subject, s.number LIMIT %(limit)s
"""

WHOLE_TABLE_S = 3600.0  # longest time of a statement that reads all records

_SNAPSHOT = "SET TRANSACTION ISOLATION LEVEL REPEATABLE READ, READ ONLY"

# All rows are looked up by their keys, whatever the planner takes their number to be.
BY_KEYS = "SET LOCAL enable_hashjoin = off; SET LOCAL enable_mergejoin = off; SET LOCAL enable_material = off"


class ArchiveOfRecords(NamedTuple):
    """The file that has the records of a subject, as ``ordermq.module.RecordSource`` has it."""

    source: str
    number: int
    file: str
    records: int
    leaves: bytes


class PositionedRecord(NamedTuple):
    """A record at its position; ``content`` is None if its row is gone."""

    position: int
    source: str
    subject: str
    number: int
    content: memoryview | None


@dataclass
class _Mark:
    """Where the next call begins to read. A process that starts, or takes over, begins at 0."""

    low: int = 0
    next_low: int | None = None
    next_xid: str | None = None
    look_at_s: float = -math.inf


class Sequencer:
    """Gives positions, a while after records committed; the active relay calls it after each of its turns.

    A relay without a broker calls ``number_left``.

    Owned by one thread. Raises a StoreError; then nothing was numbered, and the next call does it.
    """

    def __init__(self, *, every_s: float = EVERY_S, most: int = MOST_STATEMENTS) -> None:
        self._every_s = every_s
        self._most = most
        self._mark = _Mark()
        self._next_s = -math.inf

    @property
    def low(self) -> int:
        """The number of the row where the next call begins to read."""
        return self._mark.low

    def __call__(self, session: Session, *, is_active: bool) -> int:
        """Number what has committed, if it is time; return how many records got a position."""
        began_s = monotonic_s()
        if not is_active:
            self._mark, self._next_s = _Mark(), -math.inf
            return 0
        if began_s < self._next_s:
            return 0
        return self._number_now(session, began_s)

    def number_left(self, session: Session) -> int:
        """Number what no relay has numbered for ``LEFT_AFTER_S``; for one that has no broker, called often.

        It cannot know whether another relay is active, and the lock that it would take from that one for
        an instant makes it a standby for seconds. So it reads first, without the lock.
        """
        began_s = monotonic_s()
        if began_s < self._next_s:
            return 0
        self._next_s = began_s + self._every_s
        with session.transaction() as tx:
            if waits_s(tx, self.low) < LEFT_AFTER_S:
                return 0
        return self._number_now(session, began_s)

    def _number_now(self, session: Session, began_s: float) -> int:
        self._next_s = began_s + self._every_s
        with session.transaction() as tx:
            found = self._number(tx, looks_below := began_s >= self._mark.look_at_s)
        if looks_below:
            now_s = monotonic_s()
            self._mark.look_at_s = now_s + max(_LOOK_EVERY_S, (now_s - began_s) / _SHARE)
        return found

    def _number(self, tx: StoreTransaction, look_below: bool) -> int:
        mark = self._mark
        params = (RELAY_LOCK, self._most, mark.low, mark.next_low, mark.next_xid, look_below)
        row = tx.fetch_one(_NUMBER, params)
        if row is None:
            return 0
        numbered, has_more, mark.low, mark.next_low, mark.next_xid = row
        if has_more:
            self._next_s = -math.inf
        return int(numbered)


def records_between(
    tx: StoreTransaction, sources: Mapping[str, str], begin: int, end: int
) -> list[PositionedRecord]:
    """Return the records at positions from ``begin`` to before ``end``, in order.

    ``sources`` maps the name of each source to its query, as ``ordermq.module.RecordSource`` has it. A
    position that is not there, or is of another source, is left out.
    """
    tx.write(BY_KEYS)
    found = [
        PositionedRecord._make(row)
        for source, select in sources.items()
        for row in tx.fetch_all(
            CONTENTS.format(select=select), {"begin": begin, "end": end, "source": source}
        )
    ]
    found.sort(key=itemgetter(0))
    return found


def archives_of(
    tx: StoreTransaction, source: str, archived: str, subjects: Iterable[str]
) -> dict[str, ArchiveOfRecords]:
    """Return the archives of those subjects whose records are in one. ``archived`` is the source's query."""
    sql = f"SELECT subject, number, file, records, leaves FROM ({archived}) AS a WHERE subject = ANY(%s)"  # noqa: S608 # a module's own text
    return {
        row[0]: ArchiveOfRecords(source, row[1], row[2], row[3], bytes(row[4]))
        for row in tx.fetch_all(sql, (sorted(subjects),))
    }


def keys_between(
    tx: StoreTransaction, sources: Collection[str], begin: int, end: int
) -> list[tuple[int, str, str, int]]:
    """Return position, source, subject and number of records from ``begin`` to before ``end``, in order."""
    params = {"begin": begin, "end": end, "sources": list(sources)}
    return [(row[0], row[1], row[2], row[3]) for row in tx.fetch_all(_KEYS, params)]


def records_of(
    tx: StoreTransaction, source: str, select: str, subject: str, number: int | None = None
) -> list[PositionedRecord]:
    """Return the records of a subject that have a position, the newest first."""
    params = {"source": source, "subject": subject, "number": number}
    tx.write(BY_KEYS)
    rows = tx.fetch_all(_OF_SUBJECT.format(select=select), params)
    return sorted(map(PositionedRecord._make, rows), key=itemgetter(0), reverse=True)


def unpositioned(tx: StoreTransaction, source: str, select: str, *, limit: int) -> list[tuple[str, int]]:
    """Return subject and number of records that have no position and do not wait for one.

    The transaction must be new, and its statements may take WHOLE_TABLE_S: it reads all records, 2 s for
    each million.
    """
    tx.execute(_SNAPSHOT)
    params = {"source": source, "limit": limit}
    [rows, positioned] = tx.fetch_all(_SUMS.format(select=select), params)
    if rows == positioned:
        return []
    return [(row[0], row[1]) for row in tx.fetch_all(_UNPOSITIONED.format(select=select), params)]


def waits_s(tx: StoreTransaction, low: int = 0) -> float:
    """Return the age in seconds of the record that waits longest for its position; 0 if none waits.

    ``low``: none of a lower number waits, as ``Sequencer.low`` says.
    """
    (seconds,) = tx.fetch_one(_WAITS_S, (low,)) or (0.0,)
    return float(seconds)


def count_positions(tx: StoreTransaction) -> int:
    """Return how many positions were given: the next one."""
    (count,) = tx.fetch_one(_SIZE) or (0,)
    return int(count)
