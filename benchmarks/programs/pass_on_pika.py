"""From publish to the consumer's callback with bare pika: ``rate`` messages a second by chance."""

import threading
import time
from random import Random
from typing import Any

import pika

from benchmarks.programs.job import answer, worker_job

QUEUE = "latency"
BODY = b"x" * 300


class Receiver:
    """A consumer on a connection of its own. ``waits`` are the seconds each message took."""

    def __init__(self, job: dict[str, Any]) -> None:
        self.waits: list[float] = []
        self._count = job["count"]
        self._connection = pika.BlockingConnection(pika.URLParameters(job["amqp"]["url"]))
        self._channel = self._connection.channel()
        self._channel.queue_declare(QUEUE, durable=True, arguments={"x-queue-type": "quorum"})
        self._channel.basic_qos(prefetch_count=100)
        self._channel.basic_consume(QUEUE, self._receive)

    def main(self) -> None:
        while len(self.waits) < self._count:
            self._connection.process_data_events(1.0)
        self._connection.close()

    def _receive(self, channel: Any, method: Any, properties: Any, body: bytes) -> None:
        self.waits.append(time.monotonic() - float(properties.message_id))
        channel.basic_ack(method.delivery_tag)


def main() -> None:
    job = worker_job()
    receiver = Receiver(job)
    thread = threading.Thread(target=receiver.main)
    thread.start()
    with pika.BlockingConnection(pika.URLParameters(job["amqp"]["url"])) as connection:
        channel = connection.channel()
        channel.confirm_delivery()
        random, due_s = Random(1), time.monotonic()
        for _ in range(job["count"]):
            due_s += random.expovariate(job["rate"])
            time.sleep(max(0.0, due_s - time.monotonic()))
            properties = pika.BasicProperties(delivery_mode=2, message_id=repr(time.monotonic()))
            channel.basic_publish("", QUEUE, BODY, properties, mandatory=True)
        thread.join(60.0)
    answer(waits=receiver.waits)


if __name__ == "__main__":
    main()
