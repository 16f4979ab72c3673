"""Celery, set up by its own documentation for messages that must not be lost.

quorum queues             Using RabbitMQ, "Using Quorum Queues": task_default_queue_type; the worker
                          then sets its prefetch a consumer, not a channel
confirm_publish           kombu, pyamqp transport options; each publish waits for its confirm
acks_late                 Tasks, "Configuration and defaults": ack after the task, not before
prefetch                  Optimizing: up to 128 for tasks as short as these
ignore_result             Tasks, "Ignore results you don't want"
no gossip, mingle, events, remote control: nothing here needs them
"""

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


def work(app: Celery, *, pool: str, threads: int) -> None:
    """Run the worker in this process, until a task sends it SIGTERM: it then ends what it has begun."""
    argv = ["worker", f"--pool={pool}", f"--concurrency={threads}", "--loglevel=WARNING"]
    argv += ["--without-gossip", "--without-mingle", "--without-heartbeat"]

    def keep_turning(sender: Any, **_: Any) -> None:
        sender.hub.call_repeatedly(0.1, lambda: None)

    # Its loop looks whether it was told to stop when it wakes: within 10 s, if nothing wakes it.
    worker_ready.connect(keep_turning, weak=False)
    try:
        app.worker_main(argv)
    except SystemExit as exc:
        if exc.code not in (0, None):
            raise
