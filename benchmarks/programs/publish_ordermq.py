"""Publish with ordermq: many messages by one call, or one by one from some threads."""

from time import perf_counter

from benchmarks.programs import orders
from benchmarks.programs.clock import from_threads, settle
from benchmarks.programs.job import answer, read_job
from ordermq.amqp import Publisher
from ordermq.cli.program import load_program


def main() -> None:
    job = read_job()
    threads = job["threads"]
    items = list(orders.publishings(range(job["n"] + max(1, threads))))
    with Publisher(load_program(None).settings.broker, name="bench") as publisher:
        if threads:
            seconds = from_threads(threads, items, publisher.publish)
        else:
            publisher.publish(items[0])
            settle()
            began = perf_counter()
            outcomes = publisher.publish_many(items[1:])
            seconds = perf_counter() - began
            if not outcomes.all_confirmed:
                raise SystemExit("not everything was confirmed")
    answer(seconds=seconds, done=len(items))


if __name__ == "__main__":
    main()
