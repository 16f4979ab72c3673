"""A connection to PostgreSQL that comes back, and the transactions on it."""

import logging
import select
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from functools import partial

import psycopg2
from psycopg2 import sql
from psycopg2.extensions import TRANSACTION_STATUS_IDLE, TRANSACTION_STATUS_INERROR
from psycopg2.extensions import connection as Connection

from ordermq.clock import monotonic_s
from ordermq.config.settings import DatabaseSettings
from ordermq.errors import (
    CommitUnknown,
    ConfigError,
    Contention,
    ReadOnlyServer,
    SessionLost,
    StoreError,
    StoreRefused,
    StoreUnavailable,
    UsageError,
)
from ordermq.log_events import DATABASE_CLOSE_FAILED, DATABASE_IDLE_CLOSED, DATABASE_NOT_NOTIFIED
from ordermq.observe import metrics
from ordermq.store._errors import translate, translate_connecting, translated
from ordermq.store.connecting import BEGIN, begin_statement, connect, refusal
from ordermq.store.deadline import Guard
from ordermq.store.tls import tls_advice
from ordermq.store.transaction import StoreTransaction

log = logging.getLogger(__name__)

# A client-side deadline comes this long after the server's own, so that usually the server's
# error is seen, which says more.
_GRACE_S = 2.0
# A session that the server ends after a transaction of this length was probably ended for its length,
# by a limit or by a person. Shorter ones end with the server, as at a restart.
_LONG_S = 0.5
_ANSWERED = (TRANSACTION_STATUS_IDLE, TRANSACTION_STATUS_INERROR)
# Reads at most this often to drain what the server sent before it closed the connection.
_LAST_READS = 10


