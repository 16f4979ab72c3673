"""Fill a queue with orders, each as the framework that will work it would have sent it; pipelined."""

from collections.abc import Callable, Iterator
from typing import Any
from uuid import uuid4

import pika
from kombu.serialization import dumps

from benchmarks.programs import celery_app, dramatiq_app, orders
from benchmarks.programs.job import answer, read_job
from benchmarks.programs.pipeline import Pipeline, connect

Items = Iterator[tuple[pika.BasicProperties, bytes]]


def for_ordermq(_job: dict[str, Any], numbers: range) -> tuple[str, str, Items]:
    return orders.PREFIX, orders.QUEUE, orders.for_pika(numbers)


def for_celery(job: dict[str, Any], numbers: range) -> tuple[str, str, Items]:
    app = celery_app.celery_app(job)
    with app.connection_for_write() as connection:
        app.amqp.default_queue.bind(connection.default_channel).declare()

    def items() -> Items:
        for number in numbers:
            headers, properties, body, _ = app.amqp.as_task_v2(
                str(uuid4()), "order", (), orders.values(number), ignore_result=True
            )
            content_type, content_encoding, text = dumps(body, "json")
            yield (
                pika.BasicProperties(
                    content_type=content_type,
                    content_encoding=content_encoding,
                    headers=headers,
                    delivery_mode=2,
                    priority=0,
                    correlation_id=properties["correlation_id"],
                    reply_to=properties["reply_to"],
                ),
                text.encode(),
            )

    return "", celery_app.QUEUE, items()


def for_dramatiq(job: dict[str, Any], numbers: range) -> tuple[str, str, Items]:
    broker = dramatiq_app.dramatiq_broker(job)

    @dramatiq_app.dramatiq.actor(actor_name="order")
    def order(**values: Any) -> None: ...

    broker.declare_queue(dramatiq_app.QUEUE, ensure=True)

    def items() -> Items:
        for number in numbers:
            message = order.message(**orders.values(number))
            yield pika.BasicProperties(delivery_mode=2), message.encode()

    return "", dramatiq_app.QUEUE, items()


FORMS: dict[str, Callable[[dict[str, Any], range], tuple[str, str, Items]]] = {
    "ordermq": for_ordermq,
    "celery": for_celery,
    "dramatiq": for_dramatiq,
}


def main() -> None:
    job = read_job()
    exchange, key, items = FORMS[job["form"]](job, range(job["n"]))
    with connect(job) as connection:
        answer(done=Pipeline(connection).publish_all(exchange, key, items))


if __name__ == "__main__":
    main()
