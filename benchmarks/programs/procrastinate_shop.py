"""The shop's pipeline on Procrastinate: a job a step, each defers the next after its commit."""

from functools import cache

import procrastinate

from benchmarks.programs.job import worker_job
from benchmarks.programs.peer_steps import Shop

JOB = worker_job()

app = procrastinate.App(connector=procrastinate.PsycopgConnector(kwargs=JOB["postgres"]))
shop = Shop(JOB["postgres"])


@app.task(queue="inventory")
def reserve(order_id: str) -> None:
    if shop.reserve(order_id):
        capture.defer(order_id=order_id)


@app.task(queue="payment")
def capture(order_id: str) -> None:
    if shop.capture(order_id):
        for task in (ship, award, notify):
            task.defer(order_id=order_id)


@app.task(queue="notify")
def notify(order_id: str) -> None:
    shop.notify(order_id)


@app.task(queue="points")
def award(order_id: str) -> None:
    shop.award(order_id)


@app.task(queue="shipping")
def ship(order_id: str) -> None:
    shop.ship(order_id)


@cache
def _sending() -> procrastinate.App:
    sync = procrastinate.App(connector=procrastinate.SyncPsycopgConnector(kwargs=JOB["postgres"]))
    sync.open()
    return sync


def send(order_id: str) -> None:
    """Defer the first job of an order."""
    _sending().configure_task(reserve.name, queue=reserve.queue).defer(order_id=order_id)
