"""Celery, set up by its own documentation for messages that must not be lost.

quorum queues             Using RabbitMQ, "Using Quorum Queues": task_default_queue_type; the worker
                          then sets its prefetch a consumer, not a channel
confirm_publish           kombu, pyamqp transport options; each publish waits for its confirm
acks_late                 Tasks, "Configuration and defaults": ack after the task, not before
prefetch                  Optimizing: up to 128 for tasks as short as these
ignore_result             Tasks, "Ignore results you don't want"
no gossip, mingle, events, remote control: nothing here needs them
"""

import os
import signal
import threading
from typing import Any

from celery import Celery
from celery.signals import worker_ready

QUEUE = "celery"


def celery_app(
    job: dict[str, Any], *, connections: int = 10, prefetch: int = 128, threads: int = 1
) -> Celery:
    """Return an app on the job's virtual host.

    ``connections`` is how many threads can publish at the same time; the worker holds
    ``prefetch`` deliveries, which Celery wants to know by thread.
    """
    app = Celery("bench", broker=job["amqp"]["url"])
    app.conf.update(
        task_default_queue=QUEUE,
        task_default_queue_type="quorum",
        task_create_missing_queue_type="quorum",
        broker_native_delayed_delivery_queue_type="classic",  # 28 queues that nothing here uses
        task_default_exchange_type="topic",
        task_default_delivery_mode="persistent",
        broker_transport_options={"confirm_publish": True},
        broker_pool_limit=connections,
        broker_connection_retry_on_startup=True,
        task_acks_late=True,
        task_reject_on_worker_lost=True,
        task_ignore_result=True,
        worker_prefetch_multiplier=max(1, prefetch // threads),
        worker_enable_remote_control=False,
        worker_send_task_events=False,
        worker_hijack_root_logger=False,
        worker_redirect_stdouts=False,
    )
    return app


def work(app: Celery, *, pool: str, threads: int, until: threading.Event) -> None:
    """Run the worker in this process until the event: it then ends what it has begun and acks it."""
    argv = ["worker", f"--pool={pool}", f"--concurrency={threads}", "--loglevel=WARNING"]
    argv += ["--without-gossip", "--without-mingle", "--without-heartbeat"]
    ticks_left = 3  # a moment for the last acks: what is in the socket when it closes is lost

    def tick() -> None:
        nonlocal ticks_left
        ticks_left -= until.is_set()
        if ticks_left == 0:
            os.kill(os.getpid(), signal.SIGTERM)

    def keep_turning(sender: Any, **_: Any) -> None:
        # The worker's loop looks whether it was told to stop when something wakes it, or after 10 s.
        sender.hub.call_repeatedly(0.1, tick)

    worker_ready.connect(keep_turning, weak=False)
    try:
        app.worker_main(argv)
    except SystemExit as exc:
        if exc.code not in (0, None):
            raise
