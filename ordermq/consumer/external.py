"""Messages that talk to the world outside, without holding a transaction meanwhile.

One desk thread owns the database session; caller threads make the calls. The desk
goes round: settle every call that has finished, in one transaction; then lease and
prepare what has arrived, in one transaction; then wait. What finishes while it is
busy is settled together on the next round, so commits group by themselves.

    taken -> leased, intent written (commit) -> called -> result written, inbox, lease given up (commit)

Invariants
    EXT1  No call starts before its lease and intent are committed, nor after half its
        lease has gone: the other half is for the call and for writing its result. None starts
        later than AHEAD_S after the stop: what is left comes back uncounted (NotCalled).
    EXT2  A message under a foreign live lease is postponed to the lease's end, uncounted.
    EXT3  The result of a call is written even if its message was settled otherwise
        meanwhile: what happened outside is a fact. Only Done is.
    EXT4  The inbox is read after the lease was taken: its last holder settled the message
        and gave up the lease in one commit, so what is not seen settled then is not.
    EXT5  While a breaker is not closed nothing is taken but one message at a time, as its
        probe: the one sent again least, which is the likeliest never to have failed. What was
        prepared before is not called (NotCalled) and comes back uncounted.
    EXT6  A call is under way in this process once at most for each message: a duplicate of it
        is postponed. A lease this process holds for a message it has not called is its own to
        take again: a commit it knows nothing of took it.
"""

import logging
import math
import queue
import threading
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any, TypeVar

from ordermq.clock import monotonic_s
from ordermq.consumer.breaker import Breaker, Breakers
from ordermq.consumer.received import Work, in_log
from ordermq.consumer.running import RunningHandlers
from ordermq.consumer.settle import (
    CANNOT_ANSWER,
    HandlerMisbehaved,
    Settler,
    again_of,
    checked,
    deaths_of,
)
from ordermq.errors import Contention, NotCalled, OutcomeUnknown
from ordermq.failpoints import failpoint
from ordermq.observe import metrics
from ordermq.store import Transaction, inbox, leases, starts
from ordermq.store.starts import NEVER
from ordermq.task.handler import Claim, ExternalHandler, Finished
from ordermq.task.outcome import Dead, Done, Outcome, Postpone, Retry
from ordermq.task.retry import result_of

log = logging.getLogger(__name__)

T = TypeVar("T")


AHEAD_S = 0.25  # of calls are leased before their turn
AHEAD_MOST = 64  # and no more than so many, threads included, unless there are more threads
WEIGHT = 0.2  # of the last call in the average of how long calls take
LEAST_CALL_S = 1e-4


@dataclass(eq=False)
class Call:
    """A prepared call on its way to a caller thread and back."""

    work: Work
    claim: Claim[Any]
    instance: ExternalHandler
    breaker: Breaker
    request: Any
    start_by_s: float  # monotonic
    result: Any = None
    took_s: float = math.inf  # if it was made


@dataclass(frozen=True)
class CallLimits:
    """The lease on a message and the deadline of one call, in seconds; and when to stop calling."""

    lease_s: float
    call_timeout_s: float
    breaker_failures: int
    breaker_cap_s: float


class CallPool:
    """Threads that make calls. ``finished`` is filled by them and emptied by the desk.

    What is leased and not called yet is in doubt if the process is killed, so no more is leased
    ahead than the threads will call within AHEAD_S: of slow calls one for each thread, of
    fast ones many, because what is prepared together costs one transaction.
    """

    def __init__(
        self, threads: int, name: str, on_finished: Callable[[], None], watch: RunningHandlers
    ) -> None:
        self._waiting: queue.SimpleQueue[Call | None] = queue.SimpleQueue()
        self._finished: queue.SimpleQueue[Call] = queue.SimpleQueue()
        self._on_finished = on_finished
        self._watch = watch
        self._in_flight = 0  # the desk's own count
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
        """Calls handed in and not yet fetched by ``finished()``. Read by the desk only."""
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
        self._in_flight += len(calls)
        for call in calls:
            self._waiting.put(call)

    def finished(self, wait_s: float = 0.0) -> list[Call]:
        """Return the calls that have ended since the last look; wait up to ``wait_s`` for the first."""
        ended = []
        try:
            ended.append(self._finished.get(timeout=wait_s) if wait_s else self._finished.get_nowait())
            while True:
                ended.append(self._finished.get_nowait())
        except queue.Empty:
            pass  # that were all
        self._in_flight -= len(ended)
        for call in (each for each in ended if each.took_s < math.inf):
            if self._call_s == math.inf:
                self._call_s = call.took_s
            self._call_s += WEIGHT * (call.took_s - self._call_s)
        return ended

    def stop_soon(self) -> None:
        """Begin calls for AHEAD_S more and then none: a service grown slow must not outlast the drain."""
        self._begin_by_s = min(self._begin_by_s, monotonic_s() + AHEAD_S)

    def stop(self) -> None:
        for _ in self._threads:
            self._waiting.put(None)

    def _main(self) -> None:
        while (call := self._waiting.get()) is not None:
            make(call, self._watch, begin_by_s=self._begin_by_s)
            self._finished.put(call)
            self._on_finished()


