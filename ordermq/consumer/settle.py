"""The one place where a message is settled in PostgreSQL.

Every function is one transaction: the inbox row that says the message was settled,
and what its outcome means. Only after it has committed may the delivery be acked;
if it did not, or nobody knows, the delivery comes back and the inbox decides.

    Done      inbox row + the handler's writes, its outbox rows included
    Retry     inbox row + outbox row: same message_id, attempt + 1, available later
    Postpone  inbox row + outbox row: same message_id, same attempt, available later
    Dead      inbox row + dead_letters row + what the step's on_dead writes; of a message that no
              handler could read, what the modules' on_unreadable writes

A handler that wants no inbox gets no transaction for what is Done; the rest is as above.

Invariants
    SET1  Nothing is published here and nothing is acked here.
    SET2  An outcome takes effect only if the inbox row was new: a duplicate writes nothing.
        What a handler without inbox has done is called Done before a row says so.
"""

import logging
from collections.abc import Callable, Sequence
from datetime import datetime
from random import Random

from msgspec.structs import replace

from ordermq.clock import utc_now
from ordermq.consumer.received import Work, in_log
from ordermq.consumer.running import RunningHandlers
from ordermq.errors import Contention, OrderMQError, StoreRefused, StoreUnavailable
from ordermq.failpoints import failpoint
from ordermq.message.headers import bounded_error
from ordermq.observe import metrics
from ordermq.store import Session, Transaction, dead_letters, inbox, starts
from ordermq.store.outgoing import OutboxRow
from ordermq.store.starts import MAX_STARTS
from ordermq.task.handler import Handler
from ordermq.task.outcome import DONE, Dead, Done, Outcome, Postpone, Retry
from ordermq.task.registry import OnUnreadable
from ordermq.task.retry import RetryPolicy, describe, outcome_of_error

log = logging.getLogger(__name__)

Release = Callable[[Transaction], None]

# The database cannot say what happened, or lets nobody in: not the message's fault.
CANNOT_ANSWER = (StoreUnavailable, StoreRefused)

ON_DEAD_TRIES = 10
UNTOLD_STARTS = 3 * MAX_STARTS  # after so many without an end nothing follows from a death any more


class NotAllDone(Exception):
    """Ends a transaction in which a handler did not answer Done to everything: roll back."""

    def __init__(self, decided: list[tuple[Work, Outcome]]) -> None:
        super().__init__()
        self.decided = decided


