"""A thread that handles messages: what plain, external and dead-letter workers have in common.

A worker takes chunks from the intake and reports the messages it settled. It never touches
the broker.

Invariants
    WRK1  A message is reported only after the transaction that settled it has committed.
    WRK2  A thread owns its session; no session is shared.
    WRK3  A thread that has messages in hand shows a sign of life before each step that ends by itself:
        a try at the database, a wait for a lock, a call into a handler.
"""

import logging
import math
import threading
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, ExitStack, contextmanager
from functools import partial
from typing import TypeVar

from ordermq.clock import monotonic_s
from ordermq.consumer import starts
from ordermq.consumer.batch import run_batch
from ordermq.consumer.context import WorkerContext
from ordermq.consumer.holding import put_off_held
from ordermq.consumer.pause import Abandoned, persist
from ordermq.consumer.received import Message, Readable, Received, Unreadable, plan, read
from ordermq.consumer.starts import Suspect, dead_reason, decode_suspect
from ordermq.failpoints import failpoint
from ordermq.log_events import CONSUMER_STOPPED_PAUSED
from ordermq.message.envelope import Delivery
from ordermq.observe import metrics
from ordermq.store import wake_relay
from ordermq.store.starts import Started
from ordermq.task.outcome import Dead

log = logging.getLogger(__name__)

T = TypeVar("T")

WAKE_EVERY_S = 0.02  # a relay that was woken polls often for a while, so it needs no second call soon


class Worker(ABC):
    """A thread with a session that takes chunks until the intake closes."""

    def __init__(self, context: WorkerContext, name: str, batch: int) -> None:
        self._context = context
        self._batch = batch
        self._settler = context.settler(name)
        self._woke_relay_s = 0.0
        self._silent_since_s = math.inf  # monotonic; infinity while it waits for messages or other threads
        self.thread = threading.Thread(target=self._main, name=f"ordermq-{context.queue}-{name}", daemon=True)

    @property
    def silent_for_s(self) -> float:
        """Seconds without a sign of life, which is not asked for while it waits or runs a handler."""
        since_s = self._context.running.silent_since_s(self.thread.ident)
        return max(0.0, monotonic_s() - max(self._silent_since_s, since_s))

    def _main(self) -> None:
        try:
            self._show_life()
            self._work()
        except Abandoned:
            log.warning(
                "stopped while paused: the messages in hand return to the queue",
                extra=CONSUMER_STOPPED_PAUSED,
            )
        finally:
            self._silent_since_s = math.inf
            self._settler.session.close()

    @abstractmethod
    def _work(self) -> None:
        """Take chunks and handle them until the intake is closed."""

    def _persist(self, action: Callable[[], T]) -> T:
        def tried() -> T:
            self._show_life()
            return action()

        context = self._context
        return persist(tried, self._settler.session, context.pause, context.stopping)

    def _show_life(self) -> None:
        self._silent_since_s = monotonic_s()

    @contextmanager
    def _waiting(self) -> Iterator[None]:
        """Wait, in the block, for messages or for another thread."""
        self._silent_since_s = math.inf
        try:
            yield
        finally:
            self._show_life()

    @contextmanager
    def _locked(self, lock: AbstractContextManager[None]) -> Iterator[None]:
        """Hold ``lock`` in the block."""
        with self._waiting():
            lock.__enter__()
        with ExitStack() as stack:
            stack.push(lock)
            yield

    def _report(self, settled: Sequence[Received]) -> None:
        """Have settled messages acked, and the relay woken if something was sent (WRK1)."""
        if not settled:
            return
        self._context.report(settled)
        now_s = monotonic_s()
        if self._settler.has_sent and now_s - self._woke_relay_s >= WAKE_EVERY_S:
            self._woke_relay_s = now_s
            self._settler.has_sent = False
            wake_relay(self._settler.session)


class HandlingWorker(Worker):
    """A worker that runs the queue's handlers."""

    def _handle(self, deliveries: Sequence[Delivery]) -> None:
        """Handle a chunk: first together what may run together, then each suspect alone."""
        queue, registry = self._context.queue, self._context.registry
        received = self._without_held(read(deliveries, queue, registry, self._context.verifier))
        suspects = self._begin([each for each in received if each.is_suspect])
        if suspects:
            alone = {suspect.message for suspect in suspects}
            received = [each for each in received if each not in alone]
        with self._locked(self._together()):
            todo = plan(received, queue, registry)
            for message in todo.unreadable:
                self._settle_dead(message, message.fault)
            for batch in todo.batches:
                suspects += self._run(batch)
        for suspect in suspects:
            with self._locked(self._alone()):
                self._run_suspect(suspect)

    def _without_held(self, received: Sequence[Received]) -> Sequence[Received]:
        """Put off the messages of what a person holds back; return the others (HLD2)."""
        if not self._context.holds.are_any:
            return received
        held = self._persist(partial(put_off_held, self._settler, received))
        self._report(held)
        return [each for each in received if each not in held]

    def _begin(self, came_back: Sequence[Received]) -> list[Suspect]:
        """Commit the start of each readable message; return those that are to run alone (STA1)."""
        messages = [each for each in came_back if not isinstance(each, Unreadable)]
        if not messages:
            return []
        begin = partial(starts.begin_together, self._settler.session, self._settler.queue, messages)
        return self._persist(begin)

    def _run_suspect(self, suspect: Suspect) -> None:
        session, queue = self._settler.session, self._settler.queue
        self._persist(partial(starts.begin_alone, session, queue, suspect))
        message = decode_suspect(suspect, queue, self._context.registry)
        if isinstance(message, Unreadable):
            self._settle_dead(message, message.fault)
        else:
            self._run_alone(message, suspect.before)

    def _run_alone(self, message: Readable, before: Started) -> None:
        if reason := dead_reason(before):
            self._settle_dead(message, reason)
        else:
            self._run_plain([message])

    @abstractmethod
    def _run(self, batch: Sequence[Readable]) -> list[Suspect]:
        """Handle messages of one handler; return those that are to run alone."""

    @abstractmethod
    def _together(self) -> AbstractContextManager[None]:
        """Return a context in which others of this process may be at work."""

    @abstractmethod
    def _alone(self) -> AbstractContextManager[None]:
        """Wait until nothing else of this process is at work, and keep it so (STA2)."""

    def _settle_dead(self, message: Message, reason: str) -> None:
        self._persist(partial(self._settler.settle, [(message, Dead(reason))]))
        self._report([message])

    def _run_plain(self, batch: Sequence[Readable]) -> None:
        handler = batch[0].handler
        timer = metrics.handler_seconds.labels(queue=self._context.queue, type=handler.type)
        size = max(1, min(handler.batch or 1, self._batch))
        for start in range(0, len(batch), size):
            failpoint("workers.before_transaction", handler.type)
            some = batch[start : start + size]
            with timer.time():
                self._persist(partial(run_batch, self._settler, list(some)))
            self._report(some)
