"""Calls to the world outside: what one is, how it is made, and the threads that make them."""

import logging
import math
import queue
import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from ordermq.clock import monotonic_s
from ordermq.consumer.breaker import Breaker
from ordermq.consumer.received import Readable, in_log, traced_of
from ordermq.consumer.running import RunningHandlers
from ordermq.errors import NotCalled, OutcomeUnknown
from ordermq.failpoints import failpoint
from ordermq.log_events import CALL_OUTCOME_UNKNOWN
from ordermq.observe import metrics, tracing
from ordermq.task.external import Claim, ExternalHandler
from ordermq.task.handler import Handler
from ordermq.task.invoke import invoke_call

log = logging.getLogger(__name__)

AHEAD_S = 0.25  # Lease at most this many seconds of calls ahead of the threads that make them,
AHEAD_MOST = 64  # and at most this many messages, those being called included; see CallPool.room.
WEIGHT = 0.2  # of the last call in the average of how long calls take
LEAST_CALL_S = 1e-4


@dataclass(frozen=True, slots=True, eq=False)
class Call:
    """A prepared call: its lease and its intent are committed."""

    message: Readable
    claim: Claim[Any]
    instance: ExternalHandler[Any, Any, Any]
    breaker: Breaker
    request: Any
    start_by_s: float  # monotonic

    @property
    def message_id(self) -> str:
        return self.message.message_id


@dataclass(frozen=True, slots=True, eq=False)
class FinishedCall:
    """A call and its result: what it returned or ended in, or NotCalled. ``took_s`` if it was made."""

    call: Call
    result: Any
    took_s: float | None = None

    @property
    def message(self) -> Readable:
        return self.call.message

    @property
    def message_id(self) -> str:
        return self.call.message_id


def make_call(
    call: Call, running: RunningHandlers, *, begin_by_s: float = math.inf, is_held: bool = False
) -> FinishedCall:
    """Make the call, if it may be made now. Blocks for as long as it takes; never raises."""
    if monotonic_s() >= call.start_by_s:
        return FinishedCall(call, NotCalled("its turn came after half its lease"))
    if monotonic_s() >= begin_by_s:
        return FinishedCall(call, NotCalled("the process was stopped before its turn came"))
    if is_held:
        return FinishedCall(call, NotCalled("the queue was paused before its turn came"))
    breaker = call.breaker
    permit = breaker.permit()
    if permit is None:
        reason = f"the {breaker.dependency} gateway does not answer: not called"
        return FinishedCall(call, NotCalled(reason))
    began_s = monotonic_s()
    try:
        result = _call(call, running)
    except BaseException as exc:  # of a failpoint, or of a metric or log: the call may have been made
        result = OutcomeUnknown(f"the call ended in {type(exc).__name__}")
    took_s = max(monotonic_s() - began_s, LEAST_CALL_S)
    breaker.ended(permit, call.message_id, result)
    return FinishedCall(call, result, took_s)


def _call(call: Call, running: RunningHandlers) -> Any:
    envelope, handler = call.message.envelope, call.message.handler
    with (
        in_log(envelope, handler.queue),
        metrics.handler_seconds.labels(queue=handler.queue, type=envelope.type).time(),
        running.noted(handler.queue, [call.message]),
    ):
        failpoint("external.before_call", envelope.type)
        result = _invoke(call, handler)
        failpoint("external.after_call", envelope.type)
        # One that was raised as such has a traceback; this one stands for an error of another type.
        if isinstance(result, OutcomeUnknown) and result.__traceback__ is None:
            _warn(handler, result.__cause__)
        return result


def _invoke(call: Call, handler: Handler) -> Any:
    if (tracer := tracing.tracer()) is None:
        return invoke_call(call.instance, handler, call.request)
    with tracer.processing(handler.queue, traced_of([call.message], handler.queue)) as span:
        result = invoke_call(call.instance, handler, call.request)
        if isinstance(result, BaseException):
            span.failed(result)
        return result


def _warn(handler: Handler, error: BaseException | None) -> None:
    """Log an error whose type the handler's ``retry`` does not name."""
    if error is not None and not handler.retry.verdict(error):
        log.warning(
            "call raised %s, so its outcome is unknown",
            type(error).__name__,
            exc_info=error,
            extra=CALL_OUTCOME_UNKNOWN,
        )


class CallPool:
    """Threads that make calls. One worker thread owns it: it submits calls and fetches the finished ones.

    If the process is killed, it is unknown whether a leased message was called. So no more are
    leased ahead than the threads will call within AHEAD_S: of slow calls one for each thread, of
    fast ones many, because those that are prepared together cost one transaction.
    """

    def __init__(
        self,
        threads: int,
        name: str,
        on_finished: Callable[[], None],
        running: RunningHandlers,
        is_held: Callable[[], bool] = lambda: False,
    ) -> None:
        self._waiting: queue.SimpleQueue[Call | None] = queue.SimpleQueue()
        self._finished: queue.SimpleQueue[FinishedCall] = queue.SimpleQueue()
        self._on_finished = on_finished
        self._running = running
        self._is_held = is_held
        self._in_flight = 0  # read and written by the owner only
        self._call_s = math.inf  # how long calls take: a moving average
        self._begin_by_s = math.inf  # monotonic
        self._threads = [
            threading.Thread(target=self._main, name=f"ordermq-call-{name}-{n}", daemon=True)
            for n in range(threads)
        ]
        for thread in self._threads:
            thread.start()

    @property
    def in_flight(self) -> int:
        """Calls submitted and not yet fetched by ``finished()``."""
        return self._in_flight

    def room(self, most: int) -> int:
        """Return how many more calls are to be prepared now, for at most ``most`` in flight.

        None until a good part of those in flight is made: they would be prepared a few at a time.
        """
        threads = len(self._threads)
        limit = max(2 * threads, min(threads + int(threads * AHEAD_S / self._call_s), most))
        refill_at = max(limit // 2, min(threads * 3 // 2, limit - 1))
        return limit - self._in_flight if self._in_flight <= refill_at else 0

    def submit(self, calls: Sequence[Call]) -> None:
        """Have calls made as soon as a thread is free."""
        self._in_flight += len(calls)
        for call in calls:
            self._waiting.put(call)

    def finished(self, wait_s: float = 0.0) -> list[FinishedCall]:
        """Return the calls that have ended since the last look; wait up to ``wait_s`` for the first."""
        ended: list[FinishedCall] = []
        try:
            ended.append(self._finished.get(timeout=wait_s) if wait_s else self._finished.get_nowait())
            while True:
                ended.append(self._finished.get_nowait())
        except queue.Empty:
            pass  # there are no more
        self._in_flight -= len(ended)
        for each in ended:
            if each.took_s is not None:
                self._average(each.took_s)
        return ended

    def stop_soon(self) -> None:
        """Begin calls for AHEAD_S more and then none: a service grown slow must not outlast the drain."""
        self._begin_by_s = min(self._begin_by_s, monotonic_s() + AHEAD_S)

    def stop(self) -> None:
        """Let the threads end after the calls that were submitted. Does not wait for them."""
        for _ in self._threads:
            self._waiting.put(None)

    def _average(self, took_s: float) -> None:
        self._call_s = took_s if self._call_s == math.inf else self._call_s + WEIGHT * (took_s - self._call_s)

    def _main(self) -> None:
        while (call := self._waiting.get()) is not None:
            made = make_call(call, self._running, begin_by_s=self._begin_by_s, is_held=self._is_held())
            self._finished.put(made)
            self._on_finished()
