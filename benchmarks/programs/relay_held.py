"""Rows come at a steady rate and are relayed, in this process; what did a claim that found nothing cost?

``held`` says what happens meanwhile: "reader", a session is idle in a REPEATABLE READ that began before the
first row; "dump", a pg_dump that nobody reads keeps such a snapshot and its locks; "readers", four sessions
read in a REPEATABLE READ that each begins anew every READ_FOR_S; "idle", IDLE sessions are connected and do
nothing; "ended", the server ends a session of the relay or of the writer each second; or "" for nothing.
"""

import os
import subprocess
import threading
import time
from collections.abc import Callable
from contextlib import ExitStack, closing
from functools import partial
from itertools import cycle
from time import perf_counter
from typing import Any

import psycopg2

from benchmarks.programs import orders
from benchmarks.programs.clock import settle
from benchmarks.programs.job import answer, worker_job
from benchmarks.programs.outbox import add
from benchmarks.programs.pipeline import connect
from ordermq.amqp import ConnectionState, Publisher
from ordermq.cli.program import load_program
from ordermq.errors import StoreError
from ordermq.observe.health import Health
from ordermq.relay import Relay
from ordermq.store import Session
from ordermq.testing.wait import wait_until

AT_ONCE = 100
PURGE_EVERY = 50_000  # rows: nobody consumes, and the queue must not be what the case measures
READERS = 4
READ_FOR_S = 20.0
IDLE = 300
END_EVERY_S = 1.0
WRITER = "writer"

_FAILED = object()

# More than fits into the pipe and the sockets on the way to a pg_dump that stands still.
_FILLER = """
    CREATE TABLE public.filler AS
    SELECT n, repeat(md5(n::text), 100) AS text FROM generate_series(1, 20000) AS n
"""
_END = """
    SELECT pg_terminate_backend(pid) FROM pg_stat_activity
     WHERE datname = current_database() AND application_name = %s
"""
# pg_dump has its snapshot before it locks a table.
_DUMPING = """
    SELECT count(*) FROM pg_locks JOIN pg_stat_activity USING (pid)
     WHERE application_name = 'pg_dump' AND relation = 'ordermq.outbox'::regclass
"""
_HELD = """
    SELECT count(*) FROM pg_stat_activity
     WHERE datname = current_database() AND backend_type = 'client backend' AND backend_xmin IS NOT NULL
       AND pid <> pg_backend_pid()
"""


def main() -> None:
    job = worker_job()
    settings = load_program(None).settings
    with ExitStack() as stack:
        watch = stack.enter_context(closing(psycopg2.connect(**job["postgres"])))
        watch.autocommit = True
        held = stack.enter_context(ExitStack())
        _HOLD[job["held"]](job, watch, held)
        publisher = stack.enter_context(Publisher(settings.broker, name="benchmark"))
        wait_until(lambda: publisher.connection.state is ConnectionState.OPEN, 10.0, what="connected")
        relay = Relay(
            publisher, settings.database, settings.relay, exchange=settings.topology.prefix, health=Health()
        )
        relay.relay_once()  # the first claim opens and plans
        writer = stack.enter_context(closing(Session(settings.database, name=WRITER)))
        settle()
        figures = _relay(relay, writer, job)
        held.close()
        wait_until(lambda: _value(watch, _HELD) == 0, 60.0, what="no snapshot is held")
        began = perf_counter()
        with watch.cursor() as cursor:
            cursor.execute("VACUUM ordermq.outbox")
            vacuum_s = perf_counter() - began
            cursor.execute("SELECT pg_total_relation_size('ordermq.outbox')")
            answer(**figures, vacuum_s=vacuum_s, left_mb=cursor.fetchall()[0][0] / 1e6)


def _relay(relay: Relay, writer: Session, job: dict[str, Any]) -> dict[str, Any]:
    """Relay the rows that come at the job's rate; say how long that and each idle claim took.

    What raises is done again if sessions are ended, and its time counts.
    """
    n, rate = job["n"], job["rate"]
    expected = StoreError if job["held"] == "ended" else ()
    relayed, seconds, failed = 0, 0.0, 0
    idle_s: list[float] = []
    began = perf_counter()
    for first in range(0, n, AT_ONCE):
        time.sleep(max(0.0, began + first / rate - perf_counter()))
        write = partial(add, writer, first, min(n, first + AT_ONCE))
        while (done := _tried(write, expected)) is _FAILED:
            failed += 1
        while done != 0:
            turn = perf_counter()
            done = _tried(relay.relay_once, expected) or 0
            took_s = perf_counter() - turn
            seconds += took_s
            if done is _FAILED:
                failed += 1
            elif done:
                relayed += done
            else:
                idle_s.append(took_s)
        if first % PURGE_EVERY == PURGE_EVERY - AT_ONCE:
            with connect(job) as connection:
                connection.channel().queue_purge(orders.FULL_QUEUE)
    lasted_s = perf_counter() - began
    return {"relayed": relayed, "seconds": seconds, "lasted_s": lasted_s, "idle_s": idle_s, "failed": failed}


