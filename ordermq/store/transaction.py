"""One PostgreSQL transaction, as a handler and a shop's own code write through it."""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence, Set
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import replace
from functools import partial
from typing import Any

import psycopg2
from psycopg2.extensions import (
    TRANSACTION_STATUS_IDLE,
    TRANSACTION_STATUS_INERROR,
    TRANSACTION_STATUS_UNKNOWN,
)
from psycopg2.extensions import connection as Connection
from psycopg2.extensions import cursor as Cursor

from ordermq.errors import UnknownQueue, UsageError
from ordermq.message.command import Command, derived_command_id
from ordermq.message.envelope import traced
from ordermq.observe import trace, tracing
from ordermq.store import outgoing
from ordermq.store._errors import translated
from ordermq.store.arrays import arrays_of
from ordermq.store.outgoing import OutboxRow
from ordermq.task.transaction import BulkInsert, Params, Row

_NEXT = b"\n;\n"  # on a line of its own: a comment at the end of a statement must not swallow the next
MANY_ROWS = 4  # from this many rows on, one array for each column costs less than VALUES


class StoreTransaction:
    """What may be done inside one transaction; beginning and ending it is its owner's.

    Owned by one thread. Every method may raise a StoreError; after one, the transaction can
    only be rolled back. ``traces`` maps a correlation id to the traceparent that commands of
    that id continue; ``deadline`` bounds each statement. ``begin`` is the statement that begins
    it, if the creator will call ``commit``: it goes out with the first statement, and a statement
    of ``write`` with the next one. Empty, the transaction is another's. ``queues`` are the queues
    there are; None means unknown. ``actor`` is who acts; without one, the name that the connection
    has at the server.
    """

    def __init__(
        self,
        connection: Connection,
        *,
        traces: Mapping[str, str] | None = None,
        deadline: Callable[[], AbstractContextManager[None]] = nullcontext,
        begin: bytes = b"",
        queues: Set[str] | None = None,
        actor: str = "",
    ) -> None:
        self._connection = connection
        self._actor = actor
        self._queues = queues
        self._deadline = deadline
        self._begin = begin
        self._is_void = False  # the first statement was refused before the server read BEGIN
        self._held = [begin] if begin else []
        self.traces: dict[str, str] = dict(traces or {})
        self._derived: dict[str, int] = {}  # message ids that were derived here, and how often each was
        self.has_sent = False
        self.is_dry_run = False  # roll back at the end; may be set until then
        self.committed: list[Callable[[], None]] = []

    @property
    def actor(self) -> str:
        """Who acts: a consumer's queue, or the name that the process has given its connection."""
        return self._actor or self._connection.info.parameter_status("application_name") or "unknown"

    def after_commit(self, call: Callable[[], None]) -> None:
        """Have ``call`` called once COMMIT was answered: for logs and metrics, which must not lie.

        It is not called after a dry run, nor in a joined transaction, whose end is not known here.
        """
        self.committed.append(call)

    @property
    def has_failed(self) -> bool:
        """True after the error of a statement: nothing but a rollback is possible."""
        return self._is_void or self._status == TRANSACTION_STATUS_INERROR

    def execute(self, sql: str, params: Params = None) -> int:
        """Run one statement; return the number of rows it touched."""
        with self._statement() as cursor:
            self._run(cursor, cursor.mogrify(sql, params))
            return cursor.rowcount

    def fetch_all(self, sql: str, params: Params = None) -> list[Row]:
        """Run one query; return its rows."""
        with self._statement() as cursor:
            self._run(cursor, cursor.mogrify(sql, params))
            return cursor.fetchall()

    def fetch_one(self, sql: str, params: Params = None) -> Row | None:
        """Run one query; return its first row, or None."""
        with self._statement() as cursor:
            self._run(cursor, cursor.mogrify(sql, params))
            return cursor.fetchone()

    def execute_values(self, sql: str, rows: Sequence[Sequence[Any]], *, template: str | None = None) -> None:
        """Run ``sql``, which holds one ``VALUES %s``, for all ``rows`` at once. No rows, no statement."""
        if rows:
            with self._statement() as cursor:
                self._run(cursor, _with_values(cursor, sql, rows, template))

    def fetch_values(
        self, sql: str, rows: Sequence[Sequence[Any]], *, template: str | None = None
    ) -> list[Row]:
        """Like ``execute_values`` for a query or a statement with RETURNING; return its rows."""
        if not rows:
            return []
        with self._statement() as cursor:
            self._run(cursor, _with_values(cursor, sql, rows, template))
            return cursor.fetchall()

    def write(self, sql: str, params: Params = None) -> None:
        """Run one statement without a result: it goes out with the next one, or with COMMIT.

        That saves a round trip; its error is raised there. In a joined transaction the
        statement is run at once.
        """
        with self._statement(is_sent=False) as cursor:
            self._hold(cursor, cursor.mogrify(sql, params))

    def write_values(self, sql: str, rows: Sequence[Sequence[Any]], *, template: str | None = None) -> None:
        """Like ``execute_values``, but sent with the next statement as ``write`` does."""
        if rows:
            with self._statement(is_sent=False) as cursor:
                self._hold(cursor, _with_values(cursor, sql, rows, template))

    def add(self, insert: BulkInsert, rows: Sequence[Sequence[Any]]) -> None:
        """Add ``rows`` to a table, like ``write``. No rows, no statement.

        Values are str, int, bool, bytes, aware datetime or None.
        """
        if len(rows) < MANY_ROWS:
            self.write_values(insert.few, rows)
        else:
            self.write(insert.many, arrays_of(rows))

    def send(self, commands: Command | Iterable[Command]) -> None:
        """Add messages to the outbox: they are sent if, and only if, this transaction commits.

        Raises UnknownQueue for a command to a queue that no consumer works, if the transaction
        knows the queues there are: its row would stand in the outbox for ever.
        """
        commands = [commands] if isinstance(commands, Command) else list(commands)
        rows = self.outgoing(commands)
        self.append(rows)
        if tracing.tracer() is not None:
            self.trace_created(rows, [self._parent_of(each) for each in commands])

    def outgoing(self, commands: Iterable[Command]) -> list[OutboxRow]:
        """Like ``send``, but return the rows: a statement of the caller's adds them to the outbox."""
        rows = [
            outgoing.new_row(command if command.message_id else self._identified(command), self.traces)
            for command in commands
        ]
        if self._queues is not None:
            _check_queues(rows, self._queues)
        self.has_sent = self.has_sent or bool(rows)
        return rows

    def trace_created(self, rows: Sequence[OutboxRow], parents: Sequence[str]) -> None:
        """Have the span of each new message sent, once this transaction has committed."""
        if (tracer := tracing.tracer()) is not None:
            for row, parent in zip(rows, parents, strict=True):
                message = traced(row.envelope, row.routing_key, row.body)
                self.trace(partial(tracer.created, message, parent))

    def trace(self, call: Callable[[], None]) -> None:
        """Like ``after_commit``, but at once in a joined transaction: a span that lies costs little."""
        if self._begin:
            self.after_commit(call)
        else:
            call()

    def _parent_of(self, command: Command) -> str:
        return command.traceparent or self.traces.get(command.correlation_id, "")

    def append(self, rows: Sequence[OutboxRow]) -> None:
        """Add ready rows to the outbox: a retry, a postponement, a replay."""
        due = [outgoing.values(row) for row in rows if not row.delay_s]
        later = [(*outgoing.values(row), row.delay_s) for row in rows if row.delay_s]
        self.add(outgoing.INSERT, due)
        if later:
            self.write_values(outgoing.APPEND_LATER, later, template=outgoing.LATER_TEMPLATE)
        self.has_sent = self.has_sent or bool(rows)

    def check(self) -> None:
        """Send what is held back and check deferred constraints: what COMMIT would refuse is raised here."""
        if self._held != [self._begin]:
            self.execute("SET CONSTRAINTS ALL IMMEDIATE")

    def commit(self) -> None:
        """Send what is held back, and COMMIT; for the owner of the transaction. Raises psycopg2.Error."""
        if self._held == [self._begin]:
            return  # nothing was done
        with self._deadline(), self._connection.cursor(cursor_factory=Cursor) as cursor:
            self._run(cursor, b"COMMIT")

    def _identified(self, command: Command) -> Command:
        """Return a command without an id with the one that it gets by the rule that stands at Command."""
        cause = self.traces.get(command.correlation_id) or trace.new()
        message_id = derived_command_id(command, cause)
        count = self._derived[message_id] = self._derived.get(message_id, 0) + 1
        return replace(command, message_id=message_id if count == 1 else f"{message_id}.{count}")

    @property
    def _status(self) -> int:
        return self._connection.get_transaction_status()

    @contextmanager
    def _statement(self, *, is_sent: bool = True) -> Iterator[Cursor]:
        if self._is_void:
            raise UsageError("the first statement of this transaction failed, so it never began")
        deadline = self._deadline() if is_sent or not self._begin else nullcontext()
        # A connection of the project's own may have cursors whose rows are no tuples.
        with deadline, translated(), self._connection.cursor(cursor_factory=Cursor) as cursor:
            try:
                yield cursor
            except psycopg2.Error:
                # When PostgreSQL cannot parse a statement, it does not read the BEGIN before it either.
                self._is_void = self._held[:1] == [self._begin] and self._status == TRANSACTION_STATUS_IDLE
                raise

    def _hold(self, cursor: Cursor, statement: bytes) -> None:
        if self._begin:
            self._held.append(statement)
        else:
            cursor.execute(statement)

    def _run(self, cursor: Cursor, statement: bytes) -> None:
        """Run the held statements and ``statement`` in one round trip; the cursor has the last result."""
        batch = _NEXT.join([*self._held, statement])
        if (tracer := tracing.tracer()) is None:
            cursor.execute(batch)
        else:
            with tracer.querying(batch, len(self._held) + 1):
                cursor.execute(batch)
        self._held.clear()


