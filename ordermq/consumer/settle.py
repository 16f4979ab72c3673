"""The one place where a message is settled in PostgreSQL.

Every function is one transaction: the inbox row that says the message was settled,
and what its outcome means. Only after it has committed may the delivery be acked.
If it did not commit, or if that is unknown, the delivery comes back and the inbox decides.

    Done      inbox row + the handler's writes, its outbox rows included
    Retry     inbox row + outbox row: same message_id, attempt + 1, available later
    Postpone  inbox row + outbox row: same message_id, same attempt, available later
    Dead      inbox row + dead_letters row + what the handler's on_dead writes; of a message that no
              handler could read, what the on_unreadable of the modules write

A message that no handler could read has no inbox row: nothing it says of itself is believed,
so it must not pass for a message that was settled. Its dead letter is its record.

A handler that wants no inbox gets no transaction for what is Done; the rest is as above.

Invariants
    SET1  Nothing is published here and nothing is acked here.
    SET2  An outcome takes effect only if the inbox row was new: a duplicate writes nothing.
        A message of a handler without inbox is Done without any row.
    SET3  A message that no handler could read leaves a dead letter, whatever the inbox holds under
        its id, unless it is open as a dead letter already: then it was delivered again.
"""

import logging
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from random import Random
from typing import TypeVar

from msgspec.structs import replace

from ordermq.clock import Deadline, monotonic_s, utc_now
from ordermq.consumer import starts
from ordermq.consumer.causes import count_failure
from ordermq.consumer.database_clock import DatabaseClock
from ordermq.consumer.neighbours import Neighbours
from ordermq.consumer.received import Message, Readable, Received, Unreadable, in_log, traced_of
from ordermq.consumer.running import RunningHandlers
from ordermq.consumer.spans import HeldSpans
from ordermq.consumer.tap import Tap
from ordermq.errors import Contention, StoreRefused, StoreUnavailable
from ordermq.failpoints import failpoint
from ordermq.log_events import (
    MESSAGE_DEAD,
    MESSAGE_DEATH_UNFOLLOWED,
    MESSAGE_HANDLED,
    MESSAGE_POSTPONED,
    MESSAGE_RETRIED,
)
from ordermq.message.envelope import MAX_HOP, Envelope, next_hop
from ordermq.message.headers import bounded_error
from ordermq.observe import metrics, tracing
from ordermq.observe.sampling import LineBudget
from ordermq.store import Session, StoreTransaction, dead_letters, inbox
from ordermq.store.outgoing import OutboxRow
from ordermq.task.delivery import DeliveryInfo
from ordermq.task.handler import Handler
from ordermq.task.invoke import invoke_plain
from ordermq.task.outcome import DONE, Dead, Outcome, Postpone, Retry
from ordermq.task.registry import OnUnreadable
from ordermq.task.retry import RetryPolicy, describe, outcome_of_error

log = logging.getLogger(__name__)

M = TypeVar("M", bound=Message)

Release = Callable[[StoreTransaction], None]
Resolved = tuple[Message, Outcome]
SentAgain = tuple[Received, Retry | Postpone]

# Errors by which the database does not answer, or refuses the process: no message is at fault.
CANNOT_ANSWER = (StoreUnavailable, StoreRefused)

ON_DEAD_TRIES = 10


@dataclass(frozen=True, slots=True)
class HeldBack(Postpone):
    """Not handled yet because people hold it back: counts neither as an attempt nor as age."""


class NotAllDone(Exception):
    """Ends a transaction in which a handler did not answer Done to every message: roll back."""

    def __init__(self, outcomes: Sequence[tuple[Readable, Outcome]]) -> None:
        super().__init__()
        self.outcomes = outcomes


