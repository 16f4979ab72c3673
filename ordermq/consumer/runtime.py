"""A consumer process: one queue, one broker connection, one crew of workers.

    from       to         when
    STARTING   RUNNING    the broker confirmed the subscription for the first time
    RUNNING    DRAINING   stop() was heard
    STARTING   STOPPED    stop() was heard, or what is wrong only a human can mend
    RUNNING    STOPPED    the broker was gone for give_up_after_s
    DRAINING   STOPPED    all that was begun is settled and acked, or the deadline passed

Invariants
    RUN1  A delivery is acked only after a worker reported it settled (pool.py, WRK1),
        and only on the subscription it came from: a tag of an earlier epoch is dropped.
    RUN2  The loop ends only through stop() or an exception. A closed channel or a
        broker-sent basic.cancel is a lost connection: reconnect and subscribe again.
    RUN3  The loop never waits for a worker or for PostgreSQL, so heartbeats and the
        watchdog do not depend on a handler. Only as the process ends it writes down,
        at most NOTE_S, which handlers it leaves running.
    RUN4  A handler that runs past handler_deadline_s ends the process: no thread can be
        ended from outside, and its message must not be held for ever.

The loop's thread owns the connection. ``report`` is called by workers.
"""

import logging
import threading
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from enum import Enum
from typing import Any

from ordermq.amqp import ConnectionManager, Subscription, subscribe
from ordermq.amqp.state import ConnectionState
from ordermq.backoff import Backoff
from ordermq.clock import Deadline, monotonic_s
from ordermq.config.settings import Settings
from ordermq.consumer.external import AHEAD_MOST, CallLimits
from ordermq.consumer.frontier import AckFrontier
from ordermq.consumer.intake import Intake
from ordermq.consumer.pause import Pause
from ordermq.consumer.pool import WorkerContext, WorkerPool, build_workers
from ordermq.consumer.received import Work
from ordermq.consumer.running import HandlerRun, RunningHandlers
from ordermq.errors import (
    BrokerError,
    ConnectionLost,
    ConsumerTimeout,
    DrainTimeout,
    HandlerOverdue,
    OrderMQError,
)
from ordermq.failpoints import failpoint
from ordermq.lifecycle import ThreadService
from ordermq.message.envelope import Delivery
from ordermq.observe import metrics
from ordermq.observe.health import Health
from ordermq.store import Session, Transaction, starts
from ordermq.task.registry import Registry
from ordermq.task.retry import RetryPolicy
from ordermq.topology.names import DEAD, queue_name

log = logging.getLogger(__name__)

TICK_S = 0.5
NOTE_S = 3.0
MOST_NAMED = 50  # message ids in a log line


class ConsumerState(Enum):
    STARTING = "starting"
    RUNNING = "running"
    DRAINING = "draining"
    STOPPED = "stopped"


NEXT = {
    ConsumerState.STARTING: {ConsumerState.RUNNING, ConsumerState.STOPPED},
    ConsumerState.RUNNING: {ConsumerState.DRAINING, ConsumerState.STOPPED},
    ConsumerState.DRAINING: {ConsumerState.STOPPED},
    ConsumerState.STOPPED: set[ConsumerState](),
}


@dataclass(frozen=True)
class Size:
    """How much a consumer takes at once; see ``size_of``."""

    threads: int
    batch: int
    prefetch: int


def size_of(registry: Registry, queue: str, settings: Settings) -> Size:
    """Return the queue's threads, batch and prefetch: the settings' word, else what its handlers ask for."""
    consumer = settings.consumer
    if queue == DEAD:
        return Size(consumer.threads, 1, consumer.prefetch or 2 * consumer.threads)
    handlers = registry.of_queue(queue)
    batch = consumer.batch or max(max(each.batch, 1) for each in handlers)
    if any(each.is_external for each in handlers):
        # As many again wait unleased, so that the desk always has a batch to prepare.
        batch = max(consumer.batch or AHEAD_MOST, batch, 2 * consumer.threads)
        # But the last of them has to wait for all before it, and be acked before the broker loses patience.
        in_time = int(consumer.threads * (consumer.consumer_timeout_s / 2) / consumer.call_timeout_s)
        prefetch = consumer.prefetch or max(2 * consumer.threads, min(2 * batch, in_time))
    else:
        # One message a call still travels in chunks: the broker's round trip is not paid per message.
        prefetch = consumer.prefetch or max(2 * batch, 2 * consumer.threads)
    return Size(consumer.threads, batch, prefetch)


