"""Which workers a queue gets, and what each of them owns. Nothing is started and nothing connects."""

import threading

import pytest

from ordermq.config.settings import Settings
from ordermq.consumer.context import WorkerContext
from ordermq.consumer.intake import Intake
from ordermq.consumer.pause import Pause
from ordermq.consumer.pool import build_workers
from ordermq.consumer.running import RunningHandlers
from ordermq.task.handler import handlers_in
from ordermq.task.registry import Registry
from tests.support import probe

REGISTRY = Registry(handlers_in(vars(probe)))


def workers_of(queue):
    context = WorkerContext(
        queue,
        REGISTRY,
        Settings(),
        "test",
        Intake(),
        Pause(queue),
        threading.Event(),
        print,
        RunningHandlers(),
    )
    return build_workers(context, threads=3, batch=10, config=None)._workers


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
