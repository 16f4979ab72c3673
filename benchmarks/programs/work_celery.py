"""Work a full queue with Celery's worker, in this process."""

from typing import Any

from benchmarks.programs.celery_app import celery_app, work
from benchmarks.programs.clock import Tally, settle
from benchmarks.programs.handle import handling
from benchmarks.programs.job import answer, read_job


def main() -> None:
    job = read_job()
    tally = Tally(job["n"])
    handle = handling(job, tally)
    app = celery_app(job, threads=job["threads"])

    @app.task(name="order")  # type: ignore[untyped-decorator] # Celery has no types
    def order(**values: Any) -> None:
        handle(values)

    settle()
    work(app, pool=job["pool"], threads=job["threads"], until=tally.done)
    answer(seconds=tally.seconds(), done=tally.total())


if __name__ == "__main__":
    main()