def make(call: Call, watch: RunningHandlers, *, begin_by_s: float = math.inf) -> None:
    """Make one call, if it may be made; what came of it becomes the result. Never raises."""
    if monotonic_s() >= call.start_by_s:
        call.result = NotCalled("its turn came after half its lease")
        return
    if monotonic_s() >= begin_by_s:
        call.result = NotCalled("the process was stopped before its turn came")
        return
    permit = call.breaker.permit()
    if permit is None:
        call.result = NotCalled(f"the {call.breaker.dependency} gateway does not answer: not called")
        return
    began_s = monotonic_s()
    try:
        call.result = _made(call, watch)
    except BaseException as exc:  # an error that cannot even say what it is
        call.result = OutcomeUnknown(f"the call ended in {type(exc).__name__}")
    call.took_s = max(monotonic_s() - began_s, LEAST_CALL_S)
    call.breaker.ended(permit, call.work.envelope.message_id, call.result)


def _made(call: Call, watch: RunningHandlers) -> Any:
    envelope, handler = call.work.envelope, call.work.handler
    assert handler is not None  # noqa: S101 # plan() prepares no work without one
    with (
        in_log(envelope, handler.queue),
        metrics.handler_seconds.labels(queue=handler.queue, type=envelope.type).time(),
        watch.over([call.work]),
    ):
        try:
            failpoint("external.before_call", envelope.type)
            answer = call.instance.call(call.request)
            failpoint("external.after_call", envelope.type)
            return answer
        except Exception as exc:  # complete() decides what it means
            result = result_of(exc, handler.retry)
            if result is not exc and not handler.retry.verdict(exc):
                log.warning("call raised %s, so its outcome is unknown", type(exc).__name__, exc_info=exc)
            return result
        except BaseException as exc:  # sys.exit() and the like end no thread of ours
            return OutcomeUnknown(f"the call ended in {type(exc).__name__}: {exc}")


