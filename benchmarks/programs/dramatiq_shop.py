"""The shop's pipeline on Dramatiq, its publishings confirmed and its queues quorum queues."""

from typing import Any

import dramatiq
from dramatiq.brokers.rabbitmq import RabbitmqBroker

from benchmarks.programs.job import worker_job
from benchmarks.programs.peer_steps import Shop

JOB = worker_job()


class QuorumBroker(RabbitmqBroker):
    """Dramatiq knows no queue types; this is how its users declare one."""

    def _build_queue_arguments(self, queue_name: str) -> dict[str, Any]:
        return {**super()._build_queue_arguments(queue_name), "x-queue-type": "quorum"}


broker = QuorumBroker(url=JOB["amqp"]["url"], confirm_delivery=True)
dramatiq.set_broker(broker)
shop = Shop(JOB["postgres"])


@dramatiq.actor(queue_name="inventory")
def reserve(order_id: str) -> None:
    if shop.reserve(order_id):
        capture.send(order_id)


@dramatiq.actor(queue_name="payment")
def capture(order_id: str) -> None:
    if shop.capture(order_id):
        notify.send(order_id)


@dramatiq.actor(queue_name="notify")
def notify(order_id: str) -> None:
    shop.notify(order_id)
