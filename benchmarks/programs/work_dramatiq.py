"""Work a full queue with Dramatiq's worker, in this process: what its command line runs."""

from typing import Any

from benchmarks.programs.clock import Tally, settle
from benchmarks.programs.dramatiq_app import dramatiq, dramatiq_broker
from benchmarks.programs.handle import handling
from benchmarks.programs.job import answer, read_job


def main() -> None:
    job = read_job()
    tally = Tally(job["n"])
    handle = handling(job, tally)
    broker = dramatiq_broker(job)

    @dramatiq.actor(actor_name="order")
    def order(**values: Any) -> None:
        handle(values)

    worker = dramatiq.Worker(broker, worker_threads=job["threads"])
    settle()
    worker.start()
    tally.wait()
    worker.stop()
    answer(seconds=tally.seconds(), done=tally.total())


if __name__ == "__main__":
    main()
