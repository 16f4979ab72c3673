"""Relay a full outbox with ordermq's relay, in this process; the job may have it sign."""

import base64
import os
import tempfile
from time import perf_counter

from benchmarks.programs.clock import Tally, settle
from benchmarks.programs.job import answer, read_job
from benchmarks.programs.outbox import fill
from ordermq.amqp import ConnectionState, Publisher, PublishOutcome
from ordermq.cli.program import load_program
from ordermq.config.signing_keys import SigningKeys
from ordermq.message.signing import Signer
from ordermq.observe.health import Health
from ordermq.relay import Relay
from ordermq.testing.wait import wait_until


class Counting:
    """Hears of every confirm."""

    def __init__(self, tally: Tally) -> None:
        self._tally = tally

    def published(self, count: int) -> None: ...

    def resolved(self, outcome: PublishOutcome, count: int, latency_s: float) -> None:
        if outcome is PublishOutcome.CONFIRMED:
            self._tally.hit(count)


def new_signer() -> Signer:
    """Return a signer with a key of its own."""
    with tempfile.NamedTemporaryFile("w") as file:
        file.write(f"bench {base64.b64encode(os.urandom(32)).decode()}\n")
        file.flush()
        return Signer(SigningKeys(file.name))


def main() -> None:
    job = read_job()
    settings = load_program(None).settings
    fill(settings.database, job["n"])
    tally = Tally(job["n"])
    with Publisher(settings.broker, name="bench", observer=Counting(tally)) as publisher:
        wait_until(lambda: publisher.connection.state is ConnectionState.OPEN, 10.0, what="connected")
        relay = Relay(
            publisher,
            settings.database,
            settings.relay,
            exchange=settings.topology.prefix,
            health=Health(),
            signer=new_signer() if job.get("signed") else None,
        )
        settle()
        began = perf_counter()
        relay.start()
        tally.wait(is_alive=lambda: relay.failure is None)
        relay.stop()
        if not relay.join(60.0) or relay.failure is not None:  # the last rows are deleted then
            raise SystemExit(f"the relay did not end well: {relay.failure!r}")
        seconds = perf_counter() - began
    answer(seconds=seconds, done=tally.total())


if __name__ == "__main__":
    main()
