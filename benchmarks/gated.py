"""Consumers that begin together: queues with messages in them, and a file that lets their handlers go."""

import time
from collections.abc import Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from benchmarks.case import Wrong
from benchmarks.ground import Ground
from benchmarks.processes import MeasuredProcess, Processes
from benchmarks.queues import open_channel
from ordermq.amqp import Publisher, PublishOutcome
from ordermq.clock import utc_now
from ordermq.message.envelope import Envelope, Publishing
from ordermq.message.headers import to_properties
from ordermq.observe import trace
from ordermq.store import Session
from ordermq.testing.stack.commands import program

PREFIX = "orders"
HANDLERS = {"ORDERMQ_MODULES": "benchmarks.programs.gated"}

_CHUNK = 5000


@dataclass(frozen=True)
class Gated:
    """A ground with tables and queues, and a gate that is still closed."""

    processes: Processes
    session: Session
    gate: Path

    def value(self, sql: str, *params: Any) -> Any:
        with self.session.transaction() as tx:
            row = tx.fetch_one(sql, params)
        return row[0] if row else None

    def fill(self, queue: str, count: int, name: str = "m") -> None:
        """Publish ``count`` messages to a queue. Raises Wrong unless all are confirmed."""
        with Publisher(self.processes.ground.broker, name="benchmark") as publisher:
            for start in range(0, count, _CHUNK):
                some = [_publishing(queue, f"{name}-{n}") for n in range(start, min(count, start + _CHUNK))]
                outcomes = publisher.publish_many(some, timeout_s=60.0)
                if any(outcome is not PublishOutcome.CONFIRMED for outcome in outcomes):
                    raise Wrong(f"not every message to {queue} was confirmed")

    def wait_unconsumed(self, queue: str) -> None:
        """Wait until the broker knows of no consumer: of one that was killed it learns a little later."""
        self.processes.wait(lambda: self.consumers(queue) == 0, 30.0, f"no consumer of {queue}", every_s=0.2)

    def consume(self, queue: str, processes: int = 1, threads: int = 1) -> list[MeasuredProcess]:
        """Start consumers, which take what they may hold and wait at the gate."""
        started = [
            self.processes.start(
                queue, [program("ordermq-consumer"), "--queue", queue, "--threads", str(threads)],
                env=HANDLERS, gate=str(self.gate),
            )
            for _ in range(processes)
        ]  # fmt: skip
        self.processes.wait(
            lambda: self.consumers(queue) == processes, 60.0, f"{processes} consumers of {queue}", every_s=0.2
        )
        return started

    def consumers(self, queue: str) -> int:
        """Return how many consumers the broker knows on a queue."""
        with open_channel(self.processes.ground) as channel:
            return int(channel.queue_declare(f"{PREFIX}.{queue}", passive=True).method.consumer_count)

    def open(self) -> float:
        """Let them go; return when, in seconds since 1970."""
        opened = time.time()
        self.gate.touch()
        return opened

    def wait_effects(self, count: int) -> None:
        """Wait until so many messages have had their effect."""
        self.processes.wait(
            lambda: self.value("SELECT count(*) FROM effects") >= count,
            300.0,
            f"{count} effects",
            every_s=0.1,
        )

    def effect_at(self, number: int) -> float:
        """Return when the effect of this number was written, in seconds since 1970; the first is 1."""
        return float(
            self.value(
                "SELECT extract(epoch FROM at)::float8 FROM effects ORDER BY at OFFSET %s LIMIT 1", number - 1
            )
        )


@contextmanager
def gated(ground: Ground) -> Iterator[Gated]:
    """Prepare tables and queues; end every process that was started there."""
    with Processes(ground) as processes, closing(Session(ground.database, name="benchmark")) as session:
        for argv in (("ordermq", "db", "migrate"), ("ordermq", "topology", "apply")):
            process = processes.start(
                argv[1], [program(argv[0]), *argv[1:]], env=HANDLERS, gate="", is_lasting=False
            )
            processes.wait_ended(process, 120.0)
        with session.transaction() as tx:
            tx.execute(
                "CREATE TABLE effects (order_id text PRIMARY KEY, at timestamptz DEFAULT clock_timestamp())"
            )
        yield Gated(processes, session, processes.folder / "gate")


def _publishing(queue: str, name: str) -> Publishing:
    envelope = Envelope(
        message_id=f"{name}:{queue}", type="Work", version=1, correlation_id=name,
        traceparent=trace.new(), occurred_at=utc_now(),
    )  # fmt: skip
    return Publishing(PREFIX, queue, to_properties(envelope), b'{"order_id":"%b"}' % name.encode())
