"""Relay ``parts`` times ``k`` rows of a full outbox, in this process; say what a row took in each part."""

from dataclasses import replace
from time import perf_counter

from benchmarks.programs.clock import settle
from benchmarks.programs.job import answer, worker_job
from ordermq.amqp import ConnectionState, Publisher
from ordermq.cli.program import load_program
from ordermq.observe.health import Health
from ordermq.relay import Relay
from ordermq.testing.wait import wait_until


def main() -> None:
    job = worker_job()
    k = job["k"]
    settings = load_program(None).settings
    relaying = replace(settings.relay, batch=min(settings.relay.batch, k))
    with Publisher(settings.broker, name="benchmark") as publisher:
        wait_until(lambda: publisher.connection.state is ConnectionState.OPEN, 10.0, what="connected")
        relay = Relay(
            publisher, settings.database, relaying, exchange=settings.topology.prefix, health=Health()
        )
        warm = relay.relay_once() or 0  # the first claim opens and plans
        settle()
        relayed, seconds_each = 0, []
        for _ in range(job["parts"]):
            some, began = 0, perf_counter()
            while some < k:
                some += _relayed(relay)
            seconds_each.append((perf_counter() - began) / some)
            relayed += some
        answer(seconds_each=seconds_each, relayed=relayed, warm=warm)


def _relayed(relay: Relay) -> int:
    done = relay.relay_once()
    if not done:
        raise SystemExit("nothing is left to relay")
    return done


if __name__ == "__main__":
    main()
