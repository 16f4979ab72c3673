"""Publish with Dramatiq: send from some threads."""

from benchmarks.programs import orders
from benchmarks.programs.clock import from_threads
from benchmarks.programs.dramatiq_app import dramatiq, dramatiq_broker
from benchmarks.programs.job import answer, read_job


def main() -> None:
    job = read_job()
    dramatiq_broker(job)

    @dramatiq.actor(actor_name="order")
    def order(**values: object) -> None: ...

    items = [orders.values(number) for number in range(job["n"] + job["threads"])]
    seconds = from_threads(job["threads"], items, lambda values: order.send(**values))
    answer(seconds=seconds, done=len(items))


if __name__ == "__main__":
    main()