class Desk:
    """Prepares and completes the calls of one queue. Owned by the desk thread."""

    def __init__(
        self,
        settler: Settler,
        instances: dict[str, Any],
        breakers: Breakers,
        limits: CallLimits,
        owner: str,
    ) -> None:
        self._settler = settler
        self._instances = instances  # by message type
        self._breakers = breakers
        self._limits = limits
        self._owner = owner
        self._held: dict[str, bool] = {}  # leased by us, at the last try at least: was it resumed?
        self._called: dict[str, Work] = {}  # by message_id, until the result is settled

    def prepare(self, works: Sequence[Work], calls: list[Call], alone: list[Work]) -> None:
        """Lease ``works`` and write their intents; add the calls to make to ``calls``, settle the rest.

        Those whose lease was taken over, and that had been begun before, are leased and added
        to ``alone``: they are to be prepared again, alone. Raises one of CANNOT_ANSWER, or
        Contention; the same call may then be made again, and goes on where it was.
        """
        begun = {call.work for call in calls}.union(alone)
        left = [work for work in works if work not in begun and not work.is_settled]
        self._by_halves(lambda some: self._prepare(some, calls, alone), sorted(left, key=_lock_order))

    def complete(self, calls: Sequence[Call]) -> None:
        """Write the results of ``calls`` and settle their works. Raises like ``prepare``."""
        left = [call for call in calls if not call.work.is_settled]
        self._by_halves(self._complete, sorted(left, key=lambda call: _lock_order(call.work)))

    def _prepare(self, works: Sequence[Work], calls: list[Call], alone: list[Work]) -> None:
        settler, queue_name = self._settler, self._settler.queue
        begun: list[Call] = []
        decided: list[tuple[Work, Outcome]] = []
        traces = {work.envelope.correlation_id: work.envelope.traceparent for work in works}
        # Before the transaction, whose beginning is where PostgreSQL counts the lease from.
        start_by_s = monotonic_s() + self._limits.lease_s / 2
        with settler.session.transaction(traces=traces) as tx:
            leased = self._lease(tx, works)
            seen = inbox.settled(tx, queue_name, [work.key for work in works])
            known = [work for work in works if work.envelope.message_id in seen]
            self._release(tx, known)
            starts.end(tx, queue_name, [work.envelope.message_id for work in known])
            mine: list[Work] = []
            elsewhere: list[Work] = []
            for work in works:
                left_s = leased.foreign_s.get(work.envelope.message_id)
                if work.envelope.message_id in seen:
                    continue
                if left_s is not None:
                    elsewhere.append(work)
                    decided.append((work, Postpone("another consumer is at it", left_s + 0.1)))
                elif work.dead_reason:
                    decided.append((work, Dead(work.dead_reason)))
                else:
                    mine.append(work)
            resumed = [
                work for work in mine if not work.is_suspect and work.envelope.message_id in leased.resumed
            ]
            before = starts.begin(tx, queue_name, [work.envelope.message_id for work in resumed])
            claims = [
                (work, self._claim(work, leased)) for work in mine if work.envelope.message_id not in before
            ]
            for instance, some in self._by_instance(claims):
                with settler.watch.over([work for work, _ in some]):
                    requests = instance.prepare([claim for _, claim in some], tx)
                for (work, claim), request in _paired(some, requests):
                    if isinstance(request, Outcome):
                        decided.append((work, request))
                    else:
                        breaker = self._breakers.of(work.handler.dependency if work.handler else "")
                        begun.append(Call(work, claim, instance, breaker, request, start_by_s))
            decided = settler.resolve(decided)
            self._write(tx, decided)
            # Answered without a call: begun and ended at once.
            answered = [work.envelope.message_id for work, _ in decided if work in resumed]
            starts.end(tx, queue_name, answered)
            # Not begun after all: what was known of them before stands again.
            starts.put(
                tx, queue_name,
                {work.envelope.message_id: work.started for work in elsewhere if work.started.starts},
            )  # fmt: skip
        calls += begun
        self._called |= {call.work.envelope.message_id: call.work for call in begun}
        settler.note_sent(tx)
        settler.count("duplicate", len(seen))
        for work in resumed:
            work.is_suspect = True
            work.started = before.get(work.envelope.message_id, NEVER)
        alone += [work for work in resumed if work.started.starts]
        for work in known:
            self._ended(work)
        self._after_commit(decided)

    def _lease(self, tx: Transaction, works: Sequence[Work]) -> leases.Leases:
        """Take the leases of ``works``: free ones, those that ran out, and those held by this desk."""
        limits, queue_name = self._limits, self._settler.queue
        busy = {work.envelope.message_id for work in works if self._is_called(work)}
        ids = [work.envelope.message_id for work in works if work.envelope.message_id not in busy]
        held = leases.retake(
            tx, queue_name, [each for each in ids if each in self._held],
            owner=self._owner, lease_s=limits.lease_s,
        )  # fmt: skip
        free = [each for each in ids if each not in held]
        taken = leases.take(tx, queue_name, free, owner=self._owner, lease_s=limits.lease_s)
        self._held |= dict.fromkeys(taken.fresh, False) | dict.fromkeys(taken.resumed, True)
        return leases.Leases(
            fresh=taken.fresh | {each for each in held if not self._held[each]},
            resumed=taken.resumed | {each for each in held if self._held[each]},
            foreign_s=taken.foreign_s | dict.fromkeys(busy, limits.call_timeout_s),
        )

    def _is_called(self, work: Work) -> bool:
        """Whether a call for this message, delivered as another work, is under way here."""
        return self._called.get(work.envelope.message_id, work) is not work

    def _ended(self, work: Work) -> None:
        work.is_settled = True
        if not self._is_called(work):
            self._called.pop(work.envelope.message_id, None)
            self._held.pop(work.envelope.message_id, None)

    def _complete(self, calls: Sequence[Call]) -> None:
        decided: list[tuple[Work, Outcome]] = []
        traces = {call.work.envelope.correlation_id: call.work.envelope.traceparent for call in calls}
        with self._settler.session.transaction(traces=traces) as tx:
            for instance, some in self._by_instance([(call.work, call) for call in calls]):
                with self._settler.watch.over([work for work, _ in some]):
                    answers = instance.complete([Finished(call.claim, call.result) for _, call in some], tx)
                for (work, call), outcome in zip(some, checked(answers, len(some)), strict=True):
                    if isinstance(call.result, NotCalled) and isinstance(outcome, Retry | Postpone):
                        decided.append((work, Postpone(outcome.reason, 0.0)))  # our doing, no attempt
                    else:
                        decided.append((work, outcome))
            decided = self._settler.resolve(decided)
            self._write(tx, decided)
            self._pass("external.before_complete", calls)
        self._pass("external.after_complete", calls)
        self._settler.note_sent(tx)
        self._after_commit(decided)

    def _pass(self, name: str, calls: Sequence[Call]) -> None:
        for type_ in sorted({call.work.envelope.type for call in calls}):
            failpoint(name, type_)

    def _claim(self, work: Work, leased: leases.Leases) -> Claim[Any]:
        is_resumed = work.envelope.message_id in leased.resumed
        return Claim(work.payload, work.envelope, is_resumed, self._limits.call_timeout_s)

    def _by_instance(self, pairs: Sequence[tuple[Work, T]]) -> list[tuple[Any, list[tuple[Work, T]]]]:
        groups: dict[str, list[tuple[Work, T]]] = {}
        for work, other in pairs:
            groups.setdefault(work.envelope.type, []).append((work, other))
        return [(self._instances[each], group) for each, group in groups.items()]

    def _write(self, tx: Transaction, decided: Sequence[tuple[Work, Outcome]]) -> None:
        # Deaths keep their lease until _after_commit has settled them.
        done = [work for work, outcome in decided if isinstance(outcome, Done)]
        again = again_of(decided)
        inbox.complete(tx, self._settler.queue, [work.key for work in done])
        self._settler.send_again(tx, again)
        self._release(tx, [*done, *(work for work, _ in again)])
        self._settler.forget_starts(tx, done)

    def _after_commit(self, decided: Sequence[tuple[Work, Outcome]]) -> None:
        self._settler.count("done", sum(isinstance(outcome, Done) for _, outcome in decided))
        self._settler.count_again(again_of(decided))
        for work, outcome in decided:
            if not isinstance(outcome, Dead):
                self._ended(work)
        for work, reason in deaths_of(decided):
            self._settler.dead_letter(work, reason, release=partial(self._release, works=[work]))
            self._ended(work)

    def _release(self, tx: Transaction, works: Sequence[Work]) -> None:
        ours = [work.envelope.message_id for work in works if not self._is_called(work)]
        leases.release(tx, self._settler.queue, ours, self._owner)

    def _by_halves(
        self, step: Callable[[Sequence[Any]], None], items: Sequence[Any], contentions: int = 0
    ) -> None:
        """Run ``step``; on a failure halve until the culprit is alone, and settle that one."""
        if not items:
            return
        try:
            step(items)
        except CANNOT_ANSWER:
            raise
        except BaseException as exc:  # sys.exit() too, as in batch.py
            if isinstance(exc, Contention) and contentions < self._immediate(items[0]):
                self._by_halves(step, items, contentions + 1)
            elif len(items) > 1:
                middle = len(items) // 2
                self._by_halves(step, items[:middle])
                self._by_halves(step, items[middle:])
            else:
                self._settle_failed(items[0], exc)

    def _settle_failed(self, item: Work | Call, error: BaseException) -> None:
        if isinstance(item, Call):
            if isinstance(error, Contention) and monotonic_s() < item.start_by_s + self._limits.lease_s / 2:
                raise error  # the lock will go, and what happened outside is still ours to write
            work = item.work
        else:
            work = item
        self._settler.settle_failed(work, error, release=partial(self._release, works=[work]))
        self._ended(work)

    def _immediate(self, item: Work | Call) -> int:
        work = item.work if isinstance(item, Call) else item
        return self._settler.policy_of(work.handler).immediate


def _paired(asked: Sequence[T], answers: Sequence[Any]) -> Iterator[tuple[T, Any]]:
    if len(answers) != len(asked):
        raise HandlerMisbehaved(f"{len(answers)} answers for {len(asked)} messages")
    return zip(asked, answers, strict=True)


def _lock_order(work: Work) -> str:
    # Handlers lock what a message is about as they come to it: in the same order as
    # batches do, or the two deadlock.
    return work.envelope.correlation_id