class Settler:
    """Settles messages of one queue on one session. Owned by the session's thread.

    Every method raises one of CANNOT_ANSWER when the database cannot answer, and Contention
    when a lock kept it from settling. Then nothing was settled, or it is unknown whether
    something was, and the same call may be made again.
    """

    def __init__(
        self,
        session: Session,
        queue: str,
        policy: RetryPolicy,
        random: Random,
        running: RunningHandlers,
        *,
        on_unreadable: Sequence[OnUnreadable] = (),
        neighbours: Neighbours | None = None,
        deaths: Neighbours | None = None,
        held: HeldSpans | None = None,
        tap: Tap | None = None,
        lines: LineBudget | None = None,
        database_clock: DatabaseClock | None = None,
    ) -> None:
        self.session = session
        self.queue = queue
        self.running = running
        self._policy = policy
        self._random = random
        self._on_unreadable = on_unreadable
        self.neighbours = neighbours or Neighbours()
        self._deaths = deaths or Neighbours()  # messages whose dead letter meets trouble of the server
        self._held = held or HeldSpans()
        self.tap = tap or Tap()
        self._lines = lines or LineBudget(0.0)
        self._raised: dict[str, BaseException] = {}  # by message_id, for the line on what became of it
        self._database_clock = database_clock or DatabaseClock()
        self.has_sent = False  # outbox rows were committed; reset as the relay is woken

    def run(self, messages: Sequence[Readable]) -> Sequence[Readable]:
        """Handle ``messages``, all of one plain handler, and settle those that are Done.

        Return those that were handled, which are all but duplicates.
        Raises NotAllDone, with nothing settled, if the handler answered anything else to
        one of them; and whatever the handler raises.
        """
        if (tracer := tracing.tracer()) is None:
            return self._run(messages)
        with tracer.processing(self.queue, traced_of(messages, self.queue)) as span, tracing.in_span(span):
            return self._run(messages)

    def _run(self, messages: Sequence[Readable]) -> Sequence[Readable]:
        handler = messages[0].handler
        began_s = monotonic_s()
        if not handler.inbox:
            self._run_without_inbox(handler, messages, began_s)
            return messages
        with self.session.transaction(traces=traces_of(messages)) as tx:
            new = inbox.settle(tx, self.queue, [each.key for each in messages], "done")
            fresh = [each for each in messages if each.envelope.message_id in new]
            if fresh:
                self._run_in(tx, handler, fresh)
            starts.forget(tx, self.queue, messages)
            failpoint("settle.before_commit", handler.type)
        failpoint("settle.after_commit", handler.type)
        self.note_sent(tx)
        self.count("duplicate", len(messages) - len(fresh))
        self.note_done(fresh, monotonic_s() - began_s)
        if len(fresh) < len(messages):
            self.tap.note(self.queue, (each for each in messages if each.message_id not in new), "duplicate")
        return fresh

    def _run_in(self, tx: StoreTransaction, handler: Handler, fresh: Sequence[Readable]) -> None:
        outcomes = self._invoke(handler, fresh, tx)
        failpoint("settle.after_handler", handler.type)
        if any(outcome != DONE for outcome in outcomes):
            raise NotAllDone(list(zip(fresh, outcomes, strict=True)))

    def _invoke(
        self, handler: Handler, messages: Sequence[Readable], tx: StoreTransaction | None
    ) -> list[Outcome]:
        payloads = [each.payload for each in messages]
        with self.running.noted(self.queue, messages):
            return invoke_plain(handler, payloads, tx, lambda: self._deliveries(messages))

    def _deliveries(self, messages: Sequence[Readable]) -> list[DeliveryInfo]:
        deadline = Deadline(self.running.deadline_s)
        return [DeliveryInfo.of(each.envelope, deadline) for each in messages]

    def _run_without_inbox(self, handler: Handler, messages: Sequence[Readable], began_s: float) -> None:
        """Handle ``messages``; settle those that are not Done, which alone are written down."""
        outcomes = self._invoke(handler, messages, None)
        answered = list(zip(messages, outcomes, strict=True))
        done = [message for message, outcome in answered if outcome == DONE]
        if any(message.is_suspect for message in done):
            with self.session.transaction() as tx:
                starts.forget(tx, self.queue, done)
        # The others forget their starts as they are settled: an on_dead may be what ends the process.
        self.settle([(message, outcome) for message, outcome in answered if outcome != DONE])
        self.note_done(done, monotonic_s() - began_s)

    def settle(self, outcomes: Sequence[Resolved], *, release: Release | None = None) -> None:
        """Settle what is not Done: retries and postponements together, each death alone.

        ``release`` gives up, in each of these transactions, what else was held for the messages.
        """
        final = self.resolve(outcomes)
        if again := again_of(final):
            type_ = again[0][0].envelope.type
            with self.session.transaction() as tx:
                self.send_again(tx, again)
                if release is not None:
                    release(tx)
                failpoint("settle.before_retry_commit", type_)
            failpoint("settle.after_retry_commit", type_)
            self.note_sent(tx)
            self.count_again(again)
        for message, reason in deaths_of(final):
            self.dead_letter(message, reason, release=release)

    def settle_failed(
        self,
        message: Readable,
        error: BaseException,
        *,
        outcome: Outcome | None = None,
        release: Release | None = None,
    ) -> None:
        """Settle a message whose handler raised ``error``, in a transaction since rolled back.

        Without an ``outcome`` the error says what becomes of it.
        """
        outcome = outcome or outcome_of_error(error, message.handler.retry)
        self._raised[message.message_id] = error
        try:
            self.settle([(message, self.spaced(message, outcome))], release=release)
        finally:
            del self._raised[message.message_id]

    def resolve(self, outcomes: Sequence[tuple[M, Outcome]]) -> list[tuple[M, Outcome]]:
        """Apply the retry policy: delays filled in, Dead where a limit is passed."""
        now = utc_now()
        return [
            (message, outcome if outcome == DONE else self._resolved(message, outcome, now))
            for message, outcome in outcomes
        ]

    def _resolved(self, message: Message, outcome: Outcome, now: datetime) -> Outcome:
        envelope = message.envelope
        held_s = self._held.seconds(envelope.first_failed_at, now)
        return self.policy_of(message).resolve(outcome, envelope, now, self._random, held_s=held_s)

    def spaced(self, message: Message, outcome: Outcome) -> Outcome:
        """Return ``outcome`` with a delay that a service asked for made no shorter than the backoff."""
        return self.policy_of(message).spaced(outcome, message.envelope, self._random)

    def policy_of(self, message: Message) -> RetryPolicy:
        """Return the retry policy of the message's handler; of an unreadable one, that of the settings."""
        return self._policy.of(message.handler.retry) if isinstance(message, Readable) else self._policy

    def send_again(self, tx: StoreTransaction, again: Sequence[SentAgain]) -> None:
        """Write retries and postponements into the caller's transaction."""
        for name, kind in (("retry", Retry), ("postponed", Postpone)):
            by_id = {message.message_id: (message, out) for message, out in again if isinstance(out, kind)}
            messages = [message for message, _ in by_id.values()]
            new = inbox.settle(tx, self.queue, [each.key for each in messages], name)
            tx.append([self._next_hop(*by_id[message_id]) for message_id in sorted(new)])
            starts.forget(tx, self.queue, messages)

    def dead_letter(self, message: Message, reason: str, *, release: Release | None = None) -> None:
        """Keep the message as a dead letter, with what follows from that, in one transaction."""
        for left in reversed(range(ON_DEAD_TRIES)):
            try:
                self._dead_letter_once(message, reason, release, with_what_follows=True)
                break
            except CANNOT_ANSWER as exc:
                outcome = self._deaths.judge([message], exc)
                if isinstance(outcome, Postpone) and _may_give_way(message):
                    self._give_way(message, outcome, release)
                    return
                reason = self._keep_alone(message, reason, exc, release)
                break
            except BaseException as exc:
                if left and isinstance(exc, Contention):
                    continue  # what follows may be a refund: no deadlock or lock is worth skipping it
                reason = self._keep_alone(message, reason, exc, release)
                break
        self.count("dead", 1)
        count_failure(self.queue, message.envelope.type, "dead", reason)
        self.tap.note(self.queue, [message], "dead", reason)

    def _keep_alone(
        self, message: Message, reason: str, error: BaseException, release: Release | None
    ) -> str:
        """Keep the dead letter without what follows, whose fault must not hinder that; return its reason."""
        with in_log(message.envelope, self.queue):
            log.critical(
                "what follows from the dead letter failed: %s",
                describe(error),
                exc_info=error,
                extra=MESSAGE_DEATH_UNFOLLOWED,
            )
        name = "on_dead" if isinstance(message, Readable) else "on_unreadable"
        reason = f"{reason}; then {name} failed: {describe(error)}"
        self._dead_letter_once(message, reason, release, with_what_follows=False)
        return reason

    def _give_way(self, message: Message, outcome: Postpone, release: Release | None) -> None:
        """Send a message again that is to die. No policy is asked: by its age it would have to die now."""
        with self.session.transaction() as tx:
            self.send_again(tx, [(message, outcome)])
            if release is not None:
                release(tx)
        self.note_sent(tx)
        self.count_again([(message, outcome)])

    def note_done(self, messages: Sequence[Readable], took_s: float | None = None) -> None:
        """Count and log messages that were handled, and that the database took what they wrote.

        ``took_s`` is what the handler and the commit took, for all of them together.
        """
        self.count("done", len(messages))
        self._note_times(messages)
        self.tap.note(self.queue, messages, "done")
        self._deaths.done(messages)
        if log.isEnabledFor(logging.INFO):
            self._log_done(messages, took_s)

    def _log_done(self, messages: Sequence[Readable], took_s: float | None) -> None:
        lines, unsaid = self._lines.take(len(messages))
        for message in messages[:lines]:
            with in_log(message.envelope, self.queue):
                fields = MESSAGE_HANDLED.having(duration_s=took_s, unsaid=unsaid)
                log.info("handled %s", message.envelope.type, extra=fields)
            unsaid = 0

    def _note_times(self, messages: Sequence[Readable]) -> None:
        """Count how long it took from when the messages were due until now."""
        due = [each.due_at for each in messages if each.due_at is not None]
        if due and (first_s := self._database_clock.age_s(due[0])) is not None:
            now = due[0] + first_s
            metrics.critical_seconds.observe_many(self.queue, [max(0.0, now - each) for each in due])

    def note_sent(self, tx: StoreTransaction) -> None:
        """Remember that a committed transaction wrote to the outbox."""
        self.has_sent = self.has_sent or tx.has_sent

    def count(self, outcome: str, number: int) -> None:
        """Count settled messages."""
        if number:
            metrics.settled.labels(queue=self.queue, outcome=outcome).inc(number)

    def count_again(self, again: Sequence[SentAgain]) -> None:
        """Count and log retries and postponements; after their commit."""
        for message, outcome in again:
            delay_s = outcome.delay_s or 0.0
            kind = "retry" if isinstance(outcome, Retry) else "postponed"
            self.tap.note(self.queue, [message], kind, outcome.reason)
            self.count(kind, 1)
            error = self._raised.get(message.message_id)
            with in_log(message.envelope, self.queue):
                if isinstance(outcome, Retry):
                    count_failure(self.queue, message.envelope.type, "retry", outcome.reason)
                    log.warning(
                        "attempt %d failed, again in %.1f s: %s",
                        message.envelope.attempt, delay_s, outcome.reason,
                        exc_info=error, extra=MESSAGE_RETRIED,
                    )  # fmt: skip
                elif error is not None:
                    log.warning(
                        "postponed for %.1f s: %s", delay_s, outcome.reason,
                        exc_info=error, extra=MESSAGE_POSTPONED,
                    )  # fmt: skip
                else:
                    self._log_postponed(delay_s, outcome.reason)

    def _log_postponed(self, delay_s: float, reason: str) -> None:
        lines, unsaid = self._lines.take(1)
        if lines:
            log.info(
                "postponed for %.1f s: %s", delay_s, reason, extra=MESSAGE_POSTPONED.having(unsaid=unsaid)
            )

    def _dead_letter_once(
        self, message: Message, reason: str, release: Release | None, *, with_what_follows: bool
    ) -> None:
        with self.session.transaction(traces=traces_of([message])) as tx:
            if release is not None:
                release(tx)
            if not self._keep(message, reason, tx):
                starts.forget(tx, self.queue, [message])
                return
            if with_what_follows:
                with self.running.noted(self.queue, [message]):
                    self._follow(message, reason, tx)
            # Last: if what follows never returns, the note that says so must not wait for this row.
            starts.forget(tx, self.queue, [message])
            failpoint("settle.before_dead_commit", message.envelope.type)
        failpoint("settle.after_dead_commit", message.envelope.type)
        self.note_sent(tx)
        with in_log(message.envelope, self.queue):
            is_followed = isinstance(message, Readable) and message.handler.on_dead is not None
            # Where no on_dead asks for a person, this line does.
            log.log(
                logging.ERROR if is_followed else logging.CRITICAL, "dead letter: %s", reason,
                exc_info=self._raised.get(message.message_id), extra=MESSAGE_DEAD,
            )  # fmt: skip

    def _keep(self, message: Message, reason: str, tx: StoreTransaction) -> bool:
        """Write the dead letter; return False if the message was settled or kept before (SET2, SET3)."""
        is_new = isinstance(message, Unreadable) or inbox.settle(tx, self.queue, [message.key], "dead")
        if not is_new:
            return False
        kept = dead_letters.keep(tx, self.queue, [(message.envelope, message.body, reason)])
        return isinstance(message, Readable) or kept > 0

    def _follow(self, message: Message, reason: str, tx: StoreTransaction) -> None:
        """Write what follows from a death into the transaction that keeps the dead letter."""
        if isinstance(message, Readable):
            if message.handler.on_dead is not None:
                message.handler.on_dead(message.payload, reason, tx)
        elif message.envelope.correlation_id and message.asks_modules:
            for on_unreadable in self._on_unreadable:
                on_unreadable(self.queue, message.envelope, reason, tx)

    def _next_hop(self, message: Received, outcome: Retry | Postpone) -> OutboxRow:
        envelope = message.envelope
        if isinstance(outcome, HeldBack):
            return OutboxRow(self.queue, _held_back(envelope, outcome), message.body, outcome.delay_s or 0.0)
        last_error = bounded_error(outcome.reason)
        if isinstance(outcome, Postpone) and envelope.attempt > 1:
            last_error = envelope.last_error or last_error  # a failure says more than a wait
        again = replace(
            envelope,
            attempt=envelope.attempt + isinstance(outcome, Retry),
            hop=next_hop(envelope.hop),
            first_failed_at=envelope.first_failed_at or utc_now(),
            last_error=last_error,
        )
        return OutboxRow(self.queue, again, message.body, outcome.delay_s or 0.0)


def _may_give_way(message: Message) -> bool:
    """Return whether a message that is to die can be sent again in its place."""
    return isinstance(message, Readable) and message.envelope.hop < MAX_HOP


def _held_back(envelope: Envelope, outcome: HeldBack) -> Envelope:
    """Return the envelope of the next hop: as if the message had not been there before its time."""
    hop, since = next_hop(envelope.hop), envelope.first_failed_at
    held = timedelta(seconds=outcome.delay_s or 0.0)
    return replace(envelope, hop=hop, first_failed_at=since and since + held)


def traces_of(messages: Sequence[Received]) -> dict[str, str]:
    """Return the trace that what is sent for each correlation id continues."""
    return {each.envelope.correlation_id: each.envelope.traceparent for each in messages}


def again_of(outcomes: Sequence[tuple[M, Outcome]]) -> list[tuple[M, Retry | Postpone]]:
    """Return what is to be sent again."""
    return [(message, out) for message, out in outcomes if isinstance(out, Retry | Postpone)]


def deaths_of(outcomes: Sequence[tuple[M, Outcome]]) -> list[tuple[M, str]]:
    """Return what is to be kept as dead letters, with the reasons."""
    return [(message, out.reason) for message, out in outcomes if isinstance(out, Dead)]