def _tried(action: Callable[[], Any], expected: Any) -> Any:
    try:
        return action()
    except expected:
        return _FAILED


def _hold_nothing(job: dict[str, Any], watch: Any, held: ExitStack) -> None: ...


def _hold_as_reader(job: dict[str, Any], watch: Any, held: ExitStack) -> None:
    reader = held.enter_context(closing(psycopg2.connect(**job["postgres"])))
    reader.set_session(isolation_level="REPEATABLE READ")
    reader.cursor().execute("SELECT count(*) FROM ordermq.outbox")


def _hold_as_readers(job: dict[str, Any], watch: Any, held: ExitStack) -> None:
    for number in range(READERS):
        _repeat(_Reader(job, begin_s=READ_FOR_S * number / READERS), 1.0, held)


class _Reader:
    """Reads once each time it is called, and takes a new snapshot every READ_FOR_S."""

    def __init__(self, job: dict[str, Any], *, begin_s: float) -> None:
        self._connection = psycopg2.connect(**job["postgres"])
        self._connection.set_session(isolation_level="REPEATABLE READ")
        self._until_s = perf_counter() + begin_s

    def __call__(self) -> None:
        if perf_counter() > self._until_s:
            self._until_s += READ_FOR_S
            self._connection.rollback()
        _value(self._connection, "SELECT count(*) FROM ordermq.outbox")

    def close(self) -> None:
        self._connection.close()


def _connect_idle(job: dict[str, Any], watch: Any, held: ExitStack) -> None:
    for _ in range(IDLE):
        held.enter_context(closing(psycopg2.connect(**job["postgres"])))


def _end_sessions(job: dict[str, Any], watch: Any, held: ExitStack) -> None:
    _repeat(_Ending(job), END_EVERY_S, held)


class _Ending:
    """Ends a session of the relay, of the writer, and so on."""

    def __init__(self, job: dict[str, Any]) -> None:
        self._connection = psycopg2.connect(**job["postgres"])
        self._connection.autocommit = True
        self._names = cycle(("ordermq-relay", WRITER))

    def __call__(self) -> None:
        with self._connection.cursor() as cursor:
            cursor.execute(_END, (next(self._names),))

    def close(self) -> None:
        self._connection.close()


def _repeat(call: "_Reader | _Ending", every_s: float, held: ExitStack) -> None:
    """Call it again and again in a thread of its own until ``held`` is left; then close it."""
    stop = threading.Event()

    def run() -> None:
        with closing(call):
            while not stop.wait(every_s):
                call()

    thread = threading.Thread(target=run)
    thread.start()
    held.callback(thread.join)
    held.callback(stop.set)


def _hold_as_dump(job: dict[str, Any], watch: Any, held: ExitStack) -> None:
    postgres = job["postgres"]
    with watch.cursor() as cursor:
        cursor.execute(_FILLER)
    dump = subprocess.Popen(
        [job["pg_dump"], "-h", postgres["host"], "-p", str(postgres["port"]), "-U", postgres["user"],
         postgres["dbname"]],
        env=os.environ | {"PGPASSWORD": postgres["password"]}, stdout=subprocess.PIPE,
    )  # fmt: skip
    held.callback(dump.wait)
    held.callback(dump.kill)
    wait_until(lambda: _value(watch, _DUMPING) > 0, 60.0, what="pg_dump has locked the outbox")


def _value(connection: Any, query: str) -> Any:
    with connection.cursor() as cursor:
        cursor.execute(query)
        return cursor.fetchall()[0][0]


_HOLD: dict[str, Callable[[dict[str, Any], Any, ExitStack], None]] = {
    "": _hold_nothing,
    "reader": _hold_as_reader,
    "dump": _hold_as_dump,
    "readers": _hold_as_readers,
    "idle": _connect_idle,
    "ended": _end_sessions,
}

if __name__ == "__main__":
    main()
