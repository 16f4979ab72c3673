"""Rows come and are relayed for a while, in this process; then say what a claim that finds nothing costs.

With ``held`` a session keeps the snapshot that it took before the first row, as a backup does.
"""

from contextlib import ExitStack
from statistics import median
from time import perf_counter

import psycopg2

from benchmarks.programs.clock import settle
from benchmarks.programs.job import answer, worker_job
from benchmarks.programs.outbox import fill
from ordermq.amqp import ConnectionState, Publisher
from ordermq.cli.program import load_program
from ordermq.observe.health import Health
from ordermq.relay import Relay
from ordermq.testing.wait import wait_until

AT_ONCE = 1000
CLAIMS = 50


def main() -> None:
    job = worker_job()
    settings = load_program(None).settings
    with ExitStack() as stack:
        if job["held"]:
            holder = psycopg2.connect(**job["postgres"])
            stack.callback(holder.close)
            holder.set_session(isolation_level="REPEATABLE READ")
            holder.cursor().execute("SELECT count(*) FROM ordermq.outbox")
        publisher = stack.enter_context(Publisher(settings.broker, name="benchmark"))
        wait_until(lambda: publisher.connection.state is ConnectionState.OPEN, 10.0, what="connected")
        relay = Relay(
            publisher, settings.database, settings.relay, exchange=settings.topology.prefix, health=Health()
        )
        relay.relay_once()  # the first claim opens and plans
        settle()
        relayed, seconds = 0, 0.0
        for _ in range(0, job["n"], AT_ONCE):
            fill(settings.database, AT_ONCE)
            began = perf_counter()
            while done := relay.relay_once():
                relayed += done
            seconds += perf_counter() - began
        answer(relayed=relayed, seconds=seconds, claim_s=median(_claim_s(relay) for _ in range(CLAIMS)))


def _claim_s(relay: Relay) -> float:
    began = perf_counter()
    if relay.relay_once():
        raise SystemExit("something was left to relay")
    return perf_counter() - began


if __name__ == "__main__":
    main()
