"""The threads that handle messages: a crew for plain handlers, a desk for external ones.

Both take chunks from the intake and report the works they settled; neither touches
the broker.

Invariants
    WRK1  A work is reported only after the transaction that settled it has committed.
    WRK2  A thread owns its session; no session is shared.
"""

import logging
import threading
from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, field
from functools import partial
from random import Random
from typing import Any

from msgspec.structs import replace

from ordermq.clock import monotonic_s
from ordermq.config.settings import DatabaseSettings
from ordermq.consumer import deadletter
from ordermq.consumer.batch import run_batch
from ordermq.consumer.breaker import Breakers
from ordermq.consumer.external import Call, CallLimits, CallPool, Desk, make
from ordermq.consumer.intake import Intake
from ordermq.consumer.pause import Abandoned, Pause, persist
from ordermq.consumer.received import Work, plan, read
from ordermq.consumer.running import RunningHandlers
from ordermq.consumer.settle import Settler
from ordermq.consumer.starts import SharedExclusiveLock, begin_alone, begin_together
from ordermq.failpoints import failpoint
from ordermq.message.envelope import Delivery
from ordermq.observe import metrics
from ordermq.store import Session, outbox
from ordermq.task.handler import Handler
from ordermq.task.outcome import Dead
from ordermq.task.registry import Registry
from ordermq.task.retry import RetryPolicy
from ordermq.topology.names import DEAD

log = logging.getLogger(__name__)

NOTIFY_EVERY_S = 0.02

_NEVER = threading.Event()


@dataclass(frozen=True)
class WorkerContext:
    """What every worker of a process shares."""

    queue: str
    registry: Registry
    intake: Intake
    pause: Pause
    stopping: threading.Event
    policy: RetryPolicy
    database: DatabaseSettings
    report: Callable[[Sequence[Work]], None]
    watch: RunningHandlers
    prefix: str = ""
    other_queues: tuple[str, ...] = ()  # those that exist without a handler
    floor: SharedExclusiveLock = field(default_factory=SharedExclusiveLock)

    def settler(self, name: str) -> Settler:
        """Return a settler on a session of its own."""
        session = Session(self.database, name=f"ordermq-consumer {self.queue} {name}")
        return self.settler_on(session, self.queue)

    def settler_on(self, session: Session, queue: str) -> Settler:
        """Return a settler of messages of ``queue``."""
        return Settler(
            session, queue, self.policy, Random(), self.watch, on_unreadable=self.registry.on_unreadable
        )


class _Worker(ABC):
    """A thread with a session that takes chunks until the intake closes."""

    def __init__(self, bench: WorkerContext, name: str, batch: int) -> None:
        self._bench = bench
        self._batch = batch
        self._settler = bench.settler(name)
        self._notified_s = 0.0
        self.thread = threading.Thread(target=self._main, name=f"ordermq-{bench.queue}-{name}", daemon=True)

    def _main(self) -> None:
        try:
            self._work()
        except Abandoned:
            log.warning("stopped while paused: what was in hand returns to the queue")
        finally:
            self._settler.session.close()

    @abstractmethod
    def _work(self) -> None:
        """Take chunks and handle them until the intake is closed."""

    def _persist(self, action: Callable[[], Any]) -> Any:
        bench = self._bench
        return persist(action, self._settler.session, bench.pause, bench.stopping)

    def _settled(self, works: Sequence[Work]) -> None:
        if not works:
            return
        self._bench.report(works)
        now_s = monotonic_s()
        # A relay that was woken polls often for a while: it needs no second call soon.
        if self._settler.has_sent and now_s - self._notified_s >= NOTIFY_EVERY_S:
            self._notified_s = now_s
            self._settler.has_sent = False
            outbox.wake_relay(self._settler.session)


