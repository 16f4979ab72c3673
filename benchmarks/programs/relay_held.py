"""Rows come at a steady rate and are relayed, in this process; what did a claim that found nothing cost?

``held`` says who keeps the snapshot that it took before the first row: "reader", a session that is idle
in a REPEATABLE READ; "dump", a pg_dump that nobody reads, with its locks; or "" for none.
"""

import os
import subprocess
import time
from collections.abc import Callable
from contextlib import ExitStack, closing
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
from ordermq.observe.health import Health
from ordermq.relay import Relay
from ordermq.store import Session
from ordermq.testing.wait import wait_until

AT_ONCE = 100
PURGE_EVERY = 50_000  # rows: nobody consumes, and the queue must not be what the case measures

# More than fits into the pipe and the sockets on the way to a pg_dump that stands still.
_FILLER = """
    CREATE TABLE public.filler AS
    SELECT n, repeat(md5(n::text), 100) AS text FROM generate_series(1, 20000) AS n
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
        writer = stack.enter_context(closing(Session(settings.database, name="writer")))
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
    """Relay the rows that come at the job's rate; say how long that and each idle claim took."""
    n, rate = job["n"], job["rate"]
    relayed, seconds = 0, 0.0
    idle_s: list[float] = []
    began = perf_counter()
    for first in range(0, n, AT_ONCE):
        time.sleep(max(0.0, began + first / rate - perf_counter()))
        add(writer, first, min(n, first + AT_ONCE))
        done = 1
        while done:
            turn = perf_counter()
            done = relay.relay_once() or 0
            took_s = perf_counter() - turn
            relayed += done
            seconds += took_s
            if not done:
                idle_s.append(took_s)
        if first % PURGE_EVERY == PURGE_EVERY - AT_ONCE:
            with connect(job) as connection:
                connection.channel().queue_purge(orders.FULL_QUEUE)
    return {"relayed": relayed, "seconds": seconds, "lasted_s": perf_counter() - began, "idle_s": idle_s}


def _hold_nothing(job: dict[str, Any], watch: Any, held: ExitStack) -> None: ...


def _hold_as_reader(job: dict[str, Any], watch: Any, held: ExitStack) -> None:
    reader = held.enter_context(closing(psycopg2.connect(**job["postgres"])))
    reader.set_session(isolation_level="REPEATABLE READ")
    reader.cursor().execute("SELECT count(*) FROM ordermq.outbox")


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
}

if __name__ == "__main__":
    main()
