"""The shop's pipeline on Celery, configured as its guides advise where no message may be lost."""

from celery import Celery
from kombu import Exchange, Queue

from benchmarks.programs.job import worker_job
from benchmarks.programs.peer_steps import Shop

JOB = worker_job()
QUEUES = ("inventory", "payment", "notify")

app = Celery("shop", broker=JOB["amqp"]["url"])
app.conf.update(
    task_acks_late=True,
    task_reject_on_worker_lost=True,
    task_ignore_result=True,
    broker_transport_options={"confirm_publish": True},
    task_queues=[
        Queue(name, Exchange(name), routing_key=name, queue_arguments={"x-queue-type": "quorum"})
        for name in QUEUES
    ],
    task_default_queue_type="quorum",
    task_default_queue="inventory",
    worker_prefetch_multiplier=JOB.get("prefetch_multiplier", 16),
    worker_hijack_root_logger=False,
)
shop = Shop(JOB["postgres"])


@app.task(queue="inventory")
def reserve(order_id: str) -> None:
    if shop.reserve(order_id):
        capture.delay(order_id)


@app.task(queue="payment")
def capture(order_id: str) -> None:
    if shop.capture(order_id):
        notify.delay(order_id)


@app.task(queue="notify")
def notify(order_id: str) -> None:
    shop.notify(order_id)