class Session:
    """One connection, opened when first needed and again after it broke.

    Owned by one thread. Every wait is bounded: a statement by ``statement_timeout_s``
    on the server and 2 s more on the client, connecting by ``connect_timeout_s``. The
    password and the certificates are read anew at each connect, so rotated ones are picked
    up. ``queues`` are the queues that exist, by their short names; its transactions refuse
    commands to others. ``actor`` is who acts in its transactions, if that is not ``name``.
    """

    def __init__(
        self,
        settings: DatabaseSettings,
        *,
        name: str,
        queues: frozenset[str] | None = None,
        actor: str = "",
    ) -> None:
        self._settings = settings
        self._actor = actor or name
        self._queues = queues
        self._name = name
        self._connection: Connection | None = None
        self._guard: Guard | None = None
        self._begin = BEGIN

    @contextmanager
    def transaction(
        self,
        *,
        traces: Mapping[str, str] | None = None,
        dry_run: bool = False,
        statement_timeout_s: float | None = None,
    ) -> Iterator[StoreTransaction]:
        """Begin; commit at the end of the block, roll back if it raises.

        With ``dry_run`` all statements are run, deferred constraints are checked, and the end
        of the block rolls everything back: no error is raised for it, and nothing that waits
        for a commit is called. The block may decide so itself, by ``tx.is_dry_run = True``.
        ``statement_timeout_s`` takes the place of the setting, for statements that read whole tables.

        Raises CommitUnknown when the connection broke during COMMIT: the caller must
        treat the work as neither done nor undone, and let the inbox decide. Raises
        Contention when the server ended the session after the transaction had idled or lasted
        for long, and UsageError when the block swallowed the error of a statement: PostgreSQL
        answers the COMMIT of a failed transaction with a rollback and without an error.

        A connection that the server closed while it was idle, as a restart does, is replaced
        before anything is sent: no statement is ever sent twice. One to a server that takes no
        writes is closed, because the next may reach one that does.
        """
        self._drop_stale()
        connection, guard = self._open()
        pace = _Pace(guard, (statement_timeout_s or self._settings.statement_timeout_s) + _GRACE_S)
        tx = StoreTransaction(
            connection, traces=traces, deadline=pace.statement, begin=self._begin,
            queues=self._queues, actor=self._actor,
        )  # fmt: skip
        tx.is_dry_run = dry_run
        try:
            if statement_timeout_s is not None:
                tx.write(f"SET LOCAL statement_timeout = {round(statement_timeout_s * 1000)}")
            yield tx
            if tx.has_failed:
                raise UsageError("the error of a failed statement was caught: its transaction cannot commit")
            if tx.is_dry_run:
                tx.check()
        except BaseException as exc:
            self._rollback(connection, guard)
            self._judge(exc, pace)
            raise
        if tx.is_dry_run:
            self._rollback(connection, guard)
            return
        self._commit(tx, connection, guard, pace)
        for call in tx.committed:
            call()

    def notify(self, channel: str) -> None:
        """Send NOTIFY as a transaction of its own, best effort: listeners also poll.

        Never inside a writing transaction: it would make commits queue behind a global
        lock (3,231 against 426 transactions/s with a 2 ms fsync).
        """
        try:
            connection, guard = self._open()
            with guard.within(_GRACE_S), translated(), connection.cursor() as cursor:
                cursor.execute(sql.SQL("NOTIFY {}").format(sql.Identifier(channel)))
        except StoreError as exc:
            log.debug("could not notify %s: %s", channel, exc, extra=DATABASE_NOT_NOTIFIED)
            self.close()

    def listen(self, channel: str) -> None:
        """Begin to receive notifications on ``channel``. To be called again after each reconnect.

        Behind a pooler none will come: the session that listens could be another client's next.
        """
        connection, guard = self._open()
        if self._begin != BEGIN:
            return
        with guard.within(_GRACE_S), translated(), connection.cursor() as cursor:
            cursor.execute(sql.SQL("LISTEN {}").format(sql.Identifier(channel)))

    def wait(self, timeout_s: float) -> bool:
        """Block until a notification arrives, at most ``timeout_s``; return whether one did."""
        connection, _ = self._open()
        if not connection.notifies:
            with translated():
                if not select.select([connection], [], [], timeout_s)[0]:
                    return False
                connection.poll()
        came = bool(connection.notifies)
        connection.notifies.clear()
        return came

    @property
    def is_open(self) -> bool:
        """True while there is a connection that is not known to be broken."""
        return self._connection is not None and not self._connection.closed

    def close(self) -> None:
        """Close the connection; the next use opens another. Never raises, never blocks."""
        if self._guard is not None:
            self._guard.close()
            self._guard = None
        if self._connection is not None:
            try:
                self._connection.close()
            except psycopg2.Error as exc:
                log.debug("closing a broken connection: %s", exc, extra=DATABASE_CLOSE_FAILED)
            self._connection = None

    def _drop_stale(self) -> None:
        if self._connection is not None and _is_stale(self._connection):
            log.info(
                "the connection to PostgreSQL was closed while it was idle; opening another",
                extra=DATABASE_IDLE_CLOSED,
            )
            self.close()

    def _open(self) -> tuple[Connection, Guard]:
        if self._connection is not None and self._guard is not None and not self._connection.closed:
            return self._connection, self._guard
        self.close()
        try:
            connection = connect(self._settings, name=self._name)
        except psycopg2.Error as exc:
            state = partial(refusal, exc, self._settings, name=self._name)
            advice = partial(tls_advice, settings=self._settings)
            raise translate_connecting(exc, state, advice) from exc
        except ConfigError as exc:  # a file that is being replaced: the next attempt reads it again
            raise StoreRefused(str(exc)) from exc
        try:
            guard = Guard(connection.fileno())
        except OSError as exc:
            connection.close()
            raise StoreUnavailable(
                f"no descriptor for another connection to PostgreSQL: {exc.strerror}"
                " (raise LimitNOFILE or ulimit -n)"
            ) from exc
        self._connection, self._guard = connection, guard
        try:
            with guard.within(self._settings.connect_timeout_s):
                self._begin = begin_statement(connection, self._settings)
        except psycopg2.Error as exc:
            self.close()
            raise translate_connecting(exc) from exc
        return connection, guard

    def _commit(self, tx: StoreTransaction, connection: Connection, guard: Guard, pace: "_Pace") -> None:
        if pace.lasted_s >= _LONG_S and _is_stale(connection):
            self.close()
            raise Contention(f"{pace}; nothing was committed")
        try:
            with metrics.commit_seconds.time():
                tx.commit()
        except psycopg2.Error as exc:
            # A server that answered has not committed. One that did not answer may have.
            has_answered = connection.get_transaction_status() in _ANSWERED
            self._rollback(connection, guard)
            error = translate(exc)
            if isinstance(error, SessionLost) and not has_answered:
                if self._has_idled(pace):
                    raise Contention(str(pace)) from exc
                raise CommitUnknown(f"the connection broke during COMMIT: {error}") from exc
            self._judge(error, pace)
            raise error from exc

    def _judge(self, error: BaseException, pace: "_Pace") -> None:
        """Close a connection that takes no writes; raise Contention for a long transaction that was ended."""
        if isinstance(error, ReadOnlyServer):
            self.close()
        if isinstance(error, SessionLost) and (self._has_idled(pace) or pace.was_ended_late):
            raise Contention(str(pace)) from error

    def _has_idled(self, pace: "_Pace") -> bool:
        # libpq only says that the connection is closed. The server's clock began a little earlier.
        return pace.idle_s >= 0.9 * self._settings.idle_in_transaction_s

    def _rollback(self, connection: Connection, guard: Guard) -> None:
        try:
            with guard.within(_GRACE_S):
                if connection.get_transaction_status() != TRANSACTION_STATUS_IDLE:
                    with connection.cursor() as cursor:
                        cursor.execute("ROLLBACK")
        except psycopg2.Error:
            self.close()  # the connection is broken: the server rolls back by itself
        if connection.closed:
            self.close()


class _Pace:
    """Gives each statement of one transaction its deadline, and measures the time between them."""

    def __init__(self, guard: Guard, call_s: float) -> None:
        self.idle_s = 0.0  # the longest time between two statements
        self._guard = guard
        self._call_s = call_s
        self._began_s: float | None = None
        self._ended_s: float | None = None

    def __str__(self) -> str:
        return (
            f"the server ended the session after its transaction had lasted {self.lasted_s:.1f} s"
            f" and had been idle for {self.idle_s:.1f} s"
        )

    @property
    def lasted_s(self) -> float:
        """Seconds since the first statement began; 0 before it."""
        return 0.0 if self._began_s is None else monotonic_s() - self._began_s

    @property
    def was_ended_late(self) -> bool:
        """Whether the server, not this client's own deadline, ended a session with a long transaction."""
        return self.lasted_s >= _LONG_S and not self._guard.has_expired

    @contextmanager
    def statement(self) -> Iterator[None]:
        if self._ended_s is None:
            self._began_s = monotonic_s()
        else:
            self.idle_s = max(self.idle_s, monotonic_s() - self._ended_s)
        try:
            with self._guard.within(self._call_s):
                yield
        finally:
            self._ended_s = monotonic_s()


def _is_stale(connection: Connection) -> bool:
    """Return whether this machine knows that the server closed the connection. Never blocks."""
    poller = select.poll()  # select() takes no descriptor past 1023
    try:
        poller.register(connection.fileno(), select.POLLIN)
        for _ in range(_LAST_READS):
            if not poller.poll(0):
                return False
            connection.poll()
    except psycopg2.Error:
        return True
    return False