class Settler:
    """Settles messages of one queue on one session. Owned by the session's thread.

    Every method raises one of CANNOT_ANSWER when the database cannot answer, and Contention
    when a lock kept it from settling: nothing is settled then, or nobody knows, and the
    same call may be made again.
    """

    def __init__(
        self,
        session: Session,
        queue: str,
        policy: RetryPolicy,
        random: Random,
        watch: RunningHandlers,
        *,
        on_unreadable: Sequence[OnUnreadable] = (),
    ) -> None:
        self.session = session
        self.queue = queue
        self.watch = watch
        self._policy = policy
        self._random = random
        self._on_unreadable = on_unreadable
        self.has_sent = False  # outbox rows were committed; whoever wakes the relay resets it

    def run(self, works: Sequence[Work]) -> None:
        """Handle ``works``, all of one plain handler, and settle those that are Done.

        Raises NotAllDone, with nothing settled, if the handler said anything else of
        one of them; and whatever the handler raises.
        """
        handler = works[0].handler
        assert handler is not None  # noqa: S101 # plan() puts no other works into a batch
        if not handler.inbox:
            self._run_without_inbox(handler, works)
            return
        traces = {work.envelope.correlation_id: work.envelope.traceparent for work in works}
        with self.session.transaction(traces=traces) as tx:
            new = inbox.settle(tx, self.queue, [work.key for work in works], "done")
            fresh = [work for work in works if work.envelope.message_id in new]
            if fresh:
                messages = [work.payload for work in fresh]
                with self.watch.over(fresh):
                    if handler.lock is not None:
                        handler.lock(messages, tx)
                    outcomes = _call(handler, messages, tx)
                failpoint("settle.after_handler", handler.type)
                if any(outcome != DONE for outcome in outcomes):
                    raise NotAllDone(list(zip(fresh, outcomes, strict=True)))
            self.forget_starts(tx, works)
            failpoint("settle.before_commit", handler.type)
        failpoint("settle.after_commit", handler.type)
        self.note_sent(tx)
        self.count("duplicate", len(works) - len(fresh))
        self.count("done", len(fresh))

    def _run_without_inbox(self, handler: Handler, works: Sequence[Work]) -> None:
        """Handle ``works``; settle those that are not Done, which alone are written down."""
        with self.watch.over(works):
            outcomes = _call(handler, [work.payload for work in works])
        decided = list(zip(works, outcomes, strict=True))
        done = [work for work, outcome in decided if outcome == DONE]
        if any(work.is_suspect for work in done):
            with self.session.transaction() as tx:
                self.forget_starts(tx, done)
        # These forget their starts as they are settled: an on_dead may be what kills the process.
        self.settle([(work, outcome) for work, outcome in decided if outcome != DONE])
        self.count("done", len(done))

    def settle(self, decided: Sequence[tuple[Work, Outcome]], *, release: Release | None = None) -> None:
        """Settle what is not Done: retries and postponements together, each death alone.

        ``release`` gives up, in each of these transactions, what else was held for the works.
        """
        final = self.resolve(decided)
        if again := again_of(final):
            with self.session.transaction() as tx:
                self.send_again(tx, again)
                if release is not None:
                    release(tx)
                failpoint("settle.before_retry_commit", again[0][0].envelope.type)
            failpoint("settle.after_retry_commit", again[0][0].envelope.type)
            self.note_sent(tx)
            self.count_again(again)
        for work, reason in deaths_of(final):
            self.dead_letter(work, reason, release=release)

    def settle_failed(self, work: Work, error: BaseException, *, release: Release | None = None) -> None:
        """Settle a message whose handler raised ``error``, in a transaction since rolled back."""
        with in_log(work.envelope, self.queue):
            log.warning("handler failed: %s", type(error).__name__, exc_info=error)
        retrying = work.handler.retry if work.handler else None
        self.settle([(work, outcome_of_error(error, retrying))], release=release)

    def resolve(self, decided: Sequence[tuple[Work, Outcome]]) -> list[tuple[Work, Outcome]]:
        """Apply the retry policy: delays filled in, Dead where a limit is passed."""
        now = utc_now()
        return [
            (work, outcome if outcome == DONE else self._decided(work, outcome, now))
            for work, outcome in decided
        ]

    def policy_of(self, handler: Handler | None) -> RetryPolicy:
        """Return what holds for a handler's messages, or for those no handler can read."""
        return self._policy if handler is None else self._policy.of(handler.retry)

    def _decided(self, work: Work, outcome: Outcome, now: datetime) -> Outcome:
        return self.policy_of(work.handler).resolve(outcome, work.envelope, now, self._random)

    def send_again(self, tx: Transaction, again: Sequence[tuple[Work, Retry | Postpone]]) -> None:
        """Write retries and postponements into the caller's transaction."""
        for name, kind in (("retry", Retry), ("postponed", Postpone)):
            works = {work.envelope.message_id: (work, out) for work, out in again if isinstance(out, kind)}
            new = inbox.settle(tx, self.queue, [work.key for work, _ in works.values()], name)
            tx.append([self._next_hop(*works[message_id]) for message_id in sorted(new)])
            self.forget_starts(tx, [work for work, _ in works.values()])

    def dead_letter(self, work: Work, reason: str, *, release: Release | None = None) -> None:
        """Keep ``work`` as a dead letter, with what follows from that, in one transaction."""
        for left in reversed(range(ON_DEAD_TRIES)):
            try:
                self._dead_letter_once(work, reason, release, with_what_follows=True)
                break
            except CANNOT_ANSWER:
                raise
            except BaseException as exc:
                if left and isinstance(exc, Contention):
                    continue  # what follows may be a refund: no deadlock or lock is worth skipping it
                # A fault in what follows must not keep the message from its grave.
                with in_log(work.envelope, self.queue):
                    log.critical("what follows from the dead letter failed: %s", describe(exc), exc_info=exc)
                name = "on_dead" if work.handler else "on_unreadable"
                reason = f"{reason}; then {name} failed: {describe(exc)}"
                self._dead_letter_once(work, reason, release, with_what_follows=False)
                break
        self.count("dead", 1)

    def forget_starts(self, tx: Transaction, works: Sequence[Work]) -> None:
        """Suspects among ``works`` ended: they kill nobody."""
        starts.end(tx, self.queue, [work.envelope.message_id for work in works if work.is_suspect])

    def note_sent(self, tx: Transaction) -> None:
        """Remember that a committed transaction wrote to the outbox."""
        self.has_sent = self.has_sent or tx.has_sent

    def count(self, outcome: str, number: int) -> None:
        """Count settled messages."""
        if number:
            metrics.settled.labels(queue=self.queue, outcome=outcome).inc(number)

    def count_again(self, again: Sequence[tuple[Work, Retry | Postpone]]) -> None:
        """Count and log retries and postponements; after their commit."""
        for work, outcome in again:
            delay_s = outcome.delay_s or 0.0
            with in_log(work.envelope, self.queue):
                if isinstance(outcome, Retry):
                    self.count("retry", 1)
                    attempt = work.envelope.attempt
                    log.warning("attempt %d failed, again in %.1f s: %s", attempt, delay_s, outcome.reason)
                else:
                    self.count("postponed", 1)
                    log.info("postponed for %.1f s: %s", delay_s, outcome.reason)

    def _dead_letter_once(
        self, work: Work, reason: str, release: Release | None, *, with_what_follows: bool
    ) -> None:
        traces = {work.envelope.correlation_id: work.envelope.traceparent}
        with self.session.transaction(traces=traces) as tx:
            if release is not None:
                release(tx)
            if not inbox.settle(tx, self.queue, [work.key], "dead"):
                self.forget_starts(tx, [work])
                return
            dead_letters.keep(tx, self.queue, [(work.envelope, work.body, reason)])
            if with_what_follows:
                with self.watch.over([work]):
                    self._follow(work, reason, tx)
            # Last: if that never returns, whoever writes that down must not wait for this row.
            self.forget_starts(tx, [work])
            failpoint("settle.before_dead_commit", work.envelope.type)
        failpoint("settle.after_dead_commit", work.envelope.type)
        self.note_sent(tx)
        with in_log(work.envelope, self.queue):
            level = logging.ERROR if work.handler and work.handler.on_dead else logging.CRITICAL
            log.log(level, "dead letter: %s", reason)  # nothing else asks for a person then

    def _follow(self, work: Work, reason: str, tx: Transaction) -> None:
        """Write what follows from a death into the transaction that keeps the dead letter."""
        if work.handler is not None:
            if work.handler.on_dead is not None:
                work.handler.on_dead(work.payload, reason, tx)
        elif work.envelope.correlation_id and work.started.starts < UNTOLD_STARTS:
            for told in self._on_unreadable:
                told(self.queue, work.envelope, reason, tx)

    def _next_hop(self, work: Work, outcome: Retry | Postpone) -> OutboxRow:
        envelope = work.envelope
        last_error = bounded_error(outcome.reason)
        if isinstance(outcome, Postpone) and envelope.attempt > 1:
            last_error = envelope.last_error or last_error  # a failure says more than a wait
        again = replace(
            envelope,
            attempt=envelope.attempt + isinstance(outcome, Retry),
            hop=envelope.hop + 1,
            first_failed_at=envelope.first_failed_at or utc_now(),
            last_error=last_error,
        )
        return OutboxRow(self.queue, again, work.body, outcome.delay_s or 0.0)


