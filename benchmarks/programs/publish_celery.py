"""Publish with Celery: apply_async from some threads."""

from benchmarks.programs import orders
from benchmarks.programs.celery_app import celery_app
from benchmarks.programs.clock import from_threads
from benchmarks.programs.job import answer, read_job


def main() -> None:
    job = read_job()
    app = celery_app(job, connections=job["threads"])

    @app.task(name="order")  # type: ignore[untyped-decorator] # Celery has no types
    def order(**values: object) -> None: ...

    items = [orders.values(number) for number in range(job["n"] + job["threads"])]
    seconds = from_threads(
        job["threads"], items, lambda values: order.apply_async(kwargs=values, mandatory=True)
    )
    answer(seconds=seconds, done=len(items))


if __name__ == "__main__":
    main()