class _Handling(_Worker):
    """A worker that runs the queue's handlers."""

    def _handle(self, deliveries: Sequence[Delivery]) -> None:
        bench = self._bench
        works = read(deliveries, bench.queue, bench.registry)
        alone = self._begin([work for work in works if work.is_suspect and not work.fault])
        with self._together():
            todo = plan([work for work in works if not work.started.starts], bench.queue, bench.registry)
            self._dead_letter_unreadable(todo.unreadable)
            for handler, some in todo.batches:
                alone += self._run(handler, some)
        for work in alone:
            with self._alone():
                self._run_suspect(work)

    def _begin(self, suspects: Sequence[Work]) -> list[Work]:
        """Commit the start of each; return those that were begun before, and are to run alone."""
        if suspects:
            self._persist(partial(begin_together, self._settler, suspects))
        return [work for work in suspects if work.started.starts]

    def _run_suspect(self, work: Work) -> None:
        bench = self._bench
        self._persist(partial(begin_alone, self._settler, work))
        todo = plan([work], bench.queue, bench.registry)
        self._dead_letter_unreadable(todo.unreadable)
        for handler, some in todo.batches:
            self._run_alone(handler, some)

    def _run_alone(self, handler: Handler, works: Sequence[Work]) -> None:
        if not works[0].dead_reason:
            self._run_plain(handler, works)
            return
        self._persist(partial(self._settler.settle, [(work, Dead(work.dead_reason)) for work in works]))
        self._settled(works)

    @abstractmethod
    def _run(self, handler: Handler, works: Sequence[Work]) -> list[Work]:
        """Handle ``works``, all of one handler; return those that are to run alone."""

    @abstractmethod
    def _together(self) -> AbstractContextManager[None]:
        """Return a context in which others of this process may be at work."""

    @abstractmethod
    def _alone(self) -> AbstractContextManager[None]:
        """Wait until nothing else of this process is at work, and keep it so."""

    def _dead_letter_unreadable(self, works: Sequence[Work]) -> None:
        for work in works:
            self._persist(partial(self._settler.settle, [(work, Dead(work.fault))]))
            self._settled([work])

    def _run_plain(self, handler: Handler, works: Sequence[Work]) -> None:
        timer = metrics.handler_seconds.labels(queue=self._bench.queue, type=handler.type)
        size = max(1, min(handler.batch or 1, self._batch))
        for start in range(0, len(works), size):
            failpoint("workers.before_transaction", handler.type)
            some = works[start : start + size]
            with timer.time():
                self._persist(partial(run_batch, self._settler, some))
            self._settled(some)


class PlainWorker(_Handling):
    """Runs plain handlers: one chunk after the other, each in its transactions."""

    def _work(self) -> None:
        intake = self._bench.intake
        while not intake.is_closed:
            if deliveries := intake.take(self._batch):
                self._handle(deliveries)

    def _run(self, handler: Handler, works: Sequence[Work]) -> list[Work]:
        self._run_plain(handler, works)
        return []

    def _together(self) -> AbstractContextManager[None]:
        return self._bench.floor.together()

    def _alone(self) -> AbstractContextManager[None]:
        return self._bench.floor.alone()


class DeskWorker(_Handling):
    """Runs external handlers: prepares and completes; its callers make the calls."""

    def __init__(
        self,
        bench: WorkerContext,
        desk_of: Callable[[Settler], Desk],
        batch: int,
        callers: CallPool,
        breakers: Breakers,
    ) -> None:
        super().__init__(bench, "desk", batch)
        self._callers = callers
        self._breakers = breakers
        self._desk = desk_of(self._settler)

    def _work(self) -> None:
        intake, callers = self._bench.intake, self._callers
        try:
            while not (intake.is_closed and callers.in_flight == 0):
                if intake.is_closed:
                    callers.stop_soon()
                wanted = callers.room(self._batch)
                room = self._breakers.room(wanted, callers.in_flight)
                is_full = room == 0 or intake.is_closed
                # Both return early when woken.
                take = partial(intake.take, room) if self._breakers.are_closed else intake.take_freshest
                deliveries = [] if is_full else take()
                if finished := callers.finished(wait_s=0.5 if is_full else 0.0):
                    self._complete(finished)
                if deliveries:
                    self._handle(deliveries)
        except Abandoned:
            callers.stop_soon()
            self._complete_all()  # what is under way happens all the same
            raise
        finally:
            callers.stop()

    def _run(self, handler: Handler, works: Sequence[Work]) -> list[Work]:
        if not handler.is_external:
            self._run_plain(handler, works)
            return []
        calls, alone = self._prepared(works)
        self._callers.submit(calls)
        return alone

    def _together(self) -> AbstractContextManager[None]:
        return nullcontext()

    def _alone(self) -> AbstractContextManager[None]:
        self._complete_all()
        return nullcontext()

    def _run_alone(self, handler: Handler, works: Sequence[Work]) -> None:
        if not handler.is_external:
            super()._run_alone(handler, works)
            return
        calls, _ = self._prepared(works)  # counted already, so none is set aside again
        for call in calls:
            make(call, self._bench.watch)  # on this thread: nothing else of this queue starts beside it
        self._complete(calls)

    def _prepared(self, works: Sequence[Work]) -> tuple[list[Call], list[Work]]:
        calls: list[Call] = []
        alone: list[Work] = []
        self._persist(lambda: self._desk.prepare(works, calls, alone))
        self._settled([work for work in works if work.is_settled])
        return calls, alone

    def _complete_all(self) -> None:
        while self._callers.in_flight:
            self._complete(self._callers.finished(wait_s=0.5))

    def _complete(self, calls: Sequence[Call]) -> None:
        # Not abandoned at a stop: what was called has happened, and only this process knows.
        persist(lambda: self._desk.complete(calls), self._settler.session, self._bench.pause, _NEVER)
        self._settled([call.work for call in calls])