class Consumer(ThreadService):
    """Works one queue until stopped. Built by ``ordermq-consumer``; see the module."""

    def __init__(
        self,
        queue: str,
        registry: Registry,
        settings: Settings,
        *,
        config: Any,
        owner: str,
        health: Health,
        on_connection: Callable[[ConnectionState], None] | None = None,
    ) -> None:
        super().__init__(f"consumer-{queue}")
        self.queue = queue
        self.state = ConsumerState.STARTING
        self._settings = settings
        self._health = health
        self._owner = owner
        self._size = size_of(registry, queue, settings)
        self._manager = ConnectionManager(
            settings.broker, name=f"ordermq-consumer {queue} {owner}", on_state=on_connection
        )
        self._epoch = 0
        self._frontier = AckFrontier()
        self._reported: deque[Work] = deque()
        self._intake = Intake()
        self._pause = Pause(queue)
        self._watch = RunningHandlers()
        self._outlasted: list[HandlerRun] = []  # found overdue where nothing may be raised
        retry = settings.retry
        bench = WorkerContext(
            queue=queue,
            registry=registry,
            intake=self._intake,
            pause=self._pause,
            stopping=self.stopping,
            policy=RetryPolicy(
                retry.attempts,
                Backoff(retry.base_s, retry.cap_s),
                retry.postpone_s,
                retry.max_age_s,
                retry.immediate,
            ),
            database=settings.database,
            report=self.report,
            watch=self._watch,
            prefix=settings.topology.prefix,
            other_queues=settings.topology.queues,
        )
        limits = CallLimits(
            settings.consumer.lease_s, settings.consumer.call_timeout_s,
            settings.consumer.breaker_failures, settings.consumer.breaker_cap_s,
        )  # fmt: skip
        self._crew: WorkerPool = build_workers(
            bench,
            threads=self._size.threads,
            batch=self._size.batch,
            limits=limits,
            owner=owner,
            config=config,
        )

    def stop(self) -> None:
        """Ask the consumer to drain and end. From any thread but a signal handler."""
        super().stop()
        self._manager.wake()

    def report(self, works: Sequence[Work]) -> None:
        """Take settled works; the loop acks them. Called by workers."""
        self._reported.extend(works)
        self._manager.wake()

    def main(self) -> None:
        self._crew.start()
        down_since_s = monotonic_s()
        try:
            while not self.stopping.is_set():
                subscription = None
                try:
                    if not self._manager.connect(self.stopping, on_wait=self._beat):
                        break
                    subscription = self._subscribe()
                    self._work(subscription)
                    return
                except BrokerError as exc:
                    if subscription is not None:
                        down_since_s = monotonic_s()
                    self._lost(exc, down_s=monotonic_s() - down_since_s)
            self._intake.close()
            self._wait_for_crew(Deadline(self._settings.consumer.drain_deadline_s), None)
        finally:
            self._intake.close()
            self._manager.close(2.0)
            self._move(ConsumerState.STOPPED)

    def _subscribe(self) -> Subscription:
        self._epoch += 1
        self._frontier = AckFrontier()
        subscription = subscribe(
            self._manager,
            queue_name(self._settings.topology.prefix, self.queue),
            prefetch=self._size.prefetch,
            epoch=self._epoch,
            consumer_tag=f"ordermq.{self.queue}.{self._owner}.{self._epoch}",
        )
        log.info("subscribed with prefetch %d", self._size.prefetch)
        if self.state is ConsumerState.STARTING:
            self._move(ConsumerState.RUNNING)
        return subscription

    def _work(self, subscription: Subscription) -> None:
        """Turn the loop until stop() (then drain) or until the subscription is lost."""
        longest_pause_s = self._settings.consumer.consumer_timeout_s / 2
        held_since_s = monotonic_s()
        while not self.stopping.is_set():
            self._turn(subscription)
            self._count_heads()
            paused_for = self._pause.why
            self._health.set_ready(not paused_for, f"paused until {paused_for}")
            if self._frontier.unsettled == 0 or not paused_for:
                held_since_s = monotonic_s()
            elif monotonic_s() - held_since_s > longest_pause_s:
                # The broker would count what we hold against its consumer_timeout.
                self._give_back()
                return self._sit_out()
        self._drain(subscription)

    def _count_heads(self) -> None:
        # A thread that hears of the stop while it is paused ends before the intake is closed.
        if not self._crew.is_whole and not self.stopping.is_set():
            raise OrderMQError("a worker thread has died; see its traceback above")

    def _turn(self, subscription: Subscription) -> None:
        self._manager.tick(TICK_S)
        subscription.check()
        if arrived := subscription.take():
            self._accept(arrived)
        self._ack(subscription)
        self._look()

    def _accept(self, arrived: Sequence[Delivery]) -> None:
        for delivery in arrived:
            self._frontier.delivered(delivery.tag)
        metrics.delivered.labels(queue=self.queue).inc(len(arrived))
        again = sum(delivery.redelivered for delivery in arrived)
        if again:
            metrics.redelivered.labels(queue=self.queue).inc(again)
        metrics.inflight.labels(queue=self.queue).set(self._frontier.unsettled)
        self._intake.put(arrived)

    def _ack(self, subscription: Subscription) -> None:
        if not self._reported:
            return
        while self._reported:
            work = self._reported.popleft()
            if work.epoch == self._epoch:
                self._frontier.finished(work.tags)
        failpoint("runtime.before_ack")
        for ack in self._frontier.acks():
            subscription.ack(ack.tag, multiple=ack.multiple)
        failpoint("runtime.after_ack")
        metrics.inflight.labels(queue=self.queue).set(self._frontier.unsettled)

    def _drain(self, subscription: Subscription) -> None:
        """Cancel, return what nobody began, finish what runs, ack it. Raises DrainTimeout."""
        self._move(ConsumerState.DRAINING)
        self._health.set_ready(False, "draining")
        deadline = Deadline(self._settings.consumer.drain_deadline_s)
        try:
            subscription.cancel(min(5.0, deadline.left_s))
            if arrived := subscription.take():
                self._accept(arrived)
            self._return(subscription, self._intake.close())
            self._wait_for_crew(deadline, subscription)
        except BrokerError as exc:
            log.warning("connection lost while draining: %s; finishing without it", exc)
            self._intake.close()
            self._wait_for_crew(deadline, None)

    def _wait_for_crew(self, deadline: Deadline, subscription: Subscription | None) -> None:
        self._look()
        while self._crew.is_alive:
            if deadline.has_passed:
                self._leave(self._watch.runs())
                raise DrainTimeout(
                    "handlers were still running at the drain deadline; their messages return to the queue"
                )
            if subscription is not None:
                self._manager.tick(0.1)
                self._ack(subscription)
            else:
                self._crew.join(0.1)
            self._look()
        if subscription is not None:
            self._ack(subscription)
            self._manager.tick(0.0)

    def _return(self, subscription: Subscription, unstarted: Sequence[Delivery]) -> None:
        for delivery in unstarted:
            if delivery.epoch == self._epoch:
                self._frontier.returned(delivery.tag)
                subscription.nack(delivery.tag, requeue=True)
        if unstarted:
            log.info("returned %d unstarted deliveries to the queue", len(unstarted))

    def _give_back(self) -> None:
        log.warning("paused for long: closing the connection, so that others may have the deliveries")
        self._intake.drain()
        self._manager.drop(ConnectionLost("paused for long"))

    def _sit_out(self) -> None:
        while not self._pause.may_try and not self.stopping.wait(TICK_S):
            self._look()
            self._count_heads()
        if not self.stopping.is_set():
            raise ConnectionLost("the pause is over, or has to be tried: subscribing again")
        self._intake.close()
        self._wait_for_crew(Deadline(self._settings.consumer.drain_deadline_s), None)

    def _lost(self, error: BrokerError, *, down_s: float) -> None:
        """Forget the subscription; what workers hold is settled without an ack and comes back.

        Raises ``error`` if it ends the process: at the start what only a human can mend (later
        it may be a rotation under way, or a queue about to be declared anew), or if there has
        been no subscription for give_up_after_s.
        """
        self._intake.drain()
        self._frontier = AckFrontier()
        self._epoch += 1
        # A lost channel counts as a lost connection: connect() then waits its backoff.
        self._manager.drop(error)
        if self.state is ConsumerState.STARTING and not error.retryable:
            raise error
        if down_s > self._settings.broker.give_up_after_s:
            raise ConnectionLost(f"no subscription for {down_s:.0f} s; giving up: {error}") from error
        self._health.set_ready(False, str(error))
        if isinstance(error, ConsumerTimeout):
            log.error(
                "the broker took the deliveries back, because one was not acked within its"
                " consumer_timeout: set consumer.consumer_timeout_s (%.0f s) to the broker's own, and"
                " consumer.handler_deadline_s (%.0f s) to at most half of it",
                self._settings.consumer.consumer_timeout_s,
                self._settings.consumer.handler_deadline_s,
            )
        log.warning("subscription lost: %s; reconnecting", error)

    def _beat(self) -> None:
        """Show a sign of life; stop if a handler is overdue. For callbacks, which must not raise."""
        self._health.beat()
        self._outlasted = self._outlasted or self._overdue()
        if self._outlasted:
            self.stop()

    def _look(self) -> None:
        """Show a sign of life. Raises HandlerOverdue if a handler runs past its deadline."""
        self._health.beat()
        if overdue := self._outlasted or self._overdue():
            self._give_up_on(overdue)

    def _overdue(self) -> list[HandlerRun]:
        deadline_s = self._settings.consumer.handler_deadline_s
        return [run for run in self._watch.runs() if run.lasted_s > deadline_s]

    def _give_up_on(self, overdue: Sequence[HandlerRun]) -> None:
        for run in overdue:
            log.critical(
                "thread %s has been in a handler for %.0f s, past consumer.handler_deadline_s, with %s\n%s",
                run.thread, run.lasted_s, _named(run.works), run.stack,
            )  # fmt: skip
        self._note(starts.mark_overdue, [work for run in overdue for work in run.works])
        raise HandlerOverdue(
            f"a handler of queue {self.queue} ran past consumer.handler_deadline_s"
            f" ({self._settings.consumer.handler_deadline_s:g} s); its messages return to the queue"
        )

    def _leave(self, running: Sequence[HandlerRun]) -> None:
        """Forget the starts of what is left running: that a deploy came in between is not their fault."""
        suspects = [work for run in running for work in run.works if work.is_suspect]
        if suspects:
            self._note(starts.end, suspects)

    def _note(self, write: Callable[[Transaction, str, Sequence[str]], None], works: Sequence[Work]) -> None:
        """Have ``write`` done for the messages of each queue, best effort, in at most NOTE_S."""
        ids: dict[str, list[str]] = {}
        for work in works:
            # On the queue of what the broker dead-lettered, it is the handler's that counts.
            queue = work.handler.queue if work.handler else self.queue
            ids.setdefault(queue, []).append(work.envelope.message_id)

        def main() -> None:
            session = Session(self._settings.database, name=f"ordermq-consumer {self.queue} last note")
            try:
                with session.transaction() as tx:
                    for queue, some in ids.items():
                        write(tx, queue, some)
            except OrderMQError as exc:
                log.warning("could not write down what was left running: %s", exc)
            finally:
                session.close()

        thread = threading.Thread(target=main, name="ordermq-note", daemon=True)
        thread.start()
        thread.join(NOTE_S)

    def _move(self, to: ConsumerState) -> None:
        if to is self.state:
            return
        if to not in NEXT[self.state]:
            raise AssertionError(f"consumer cannot go from {self.state.value} to {to.value}")
        log.info("%s -> %s", self.state.value, to.value)
        self.state = to


def _named(works: Sequence[Work]) -> str:
    ids = [work.envelope.message_id for work in works]
    more = f" and {len(ids) - MOST_NAMED} more" if len(ids) > MOST_NAMED else ""
    return f"messages {', '.join(ids[:MOST_NAMED])}{more}"
