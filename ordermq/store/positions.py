"""Records by their positions in one history of all. ``numbering`` gives the positions.

The query of a source gives subject, number, at and content of its records, as
``ordermq.module.RecordSource`` has it.
"""

from collections.abc import Collection, Iterable, Mapping
from operator import itemgetter
from typing import NamedTuple

from ordermq.store.transaction import StoreTransaction

_SIZE = "SELECT first_position + records FROM ordermq.positions ORDER BY first_position DESC LIMIT 1"

# One query for each source.
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


def count_positions(tx: StoreTransaction) -> int:
    """Return how many positions were given: the next one."""
    (count,) = tx.fetch_one(_SIZE) or (0,)
    return int(count)
