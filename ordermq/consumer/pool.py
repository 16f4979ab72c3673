"""All worker threads of a process, and which of them a queue needs."""

from collections.abc import Sequence
from typing import Any

from ordermq.consumer.breaker import Breakers
from ordermq.consumer.calls import CallPool
from ordermq.consumer.context import WorkerContext
from ordermq.consumer.deadletter import DeadLetterWorker
from ordermq.consumer.external import ExternalWorker
from ordermq.consumer.intake import Intake
from ordermq.consumer.plain import PlainWorker
from ordermq.consumer.worker import Worker
from ordermq.task.external import instance_of
from ordermq.topology.names import DEAD


class WorkerPool:
    """The workers of a process, started and ended together."""

    def __init__(self, workers: Sequence[Worker], intake: Intake) -> None:
        self._workers = workers
        self._intake = intake

    @property
    def sessions(self) -> int:
        """How many connections to PostgreSQL the workers may have."""
        return len(self._workers)

    def start(self) -> None:
        """Start each worker's thread."""
        for worker in self._workers:
            worker.thread.start()

    def silent_for_s(self) -> float:
        """Return the seconds since that worker showed a sign of life that has been silent longest."""
        return max(each.silent_for_s for each in self._workers)

    @property
    def is_alive(self) -> bool:
        """True while a thread still has something in hand, after the intake was closed."""
        return any(worker.thread.is_alive() for worker in self._workers)

    def join(self, timeout_s: float) -> None:
        """Wait up to ``timeout_s`` seconds for one thread that still runs."""
        for worker in self._workers:
            if worker.thread.is_alive():
                worker.thread.join(timeout_s)
                return

    @property
    def is_whole(self) -> bool:
        """False if a thread has died that should be working."""
        return self._intake.is_closed or all(worker.thread.is_alive() for worker in self._workers)


def build_workers(context: WorkerContext, *, threads: int, batch: int, config: Any) -> WorkerPool:
    """Return the workers of a queue, not started: one ExternalWorker with ``threads`` threads that
    make calls if any handler is external, else ``threads`` workers that take up to ``batch``
    messages at once."""
    if context.queue == DEAD:
        return WorkerPool([DeadLetterWorker(context, str(n), batch) for n in range(threads)], context.intake)
    handlers = context.registry.of_queue(context.queue)
    instances = {each.type: instance_of(each, config) for each in handlers if each.is_external}
    if not instances:
        return WorkerPool([PlainWorker(context, str(n), batch) for n in range(threads)], context.intake)
    settings = context.settings.consumer
    breakers = Breakers(
        (each.dependency for each in handlers if each.is_external),
        context.pause, failures=settings.breaker_failures, cap_s=settings.breaker_cap_s,
    )  # fmt: skip
    intake = context.intake
    calls = CallPool(threads, context.queue, intake.wake, context.running, lambda: intake.is_held)
    return WorkerPool([ExternalWorker(context, batch, instances, calls, breakers)], context.intake)
