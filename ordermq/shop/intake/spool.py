"""A file's rows by order, wherever they stand in it: a temporary database, so memory stays bounded.

SQLite keeps it in a file without a name, below $TMPDIR, that only this process can open and
that is gone when it ends, whatever ends it. It holds what the order file holds.
"""

import json
import sqlite3
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from ordermq.cli.records import beginning
from ordermq.shop.intake.rows import TableRow

_TABLES = """
    CREATE TABLE records (
        line INTEGER PRIMARY KEY, order_id TEXT UNIQUE, text TEXT, problem TEXT, doubt TEXT
    );
    CREATE TABLE rows (order_id TEXT, line INTEGER, text TEXT, cells TEXT, problem TEXT,
                       PRIMARY KEY (order_id, line)) WITHOUT ROWID;
"""

_CACHE_KIB = 16 * 1024

UNREADABLE = "a row of the order cannot be read"
BESIDE = "a row beside it cannot be read and may be its own"


@dataclass(frozen=True, slots=True)
class Record:
    """What becomes an order or a reject. Without an ``order_id`` it is a row that names none.

    ``doubt`` says why a row of this order may be missing; "" if none is.
    """

    line: int
    order_id: str
    text: str
    problem: str
    doubt: str


class Spool:
    """Rows, put in by ``fill`` in the order of the file, and read again by order. Owned by one thread."""

    def __init__(self) -> None:
        self._database = sqlite3.connect("", isolation_level=None)
        self._database.execute(f"PRAGMA cache_size = -{_CACHE_KIB}")
        self._database.execute("PRAGMA synchronous = OFF")  # nothing of it is to survive
        self._database.executescript(_TABLES)
        self._database.execute("BEGIN")

    def fill(self, rows: Iterable[TableRow], unnamed: str) -> None:
        """Put in all rows, and note which orders stand beside a row that may be theirs.

        ``unnamed`` is the problem of a row that can be read and yet names no order.
        """
        before, doubt = "", ""
        for row in rows:
            problem = row.problem or ("" if row.order_id else unnamed)
            self._add(row, problem)
            if doubt and row.order_id:
                self._doubt(row.order_id, doubt)
            if row.order_id:
                before, doubt = row.order_id, ""
            if row.may_hide_another or not row.order_id:
                doubt = f"{BESIDE}: line {row.line}, {problem}"
                if before:
                    self._doubt(before, doubt)

    def _add(self, row: TableRow, problem: str) -> None:
        """Keep a row with its order, or as a record of its own if it names none."""
        self._database.execute(
            "INSERT INTO records VALUES (?, ?, ?, ?, '') ON CONFLICT (order_id) DO NOTHING",
            (row.line, row.order_id or None, beginning(row.text), problem),
        )
        if row.order_id:
            self._database.execute(
                "INSERT INTO rows VALUES (?, ?, ?, ?, ?)",
                (row.order_id, row.line, beginning(row.text), json.dumps(row.cells), problem),
            )

    def _doubt(self, order_id: str, why: str) -> None:
        """Note that a row of this order may be missing. The first reason is kept."""
        self._database.execute(
            "UPDATE records SET doubt = ? WHERE order_id = ? AND doubt = ''", (why, order_id)
        )

    def records(self) -> Iterator[Record]:
        """Yield the records in the order of their first lines."""
        for line, order_id, *rest in self._database.execute("SELECT * FROM records ORDER BY line"):
            yield Record(line, order_id or "", *rest)

    def rows(self, order_id: str, most: int) -> list[TableRow]:
        """Return up to ``most`` rows of an order, in the order of the file; of their text the beginning."""
        found = self._database.execute(
            "SELECT line, text, cells, problem FROM rows WHERE order_id = ? ORDER BY line LIMIT ?",
            (order_id, most),
        )
        return [
            TableRow(line, text, json.loads(cells), order_id, problem) for line, text, cells, problem in found
        ]

    def close(self) -> None:
        """Remove the temporary file."""
        self._database.close()
