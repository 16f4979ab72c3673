"""Which workers a queue gets, and what each of them owns. Nothing is started and nothing connects."""

import threading

import pytest

from ordermq.config.settings import DatabaseSettings
from ordermq.consumer.calls import CallLimits
from ordermq.consumer.context import WorkerContext
from ordermq.consumer.intake import Intake
from ordermq.consumer.pause import Pause
from ordermq.consumer.pool import build_workers
from ordermq.consumer.running import RunningHandlers
from ordermq.task.handler import handlers_in
from ordermq.task.registry import Registry
from ordermq.task.retry import RetryPolicy
from tests.support import probe

REGISTRY = Registry(handlers_in(vars(probe)))
LIMITS = CallLimits(lease_s=1.0, call_timeout_s=0.5, breaker_failures=5, breaker_cap_s=1.0)


def workers_of(queue):
    context = WorkerContext(
        queue=queue,
        registry=REGISTRY,
        intake=Intake(),
        pause=Pause(queue),
        stopping=threading.Event(),
        policy=RetryPolicy(),
        database=DatabaseSettings(),
        report=lambda messages: None,
        running=RunningHandlers(),
    )
    return build_workers(context, threads=3, batch=10, limits=LIMITS, owner="test", config=None)._workers


@pytest.mark.parametrize(
    ("queue", "kinds"),
    [
        ("single", ["PlainWorker"] * 3),
        ("dead", ["DeadLetterWorker"] * 3),
        ("call", ["ExternalWorker"]),
    ],
)
def test_each_worker_is_a_thread_with_a_session_of_its_own(queue, kinds):
    """WRK2: no session is shared."""
    workers = workers_of(queue)
    assert [type(each).__name__ for each in workers] == kinds
    assert len({each._settler.session for each in workers}) == len(workers)
    assert len({each.thread.name for each in workers}) == len(workers)
