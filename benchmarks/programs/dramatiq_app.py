"""Dramatiq, set up by its own documentation for messages that must not be lost.

    confirm_delivery=True     RabbitmqBroker: each enqueue waits for its confirm, and is mandatory
    ack after the actor       its only way
    default middleware        age and time limits, shutdown, callbacks, pipelines, retries
    prefetch                  dramatiq_queue_prefetch; its default is two for each thread

It declares classic queues and has no setting for it: the subclass adds the one argument that
makes them quorum queues, as those of the others are.
"""

import os
from typing import Any

PREFETCH = 128
os.environ["dramatiq_queue_prefetch"] = str(PREFETCH)  # noqa: SIM112 # read when dramatiq is imported

import dramatiq  # noqa: E402 # what it imports is set above
from dramatiq.brokers.rabbitmq import RabbitmqBroker  # noqa: E402 # what it imports is set above

QUEUE = "default"


class QuorumBroker(RabbitmqBroker):
    """Declares quorum queues."""

    def _build_queue_arguments(self, queue_name: str) -> dict[str, Any]:
        return super()._build_queue_arguments(queue_name) | {"x-queue-type": "quorum"}


def dramatiq_broker(job: dict[str, Any]) -> RabbitmqBroker:
    """Return a broker on the job's virtual host, and make it the one that actors use."""
    broker = QuorumBroker(url=job["amqp"]["url"], confirm_delivery=True)
    dramatiq.set_broker(broker)
    return broker
