"""A consumer process: one queue, one broker connection, a pool of workers.

    from       to         when
    STARTING   RUNNING    the broker confirmed the subscription for the first time
    RUNNING    DRAINING   stop() was called
    STARTING   STOPPED    stop() was called, or only a person can mend what is wrong
    RUNNING    STOPPED    the broker was gone for give_up_after_s
    DRAINING   STOPPED    every message that was begun is settled and acked, or the deadline passed

Invariants
    RUN1  A delivery is acked only after a worker reported it settled (worker.py, WRK1),
        and only on the subscription it came from: a tag of an earlier epoch is dropped.
    RUN2  The loop ends only through stop() or an exception. A closed channel or a
        broker-sent basic.cancel is a lost connection: reconnect and subscribe again.
    RUN3  The loop never waits for a worker or for PostgreSQL, so heartbeats and the
        watchdog do not depend on a handler. Only as the process ends it writes down,
        at most starts.NOTE_S, which handlers it leaves running.
    RUN4  A handler that runs past handler_deadline_s ends the process: no thread can be
        ended from outside, and the handler's message must not be held for ever.
    RUN5  While a person has paused the queue no subscription is made. One that is there is kept,
        with the deliveries that wait, for half a consumer_timeout.

The loop's thread owns the connection. ``report`` is called by workers.
"""

import logging
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from enum import Enum
from typing import Any

from ordermq.amqp import ConnectionManager, Subscription, subscribe
from ordermq.amqp.state import ConnectionState
from ordermq.clock import Deadline, monotonic_s
from ordermq.config.settings import Settings
from ordermq.consumer import starts
from ordermq.consumer.calls import AHEAD_MOST
from ordermq.consumer.context import WorkerContext
from ordermq.consumer.control import Control
from ordermq.consumer.frontier import AckFrontier
from ordermq.consumer.intake import Intake
from ordermq.consumer.pause import Pause
from ordermq.consumer.pool import build_workers
from ordermq.consumer.received import Received, traced_of
from ordermq.consumer.running import HandlerRun, RunningHandlers
from ordermq.consumer.selfreport import SelfReport
from ordermq.errors import (
    BrokerError,
    ConnectionLost,
    ConsumerCancelled,
    ConsumerTimeout,
    DrainTimeout,
    HandlerOverdue,
    OrderMQError,
)
from ordermq.failpoints import failpoint
from ordermq.lifecycle import MessageInHand, ThreadService
from ordermq.log_events import (
    CONSUMER_LOST_DRAINING,
    CONSUMER_PAUSED_LONG,
    CONSUMER_RETURNED,
    CONSUMER_STATE,
    CONSUMER_SUBSCRIBED,
    DELIVERIES_TAKEN_BACK,
    HANDLER_OVERDUE,
    SUBSCRIPTION_LOST,
)
from ordermq.message.envelope import Delivery
from ordermq.message.headers import due_at
from ordermq.message.signing import verifier_of
from ordermq.observe import metrics, tracing
from ordermq.observe.health import Health
from ordermq.store.processes import ProcessReport
from ordermq.task.registry import Registry
from ordermq.topology.names import DEAD, queue_name

log = logging.getLogger(__name__)

TICK_S = 0.5
_LOOK_EVERY_S = 0.05
MOST_NAMED = 50  # message ids in one log line


