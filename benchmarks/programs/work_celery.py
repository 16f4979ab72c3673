"""Work a full queue with Celery's worker, in this process."""

import os
import signal
from typing import Any

from benchmarks.programs.celery_app import celery_app, work
from benchmarks.programs.clock import Tally, settle
from benchmarks.programs.handle import handling
from benchmarks.programs.job import answer, read_job


def main() -> None:
    job = read_job()
    tally = Tally(job["n"], on_done=lambda: os.kill(os.getpid(), signal.SIGTERM))
    handle = handling(job, tally)
    app = celery_app(job, threads=job["threads"])

    @app.task(name="order")  # type: ignore[untyped-decorator]
    def order(**values: Any) -> None:
        handle(values)

    settle()
    work(app, pool=job["pool"], threads=job["threads"])
    answer(seconds=tally.seconds(), done=tally.total())


if __name__ == "__main__":
    main()