class DeadWorker(_Worker):
    """Keeps what the broker dead-lettered: each as a dead letter of the queue it died in."""

    def __init__(self, bench: WorkerContext, name: str, batch: int) -> None:
        super().__init__(bench, name, batch)
        self._queues = frozenset((*bench.registry.queues, *bench.other_queues))

    def _work(self) -> None:
        intake = self._bench.intake
        while not intake.is_closed:
            for delivery in intake.take(self._batch):
                self._keep(delivery)

    def _keep(self, delivery: Delivery) -> None:
        bench = self._bench
        queue = deadletter.origin(delivery, bench.prefix, self._queues)
        settler = bench.settler_on(self._settler.session, queue)
        [work] = read([delivery], queue, bench.registry)
        if queue == DEAD:
            work.fault = work.fault or "nothing says which queue it died in"
            work.envelope = replace(work.envelope, version=0)  # so there is none to replay it to
        if work.is_suspect:  # its on_dead may be what killed the process
            self._persist(partial(begin_together, settler, [work]))
        with bench.floor.alone() if work.started.starts else bench.floor.together():
            if work.started.starts:
                self._persist(partial(begin_alone, settler, work))
            plan([work], queue, bench.registry)
            self._persist(partial(deadletter.dead_letter, settler, work, deadletter.why(delivery)))
        self._settler.has_sent |= settler.has_sent
        self._settled([work])


class WorkerPool:
    """All worker threads of a process."""

    def __init__(self, workers: Sequence[_Worker], intake: Intake) -> None:
        self._workers = workers
        self._intake = intake

    def start(self) -> None:
        for worker in self._workers:
            worker.thread.start()

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


def build_workers(
    bench: WorkerContext, *, threads: int, batch: int, limits: CallLimits, owner: str, config: Any
) -> WorkerPool:
    """Return the crew for a queue: one desk with ``threads`` callers if any handler is external,
    else ``threads`` plain workers that take up to ``batch`` messages at once."""
    if bench.queue == DEAD:
        return WorkerPool([DeadWorker(bench, str(n), batch) for n in range(threads)], bench.intake)
    handlers = bench.registry.of_queue(bench.queue)
    instances = {each.type: each.call.from_config(config) for each in handlers if each.is_external}
    if not instances:
        return WorkerPool([PlainWorker(bench, str(n), batch) for n in range(threads)], bench.intake)
    callers = CallPool(threads, bench.queue, bench.intake.wake, bench.watch)

    breakers = Breakers(
        (each.dependency for each in handlers if each.is_external),
        bench.pause, failures=limits.breaker_failures, cap_s=limits.breaker_cap_s,
    )  # fmt: skip

    def desk_of(settler: Settler) -> Desk:
        return Desk(settler, instances, breakers, limits, owner)

    return WorkerPool([DeskWorker(bench, desk_of, batch, callers, breakers)], bench.intake)
