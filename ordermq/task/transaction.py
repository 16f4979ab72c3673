"""What handlers and a project's own code may do in a transaction. ``ordermq.store`` implements it."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, Protocol

from ordermq.message.command import Command

Params = Sequence[Any] | Mapping[str, Any] | None
Row = tuple[Any, ...]


class BulkInsert(Protocol):
    """A statement that adds rows to a table, as ``ordermq.store.arrays.insert_into`` makes it."""

    @property
    def few(self) -> str:
        """The statement that takes its rows as ``VALUES %s``."""

    @property
    def many(self) -> str:
        """The statement that takes an array for each column."""


class Transaction(Protocol):
    """One PostgreSQL transaction, as a handler sees it; the framework begins and ends it.

    Statements are written as for psycopg2, with ``%s`` or ``%(name)s`` for values. Every method
    that sends a statement blocks until the server answers, at most ``database.statement_timeout_s``,
    and raises a subclass of ``ordermq.errors.StoreError``: Contention for a deadlock or a lock that
    was not had in time, DataRefused for a violated constraint. After an error nothing but a
    rollback is possible, so let it pass. Belongs to the thread that runs the handler.
    """

    @property
    def traces(self) -> Mapping[str, str]:
        """The traceparent that commands of a correlation id continue, by correlation id."""

    @property
    def actor(self) -> str:
        """Who acts: the queue whose consumer runs the handler, else the connection's application_name."""

    def execute(self, sql: str, params: Params = None) -> int:
        """Run one statement; return the number of rows it touched."""

    def fetch_all(self, sql: str, params: Params = None) -> list[Row]:
        """Run one query; return its rows."""

    def fetch_one(self, sql: str, params: Params = None) -> Row | None:
        """Run one query; return its first row, or None."""

    def execute_values(self, sql: str, rows: Sequence[Sequence[Any]], *, template: str | None = None) -> None:
        """Run ``sql``, which holds one ``VALUES %s``, for all ``rows`` at once. No rows, no statement.

        ``template`` is the text of one row, ``(%s, ...)`` if it is not given.
        """

    def fetch_values(
        self, sql: str, rows: Sequence[Sequence[Any]], *, template: str | None = None
    ) -> list[Row]:
        """Like ``execute_values`` for a query or a statement with RETURNING; return its rows."""

    def write(self, sql: str, params: Params = None) -> None:
        """Run one statement whose result is not needed: it goes out with the next one, or with COMMIT.

        That saves a round trip. An error of the statement is raised where it goes out. In a transaction
        that joined a connection of yours it is run at once.
        """

    def write_values(self, sql: str, rows: Sequence[Sequence[Any]], *, template: str | None = None) -> None:
        """Do for ``execute_values`` what ``write`` does for ``execute``."""

    def add(self, insert: BulkInsert, rows: Sequence[Sequence[Any]]) -> None:
        """Add ``rows`` to a table, like ``write``. No rows, no statement.

        Values are str, int, bool, bytes, aware datetime or None.
        """

    def send(self, commands: Command | Iterable[Command]) -> None:
        """Send one message or many if, and only if, this transaction commits: the outbox gets them.

        Raises MalformedMessage for a payload over 256 KiB or an id that no consumer accepts, and
        UnknownQueue for a queue that has no handler and is not in the setting ``topology.queues``.
        """

    def after_commit(self, call: Callable[[], None]) -> None:
        """Have ``call()`` called once COMMIT was answered: for logs and metrics, which must not lie.

        Never called if the transaction is rolled back, nor in a transaction that joined a
        connection of yours, because ordermq does not learn how that one ends.
        """