def join_transaction(connection: Connection, queues: Set[str] | None = None) -> StoreTransaction:
    """Return a transaction over a psycopg2 connection of your own: its commit sends the messages.

    ``queues`` are the queues there are; commands to others are refused. After your commit
    ``wake_relay(connection)`` saves the messages the wait for the relay's next poll. Raises
    UsageError on another driver's connection, and on an autocommit connection: each statement would
    then commit by itself, and a crash between two would lose half of what belongs together.
    """
    check_driver(connection)
    if connection.autocommit:
        raise UsageError("the connection is in autocommit mode; set connection.autocommit = False")
    if connection.get_transaction_status() == TRANSACTION_STATUS_UNKNOWN:
        raise UsageError("the connection is closed")
    return StoreTransaction(connection, queues=queues)


def check_driver(connection: object) -> None:
    """Raise UsageError if this is no connection of psycopg2, as where a framework found psycopg 3 first."""
    if not isinstance(connection, Connection):
        kind = f"{type(connection).__module__}.{type(connection).__qualname__}"
        raise UsageError(f"the connection is a {kind}, and ordermq needs one of psycopg2")


def _check_queues(rows: Sequence[OutboxRow], queues: Set[str]) -> None:
    for row in rows:
        if row.routing_key not in queues:
            known = ", ".join(sorted(queues)) or "none"
            raise UnknownQueue(
                f"message {row.envelope.message_id} is for queue {row.routing_key!r}, which has no handler"
                f" and is not in topology.queues; known queues: {known}"
            )


def _with_values(
    cursor: Cursor, sql: str, rows: Sequence[Sequence[Any]], template: str | None = None
) -> bytes:
    """Return ``sql`` with ``rows`` in the place of its one ``%s``."""
    before, after = sql.encode().split(b"%s")
    template = template or f"({', '.join(['%s'] * len(rows[0]))})"
    return before + b", ".join([cursor.mogrify(template, row) for row in rows]) + after
