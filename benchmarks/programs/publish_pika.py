"""Publish with bare pika: pipelined, or one at a time as its documentation shows it."""

from time import perf_counter

from benchmarks.programs import orders
from benchmarks.programs.clock import settle
from benchmarks.programs.job import answer, read_job
from benchmarks.programs.pipeline import Pipeline, connect


def main() -> None:
    job = read_job()
    items = list(orders.for_pika(range(job["n"] + 1)))
    with connect(job) as connection:
        if job["pipelined"]:
            pipeline = Pipeline(connection)
            pipeline.publish_all(orders.PREFIX, orders.QUEUE, items[:1])
            settle()
            began = perf_counter()
            pipeline.publish_all(orders.PREFIX, orders.QUEUE, items[1:])
        else:
            channel = connection.channel()
            channel.confirm_delivery()
            channel.basic_publish(orders.PREFIX, orders.QUEUE, items[0][1], items[0][0], mandatory=True)
            settle()
            began = perf_counter()
            for properties, body in items[1:]:
                channel.basic_publish(orders.PREFIX, orders.QUEUE, body, properties, mandatory=True)
        answer(seconds=perf_counter() - began, done=len(items))


if __name__ == "__main__":
    main()
