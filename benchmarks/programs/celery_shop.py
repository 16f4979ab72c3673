"""The shop's pipeline on Celery."""

from benchmarks.programs.celery_app import celery_app
from benchmarks.programs.job import worker_job
from benchmarks.programs.peer_steps import Shop

JOB = worker_job()

app = celery_app(JOB, threads=4)
shop = Shop(JOB["postgres"])


@app.task(queue="inventory")
def reserve(order_id: str) -> None:
    if shop.reserve(order_id):
        capture.delay(order_id)


@app.task(queue="payment")
def capture(order_id: str) -> None:
    if shop.capture(order_id):
        ship.delay(order_id)
        award.delay(order_id)
        notify.delay(order_id)


@app.task(queue="notify")
def notify(order_id: str) -> None:
    shop.notify(order_id)


@app.task(queue="points")
def award(order_id: str) -> None:
    shop.award(order_id)


@app.task(queue="shipping")
def ship(order_id: str) -> None:
    shop.ship(order_id)