class ConsumerState(Enum):
    """The states of the table above."""

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
    """Return the queue's threads, batch and prefetch: what the settings say, else what its handlers need."""
    consumer = settings.consumer
    if queue == DEAD:
        return Size(consumer.threads, 1, consumer.prefetch or 2 * consumer.threads)
    handlers = registry.of_queue(queue)
    batch = consumer.batch or max(max(each.batch, 1) for each in handlers)
    if any(each.is_external for each in handlers):
        # As many again wait without a lease, so that there is always a batch to prepare.
        batch = max(consumer.batch or AHEAD_MOST, batch, 2 * consumer.threads)
        # But the last of them waits for all before it, and must be acked within consumer_timeout_s.
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
        self._was_cancelled = False  # by the broker, with deliveries that were not acked
        self._reported: deque[Received] = deque()
        self._intake = Intake()
        self._pause = Pause(queue)
        self._running = RunningHandlers(settings.consumer.handler_deadline_s)
        self._drain_deadline_s = settings.consumer.drain_deadline_s
        # Overdue runs seen inside a callback, which must not raise; the loop raises them.
        self._overdue: list[HandlerRun] = []
        context = WorkerContext(
            queue, registry, settings, owner, self._intake, self._pause, self.stopping, self.report,
            self._running, verifier=verifier_of(settings.message, settings.topology.prefix),
        )  # fmt: skip
        self._workers = build_workers(
            context, threads=self._size.threads, batch=self._size.batch, config=config
        )
        self._self = SelfReport("consumer", queue, owner, 1 + self._workers.sessions)
        self._control = Control(context, self._report_self)
        self._limits = context.limits
        self._lines = context.lines
        self._database_clock = context.database_clock
        metrics.begin_counting(queue)
        metrics.workers.labels(queue=queue).set(self._size.threads)
        metrics.workers_busy.labels(queue=queue).set_function(lambda: len(self._running.runs()))
        self._mark = (0, 0.0)  # the newest tag as of an instant (monotonic); see _return_old
        # One statement may take that long, and no step of a worker is longer (WRK3).
        health.watch("workers", self._workers.silent_for_s, settings.database.statement_timeout_s)

    def stop(self) -> None:
        """Ask the consumer to drain and end. From any thread but a signal handler."""
        super().stop()
        self._manager.wake()

    def reload(self, settings: Settings) -> None:
        """Take over the limits that may change while the process runs. From any thread."""
        self._running.deadline_s = settings.consumer.handler_deadline_s
        self._drain_deadline_s = settings.consumer.drain_deadline_s
        self._lines.set_rate(settings.observe.handled_lines_per_s)

    def in_flight(self) -> Sequence[MessageInHand]:
        """Return the messages that handlers and calls have now."""
        return self._running.in_flight()

    def report(self, messages: Sequence[Received]) -> None:
        """Take settled messages; the loop acks them. Called by workers."""
        self._reported.extend(messages)
        self._manager.wake()

    def main(self) -> None:
        """Connect, subscribe and work until stopped, again after each lost connection (RUN2)."""
        self._workers.start()
        self._control.start()
        down_since_s = monotonic_s()
        try:
            while not self.stopping.is_set():
                subscription = None
                try:
                    if not self._control.may_begin:
                        self._wait_to_begin()
                        down_since_s = monotonic_s()
                        continue
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
            self._wait_for_workers(Deadline(self._drain_deadline_s), None)
        finally:
            self._control.stop()
            self._intake.close()
            self._manager.close(2.0)
            self._move(ConsumerState.STOPPED)

    def _wait_to_begin(self) -> None:
        """Wait until the control allows to begin, or for the stop. Raises why it cannot find out."""
        while not (self._control.may_begin or self.stopping.wait(_LOOK_EVERY_S)):
            if self._control.failure is not None:
                raise self._control.failure
            self._show_readiness()
            self._look()
            self._check_workers()

    def _show_readiness(self) -> None:
        why = self._pause.why
        is_starting = self.state is ConsumerState.STARTING and not why
        text = "starting" if is_starting else f"paused until {why}"
        self._health.set_ready(not (why or is_starting), text, is_held=self._control.is_paused)

    def _report_self(self) -> ProcessReport:
        why = self._pause.why
        state = "paused" if why and self.state is not ConsumerState.DRAINING else self.state.value
        return self._self.now(state, why, self._frontier.unsettled)

    def _subscribe(self) -> Subscription:
        self._epoch += 1
        self._frontier = AckFrontier()
        self._mark = (0, monotonic_s())
        subscription = subscribe(
            self._manager,
            queue_name(self._settings.topology.prefix, self.queue),
            prefetch=self._size.prefetch,
            epoch=self._epoch,
            consumer_tag=f"ordermq.{self.queue}.{self._owner}.{self._epoch}",
        )
        if self._was_cancelled:
            self._was_cancelled = False
            self._log_timeout()  # the queue is there, so that was not why the consumer was cancelled
        log.info("subscribed with prefetch %d", self._size.prefetch, extra=CONSUMER_SUBSCRIBED)
        if self.state is ConsumerState.STARTING:
            self._move(ConsumerState.RUNNING)
        return subscription

    def _work(self, subscription: Subscription) -> None:
        """Turn the loop until stop() (then drain) or until the subscription is lost."""
        longest_pause_s = self._settings.consumer.consumer_timeout_s / 2
        held_since_s = monotonic_s()
        while not self.stopping.is_set():
            self._turn(subscription)
            self._check_workers()
            self._show_readiness()
            self._return_old(subscription)
            if self._frontier.unsettled == 0 or not self._pause.why:
                held_since_s = monotonic_s()
            elif monotonic_s() - held_since_s > longest_pause_s:
                # The broker would count what we hold against its consumer_timeout.
                self._give_back()
                return self._sit_out()
        self._drain(subscription)

    def _check_workers(self) -> None:
        # A thread that is paused ends at a stop, before the intake is closed.
        if not self._workers.is_whole and not self.stopping.is_set():
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
        self._self.delivered(len(arrived))
        metrics.delivered.labels(queue=self.queue).inc(len(arrived))
        again = sum(delivery.redelivered for delivery in arrived)
        if again:
            metrics.redelivered.labels(queue=self.queue).inc(again)
        metrics.inflight.labels(queue=self.queue).set(self._frontier.unsettled)
        self._note_age(arrived[0])
        self._intake.put(arrived)

    def _note_age(self, delivery: Delivery) -> None:
        """Show how long the message had been due: about the age of the oldest in the queue."""
        since = due_at(delivery.properties.headers)
        age_s = None if since is None else self._database_clock.age_s(since)
        if age_s is not None:
            metrics.delivery_age.labels(queue=self.queue).set(age_s)

    def _ack(self, subscription: Subscription) -> None:
        if not self._reported:
            return
        tracer = tracing.tracer()
        settled: list[Received] = []
        while self._reported:
            message = self._reported.popleft()
            if message.epoch == self._epoch:
                self._frontier.finished(message.tags)
                if tracer is not None:
                    settled.append(message)
        failpoint("runtime.before_ack")
        began_ns = tracer.now_ns() if tracer is not None else 0
        for ack in self._frontier.acks():
            subscription.ack(ack.tag, multiple=ack.multiple)
        failpoint("runtime.after_ack")
        if tracer is not None and settled:
            tracer.settled(self.queue, traced_of(settled, self.queue), began_ns)
        metrics.inflight.labels(queue=self.queue).set(self._frontier.unsettled)

    def _drain(self, subscription: Subscription) -> None:
        """Cancel, return what was not begun, finish what runs, ack it. Raises DrainTimeout."""
        self._move(ConsumerState.DRAINING)
        self._health.set_ready(False, "draining")
        deadline = Deadline(self._drain_deadline_s)
        try:
            subscription.cancel(min(5.0, deadline.left_s))
            if arrived := subscription.take():
                self._accept(arrived)
            self._return(subscription, self._intake.close())
            self._wait_for_workers(deadline, subscription)
        except BrokerError as exc:
            log.warning(
                "connection lost while draining: %s; finishing without it", exc, extra=CONSUMER_LOST_DRAINING
            )
            self._intake.close()
            self._wait_for_workers(deadline, None)

    def _wait_for_workers(self, deadline: Deadline, subscription: Subscription | None) -> None:
        self._look()
        while self._workers.is_alive:
            if deadline.has_passed:
                starts.note_left_running(self._settings.database, self._running.runs())
                raise DrainTimeout(
                    "handlers were still running at the drain deadline; their messages return to the queue"
                )
            if subscription is not None:
                self._manager.tick(0.1)
                self._ack(subscription)
            else:
                self._workers.join(0.1)
            self._look()
        if subscription is not None:
            self._ack(subscription)
            self._manager.tick(0.0)

    def _return_old(self, subscription: Subscription) -> None:
        """Hand back what a limit has kept waiting for a quarter of the broker's consumer_timeout."""
        oldest, (tag, at_s) = self._frontier.oldest, self._mark
        if oldest is None or oldest > tag:
            self._mark = (self._frontier.newest, monotonic_s())
        elif (
            self._limits.by_dependency
            and monotonic_s() - at_s > self._settings.consumer.consumer_timeout_s / 4
        ):
            self._return(subscription, self._intake.drain())
            self._mark = (self._frontier.newest, monotonic_s())

    def _return(self, subscription: Subscription, unstarted: Sequence[Delivery]) -> None:
        for delivery in unstarted:
            if delivery.epoch == self._epoch:
                self._frontier.returned(delivery.tag)
                subscription.nack(delivery.tag, requeue=True)
        if unstarted:
            log.info("returned %d unstarted deliveries to the queue", len(unstarted), extra=CONSUMER_RETURNED)

    def _give_back(self) -> None:
        log.warning(
            "paused for long: closing the connection, so that other consumers get the deliveries",
            extra=CONSUMER_PAUSED_LONG,
        )
        self._intake.drain()
        self._manager.drop(ConnectionLost("paused for long"))

    def _sit_out(self) -> None:
        while not self._pause.may_try and not self.stopping.wait(TICK_S):
            self._look()
            self._check_workers()
        if not self.stopping.is_set():
            raise ConnectionLost("the pause is over, or one message is needed to find out: subscribing again")
        self._intake.close()
        self._wait_for_workers(Deadline(self._drain_deadline_s), None)

    def _lost(self, error: BrokerError, *, down_s: float) -> None:
        """Forget the subscription. Messages that workers hold are settled without an ack and come back.

        Raises ``error`` if it ends the process: at the start, if only a person can mend it (later
        a password may be changing, or a queue about to be declared anew), or if there has been no
        subscription for give_up_after_s.
        """
        self._intake.drain()
        self._was_cancelled |= isinstance(error, ConsumerCancelled) and self._frontier.unsettled > 0
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
            self._log_timeout()
        log.warning("subscription lost: %s; reconnecting", error, extra=SUBSCRIPTION_LOST)

    def _log_timeout(self) -> None:
        log.error(
            "the broker took the deliveries back, because one was not acked within its"
            " consumer_timeout: set consumer.consumer_timeout_s (%.0f s) to the broker's own, and"
            " consumer.handler_deadline_s (%.0f s) to at most half of it",
            self._settings.consumer.consumer_timeout_s,
            self._running.deadline_s,
            extra=DELIVERIES_TAKEN_BACK,
        )

    def _beat(self) -> None:
        """Show a sign of life; stop if a handler is overdue. For callbacks, which must not raise."""
        self._health.beat()
        self._overdue = self._overdue or self._running.overdue()
        if self._overdue:
            self.stop()

    def _look(self) -> None:
        """Show a sign of life. Raises HandlerOverdue if a handler runs past its deadline."""
        self._health.beat()
        if overdue := self._overdue or self._running.overdue():
            self._give_up_on(overdue)

    def _give_up_on(self, overdue: Sequence[HandlerRun]) -> None:
        for run in overdue:
            log.critical(
                "thread %s has been in a handler for %.0f s, past consumer.handler_deadline_s, with %s\n%s",
                run.thread, run.lasted_s, _named(run.messages), run.stack, extra=HANDLER_OVERDUE,
            )  # fmt: skip
        starts.note_overdue(self._settings.database, overdue)
        raise HandlerOverdue(
            f"a handler of queue {self.queue} ran past consumer.handler_deadline_s"
            f" ({self._running.deadline_s:g} s); its messages return to the queue"
        )

    def _move(self, to: ConsumerState) -> None:
        if to is self.state:
            return
        if to not in NEXT[self.state]:
            raise AssertionError(f"consumer cannot go from {self.state.value} to {to.value}")
        log.info("%s -> %s", self.state.value, to.value, extra=CONSUMER_STATE)
        self.state = to


def _named(messages: Sequence[Received]) -> str:
    ids = [each.message_id for each in messages]
    more = f" and {len(ids) - MOST_NAMED} more" if len(ids) > MOST_NAMED else ""
    return f"messages {', '.join(ids[:MOST_NAMED])}{more}"
