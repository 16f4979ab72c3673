"""One PostgreSQL transaction, as a handler and a shop's own code write through it."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from io import BytesIO
from typing import Any

from psycopg2.extensions import TRANSACTION_STATUS_UNKNOWN, encodings
from psycopg2.extensions import connection as Connection
from psycopg2.extras import execute_values

from ordermq.errors import UsageError
from ordermq.message.command import Command
from ordermq.store import outgoing
from ordermq.store._errors import translated
from ordermq.store.copying import copy_text
from ordermq.store.outgoing import OutboxRow

Params = Sequence[Any] | Mapping[str, Any] | None
Row = tuple[Any, ...]

_PAGE_ROWS = 1000


class Transaction:
    """What may be done inside one transaction; beginning and ending it is its owner's.

    Owned by one thread. Every method raises a StoreError; after one, the transaction
    can only be rolled back. ``traces`` maps a correlation id to the traceparent that
    commands of that id continue; ``deadline`` bounds each statement.
    """

    def __init__(
        self,
        connection: Connection,
        *,
        traces: Mapping[str, str] | None = None,
        deadline: Callable[[], AbstractContextManager[None]] = nullcontext,
    ) -> None:
        self._connection = connection
        self._deadline = deadline
        self.traces: dict[str, str] = dict(traces or {})
        self.has_sent = False
        self.committed: list[Callable[[], None]] = []

    @classmethod
    def join(cls, connection: Connection) -> "Transaction":
        """Return a Transaction over a psycopg2 connection of your own; you commit.

        Raises UsageError on an autocommit connection: each statement would then commit
        by itself, and a crash between two would lose half of what belongs together.
        """
        if connection.autocommit:
            raise UsageError("the connection is in autocommit mode; set connection.autocommit = False")
        if connection.get_transaction_status() == TRANSACTION_STATUS_UNKNOWN:
            raise UsageError("the connection is closed")
        return cls(connection)

    def after_commit(self, call: Callable[[], None]) -> None:
        """Have ``call`` called once COMMIT was answered: for logs and metrics, which must not lie.

        Never called in a joined transaction, whose end nobody tells us.
        """
        self.committed.append(call)

    def execute(self, sql: str, params: Params = None) -> int:
        """Run one statement; return the number of rows it touched."""
        with self._deadline(), translated(), self._connection.cursor() as cursor:
            cursor.execute(sql, params)
            return cursor.rowcount

    def fetch_all(self, sql: str, params: Params = None) -> list[Row]:
        """Run one query; return its rows."""
        with self._deadline(), translated(), self._connection.cursor() as cursor:
            cursor.execute(sql, params)
            return cursor.fetchall()

    def fetch_one(self, sql: str, params: Params = None) -> Row | None:
        """Run one query; return its first row, or None."""
        with self._deadline(), translated(), self._connection.cursor() as cursor:
            cursor.execute(sql, params)
            return cursor.fetchone()

    def execute_values(self, sql: str, rows: Sequence[Sequence[Any]], *, template: str | None = None) -> None:
        """Run ``sql``, which holds one ``VALUES %s``, for all ``rows`` at once. No rows, no statement."""
        if rows:
            with self._deadline(), translated(), self._connection.cursor() as cursor:
                execute_values(cursor, sql, rows, template=template, page_size=_PAGE_ROWS)

    def fetch_values(
        self, sql: str, rows: Sequence[Sequence[Any]], *, template: str | None = None
    ) -> list[Row]:
        """Like ``execute_values`` for a query or a statement with RETURNING; return its rows."""
        if not rows:
            return []
        with self._deadline(), translated(), self._connection.cursor() as cursor:
            rows_back: list[Row] = execute_values(
                cursor, sql, rows, template=template, page_size=_PAGE_ROWS, fetch=True
            )
            return rows_back

    def copy(self, target: str, rows: Sequence[Sequence[Any]]) -> None:
        """Add ``rows`` to ``target``, a table with its columns in parentheses, by one COPY.

        No rows, no statement. Values are str, int, bool, bytes, aware datetime or None.
        """
        if rows:
            with self._deadline(), translated(), self._connection.cursor() as cursor:
                # Encoded here: what cannot be is then refused like any other value, before anything is sent.
                encoded = copy_text(rows).encode(encodings[self._connection.encoding])
                cursor.copy_expert(f"COPY {target} FROM STDIN", BytesIO(encoded))

    def send(self, commands: Iterable[Command]) -> None:
        """Add messages to the outbox: they are sent if, and only if, this transaction commits."""
        self.append([outgoing.new_row(command, self.traces) for command in commands])

    def append(self, rows: Sequence[OutboxRow]) -> None:
        """Add ready rows to the outbox: a retry, a postponement, a replay."""
        due = [outgoing.values(row) for row in rows if not row.delay_s]
        later = [(*outgoing.values(row), row.delay_s) for row in rows if row.delay_s]
        self.copy(outgoing.TABLE, due)
        if later:
            self.execute_values(outgoing.APPEND_LATER, later, template=outgoing.LATER_TEMPLATE)
        self.has_sent = self.has_sent or bool(rows)
