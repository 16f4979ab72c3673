"""The shop's pipeline on Dramatiq."""

from benchmarks.programs.dramatiq_app import dramatiq, dramatiq_broker
from benchmarks.programs.job import worker_job
from benchmarks.programs.peer_steps import Shop

JOB = worker_job()

broker = dramatiq_broker(JOB)
shop = Shop(JOB["postgres"])


@dramatiq.actor(queue_name="inventory")
def reserve(order_id: str) -> None:
    if shop.reserve(order_id):
        capture.send(order_id)


@dramatiq.actor(queue_name="payment")
def capture(order_id: str) -> None:
    if shop.capture(order_id):
        ship.send(order_id)
        award.send(order_id)
        notify.send(order_id)


@dramatiq.actor(queue_name="notify")
def notify(order_id: str) -> None:
    shop.notify(order_id)


@dramatiq.actor(queue_name="points")
def award(order_id: str) -> None:
    shop.award(order_id)


@dramatiq.actor(queue_name="shipping")
def ship(order_id: str) -> None:
    shop.ship(order_id)