def again_of(decided: Sequence[tuple[Work, Outcome]]) -> list[tuple[Work, Retry | Postpone]]:
    """Return what is to be sent again."""
    return [(work, out) for work, out in decided if isinstance(out, Retry | Postpone)]


def deaths_of(decided: Sequence[tuple[Work, Outcome]]) -> list[tuple[Work, str]]:
    """Return what is to be buried, with the reasons."""
    return [(work, out.reason) for work, out in decided if isinstance(out, Dead)]


class HandlerMisbehaved(OrderMQError):
    """A handler returned something that is not one outcome for each message."""


def checked(outcomes: Sequence[object], count: int) -> list[Outcome]:
    """Return what a handler answered to ``count`` messages. Raises HandlerMisbehaved."""
    if len(outcomes) != count:
        raise HandlerMisbehaved(f"{len(outcomes)} outcomes for {count} messages")
    good: list[Outcome] = []
    for outcome in outcomes:
        if not isinstance(outcome, Outcome):
            raise HandlerMisbehaved(f"{type(outcome).__name__} is not Done, Retry, Postpone or Dead")
        if not isinstance(outcome, Done):
            _check(outcome)
        good.append(outcome)
    return good


def _check(outcome: Retry | Postpone | Dead) -> None:
    name = type(outcome).__name__
    if not isinstance(outcome.reason, str):
        raise HandlerMisbehaved(f"the reason of a {name} is a {type(outcome.reason).__name__}, not a str")
    delay_s = None if isinstance(outcome, Dead) else outcome.delay_s
    if not (delay_s is None or isinstance(delay_s, int | float)):
        raise HandlerMisbehaved(f"the delay_s of a {name} is a {type(delay_s).__name__}, not a number")


def _call(handler: Handler, messages: list[object], *tx: Transaction) -> list[Outcome]:
    call = handler.call
    if handler.batch > 0:
        return checked(list(call(messages, *tx)), len(messages))
    return checked(
        [DONE if (out := call(message, *tx)) is None else out for message in messages], len(messages)
    )
