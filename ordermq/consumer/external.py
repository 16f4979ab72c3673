"""Messages that talk to the world outside, without holding a transaction meanwhile.

One thread owns the database session; the threads of a CallPool make the calls. The owner goes
round: settle every call that has finished, in one transaction; then lease and prepare what has
arrived, in one transaction; then wait. Calls that finish while it is busy are settled together
on the next round, so commits group by themselves.

    taken -> leased, intent written (commit) -> called -> result written, inbox, lease given up (commit)

Invariants
    EXT1  No call starts before its lease and intent are committed, nor after half its
        lease has gone: the other half is for the call and for writing its result. None starts
        later than AHEAD_S after the stop: what is left comes back uncounted (NotCalled).
    EXT2  A message under a foreign live lease is postponed to the lease's end, uncounted.
    EXT3  The result of a call is written even if its message was settled otherwise
        meanwhile: what happened outside is a fact. Only Done is.
    EXT4  The inbox is read after the lease was taken. The last holder of the lease settled the
        message and gave the lease up in one commit, so a message not seen settled then is not.
    EXT5  While a breaker is not closed, one message at a time is taken, as its probe: the one
        sent again least, which is the likeliest never to have failed. What was prepared before
        is not called (NotCalled) and comes back uncounted.
    EXT6  For each message at most one call is under way in this process: a duplicate of it
        is postponed. A lease this process holds for a message it has not called is its own to
        take again: a commit whose answer was lost took it.
"""

import threading
from collections.abc import Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from functools import partial
from typing import Any

from msgspec.structs import replace

from ordermq.clock import monotonic_s
from ordermq.consumer import starts
from ordermq.consumer.batch import run_by_halves
from ordermq.consumer.breaker import Breakers
from ordermq.consumer.calls import Call, CallPool, FinishedCall, make_call
from ordermq.consumer.context import WorkerContext
from ordermq.consumer.held import HeldLeases
from ordermq.consumer.meter import Admission, TokenMeter
from ordermq.consumer.neighbours import Neighbours
from ordermq.consumer.pause import Abandoned, persist
from ordermq.consumer.received import Readable, Received
from ordermq.consumer.settle import CANNOT_ANSWER, HeldBack, Release, again_of, deaths_of, traces_of
from ordermq.consumer.starts import Suspect, dead_reason
from ordermq.consumer.worker import HandlingWorker
from ordermq.errors import Contention, GatewayUnavailable, NotCalled
from ordermq.failpoints import failpoint
from ordermq.message.envelope import Delivery
from ordermq.store import StoreTransaction, inbox
from ordermq.store.leases import Leases
from ordermq.store.starts import NEVER, Started
from ordermq.task.external import Claim, ExternalHandler, Finished
from ordermq.task.invoke import invoke_complete, invoke_prepare
from ordermq.task.outcome import Dead, Done, Outcome, Postpone

WAIT_S = 0.5
_NEVER = threading.Event()

Answered = tuple[Readable, Outcome]


class Preparation:
    """What became of messages that are prepared together.

    A preparation repeated after an error of the database goes on with the messages ``left``.
    """

    def __init__(self, messages: Sequence[Readable], before: Started) -> None:
        self.before = before  # starts of a message that runs alone
        self.left = {each.message_id: each for each in sorted(messages, key=_lock_order)}
        self.calls: list[Call] = []
        self.alone: list[Suspect] = []
        self._messages = messages

    def add(self, calls: Sequence[Call], alone: Sequence[Suspect]) -> None:
        """Take the calls to make, and the messages that are leased and are to run alone."""
        self.calls += calls
        self.alone += alone
        for message in _messages_of(calls, alone):
            self.left.pop(message.message_id, None)

    @property
    def settled(self) -> list[Readable]:
        """The messages for which there is nothing more to do."""
        unsettled = {each.message_id for each in _messages_of(self.calls, self.alone)} | self.left.keys()
        return [each for each in self._messages if each.message_id not in unsettled]


class ExternalWorker(HandlingWorker):
    """The one thread of a queue that prepares and completes external calls; its CallPool makes them."""

    def __init__(
        self,
        context: WorkerContext,
        batch: int,
        instances: Mapping[str, ExternalHandler[Any, Any, Any]],
        calls: CallPool,
        breakers: Breakers,
    ) -> None:
        super().__init__(context, "external", batch)
        self._instances = instances  # by message type
        self._calls = calls
        self._breakers = breakers
        self._completed = Neighbours()  # what is written after a call is another step than before it
        self._settings = context.settings.consumer
        self._held = HeldLeases(context.queue, context.owner, self._settings)
        self._meter = TokenMeter(context.queue, context.registry, context.limits)

    # --- the rounds ---------------------------------------------------------------

    def _work(self) -> None:
        intake, calls = self._context.intake, self._calls
        try:
            while not (intake.is_closed and calls.in_flight == 0):
                self._round()
        except Abandoned:
            calls.stop_soon()
            self._complete_all()  # a call under way happens all the same
            raise
        finally:
            calls.stop()

    def _round(self) -> None:
        self._show_life()
        calls, is_closed = self._calls, self._context.intake.is_closed
        if is_closed:
            calls.stop_soon()
        room = 0 if is_closed else self._breakers.room(calls.room(self._batch), calls.in_flight)
        # All waits end early when a call has finished.
        deliveries, wait_s = self._take(room) if room else ([], WAIT_S)
        if finished := calls.finished(wait_s=wait_s):
            self._complete(finished)
        if deliveries:
            self._handle(deliveries)

    def _take(self, room: int) -> tuple[list[Delivery], float]:
        """Return up to ``room`` deliveries, and for how long to wait for finished calls before the next."""
        intake, is_metered = self._context.intake, self._meter.is_on
        with self._waiting():
            if not self._breakers.are_closed:
                return intake.take_freshest(), 0.0
            if not is_metered:
                return intake.take(room), 0.0
            waiting = intake.peek(room)
        if not waiting:
            return [], 0.0
        admitted = self._persist(partial(self._admit, waiting))
        return intake.take_now(admitted.most), 0.0 if admitted.most else min(admitted.wait_s, WAIT_S)

    def _admit(self, waiting: Sequence[Delivery]) -> Admission:
        with self._settler.session.transaction() as tx:
            return self._meter.admit(tx, waiting)

    def _run(self, batch: Sequence[Readable]) -> list[Suspect]:
        if not batch[0].handler.is_external:
            self._run_plain(batch)
            return []
        batch = self._within_share(batch)
        if not batch:
            return []
        prepared = self._prepare(batch, NEVER)
        self._calls.submit(prepared.calls)
        return prepared.alone

    def _within_share(self, batch: Sequence[Readable]) -> Sequence[Readable]:
        """Put off the messages that are over their key's share; return the others."""
        if not self._meter.has_shares(batch):
            return batch
        over = self._persist(partial(self._put_off_over_share, batch))
        self._report([each for each in batch if each.message_id in over])
        return [each for each in batch if each.message_id not in over]

    def _put_off_over_share(self, batch: Sequence[Readable]) -> set[str]:
        with self._settler.session.transaction(traces=traces_of(batch)) as tx:
            slots = self._meter.over_share(tx, batch)
            over = [
                (each, HeldBack("its key is over its share of the limit", slots[each.message_id]))
                for each in batch
                if each.message_id in slots
            ]
            self._settler.send_again(tx, over)
        self._settler.note_sent(tx)
        self._settler.count_again(over)
        return set(slots)

    def _run_alone(self, message: Readable, before: Started) -> None:
        if not message.handler.is_external:
            super()._run_alone(message, before)
            return
        prepared = self._prepare([message], before)  # its start is counted: it is not set aside again
        # On this thread, so that nothing else of this queue starts beside it.
        self._complete([make_call(each, self._context.running) for each in prepared.calls])

    def _together(self) -> AbstractContextManager[None]:
        return nullcontext()

    def _alone(self) -> AbstractContextManager[None]:
        self._complete_all()
        return nullcontext()

    # --- before the call ----------------------------------------------------------

    def _prepare(self, messages: Sequence[Readable], before: Started) -> Preparation:
        """Lease messages of one handler and write their intents; settle those not to be called."""
        preparation = Preparation(messages, before)
        self._persist(partial(self._prepare_left, preparation))
        self._report(preparation.settled)
        return preparation

    def _prepare_left(self, preparation: Preparation) -> None:
        run_by_halves(
            partial(self._prepare_once, preparation),
            list(preparation.left.values()),
            neighbours=self._settler.neighbours,
            message_of=lambda message: message,
            immediate=self._immediate,
            settle_failed=partial(self._settle_failed, preparation.left),
        )

    def _prepare_once(self, preparation: Preparation, messages: Sequence[Readable]) -> None:
        messages = [each for each in messages if each.message_id in preparation.left]
        # Before the transaction, whose beginning is where PostgreSQL counts the lease from.
        start_by_s = monotonic_s() + self._settings.lease_s / 2
        with self._settler.session.transaction(traces=traces_of(messages)) as tx:
            leased = self._held.take(tx, messages)
            duplicates = leased.settled
            self._drop(tx, [each for each in messages if each.message_id in duplicates])
            unsettled = [each for each in messages if each.message_id not in duplicates]
            ours, refused = _refuse(unsettled, leased, dead_reason(preparation.before))
            ready, alone = self._begin_resumed(tx, ours, leased)
            calls, answered = self._ask_handler(tx, ready, leased, start_by_s)
            outcomes = self._settler.resolve([*refused, *answered])
            self._write(tx, outcomes)
            self._put_back_starts(tx, refused, leased, preparation.before)
        self._held.calling([call.message for call in calls])
        self._meter.called(messages[0].handler.dependency if calls else "", len(calls))
        preparation.add(calls, alone)
        self._settler.note_sent(tx)
        self._settler.count("duplicate", len(duplicates))
        dropped = [preparation.left[message_id] for message_id in duplicates]
        self._settler.tap.note(self._settler.queue, dropped, "duplicate")
        for message in dropped:
            self._forget(preparation.left, message)
        self._settle_outcomes(outcomes, preparation.left)

    def _drop(self, tx: StoreTransaction, duplicates: Sequence[Readable]) -> None:
        """Give up all that is held for messages the inbox knows as settled (EXT4)."""
        self._held.release(tx, duplicates)
        starts.forget_settled(tx, self._settler.queue, duplicates)

    def _begin_resumed(
        self, tx: StoreTransaction, messages: Sequence[Readable], leased: Leases
    ) -> tuple[Sequence[Readable], list[Suspect]]:
        """Write a start of each message whose lease was taken over: its last owner may have died of it.

        Return the messages that are ready to be prepared, and those that are to run alone.
        """
        resumed = {
            each.message_id: replace(each, is_suspect=True)
            for each in messages
            if each.message_id in leased.resumed and not each.is_suspect
        }
        if not resumed:
            return messages, []
        alone = starts.begin(tx, self._settler.queue, list(resumed.values()))
        set_aside = {suspect.message.message_id for suspect in alone}
        together = [each for each in messages if each.message_id not in set_aside]
        return [resumed.get(each.message_id, each) for each in together], alone

    def _ask_handler(
        self, tx: StoreTransaction, messages: Sequence[Readable], leased: Leases, start_by_s: float
    ) -> tuple[list[Call], list[Answered]]:
        """Have the handler write its intents; return the calls to make, and what it answered at once."""
        if not messages:
            return [], []
        handler, timeout_s = messages[0].handler, self._settings.call_timeout_s
        instance, breaker = self._instances[handler.type], self._breakers.of(handler.dependency)
        claims = [
            Claim(each.payload, each.envelope, each.message_id in leased.resumed, timeout_s)
            for each in messages
        ]
        with self._settler.running.noted(self._settler.queue, messages):
            requests = invoke_prepare(instance, claims, tx)
        calls: list[Call] = []
        answered: list[Answered] = []
        for message, claim, request in zip(messages, claims, requests, strict=True):
            if isinstance(request, Outcome):
                answered.append((message, request))
            else:
                calls.append(Call(message, claim, instance, breaker, request, start_by_s))
        return calls, answered

    def _put_back_starts(
        self, tx: StoreTransaction, refused: Sequence[Answered], leased: Leases, before: Started
    ) -> None:
        """A message that runs alone and is leased elsewhere was not begun after all."""
        if before.starts:
            elsewhere = [message for message, _ in refused if message.message_id in leased.foreign_s]
            starts.put_back(tx, self._settler.queue, [Suspect(each, before) for each in elsewhere])

    # --- after the call -----------------------------------------------------------

    def _complete_all(self) -> None:
        while self._calls.in_flight:
            self._show_life()
            self._complete(self._calls.finished(wait_s=WAIT_S))

    def _complete(self, finished: Sequence[FinishedCall]) -> None:
        """Write the results of calls and settle their messages."""
        self._held.returned([each.message for each in finished])
        left = {each.message_id: each for each in sorted(finished, key=_lock_order)}
        # Not abandoned at a stop: the call has happened, and only this process knows its result.
        persist(partial(self._complete_left, left), self._settler.session, self._context.pause, _NEVER)
        self._report([each.message for each in finished])

    def _complete_left(self, left: dict[str, FinishedCall]) -> None:
        self._show_life()
        run_by_halves(
            partial(self._complete_once, left),
            list(left.values()),
            neighbours=self._completed,
            message_of=lambda finished: finished.message,
            immediate=self._immediate,
            settle_failed=partial(self._settle_uncompleted, left),
        )

    def _complete_once(self, left: dict[str, FinishedCall], finished: Sequence[FinishedCall]) -> None:
        finished = [each for each in finished if each.message_id in left]
        messages = [each.message for each in finished]
        with self._settler.session.transaction(traces=traces_of(messages)) as tx:
            answered: list[Answered] = []
            for some in _by_type(finished):
                answered += self._ask_to_complete(tx, some)
            outcomes = self._settler.resolve(answered)
            self._write(tx, outcomes)
            _pass("external.before_complete", messages)
        _pass("external.after_complete", messages)
        self._settler.note_sent(tx)
        self._settle_outcomes(outcomes, left)

    def _ask_to_complete(self, tx: StoreTransaction, finished: Sequence[FinishedCall]) -> list[Answered]:
        """Have one handler write the results of its calls; return what it answered."""
        messages = [each.message for each in finished]
        results = [Finished(each.call.claim, each.result) for each in finished]
        with self._settler.running.noted(self._settler.queue, messages):
            outcomes = invoke_complete(finished[0].call.instance, results, tx)
        return [
            (each.message, self._settler.spaced(each.message, outcome) if _is_refused(each) else outcome)
            for each, outcome in zip(finished, outcomes, strict=True)
        ]

    def _settle_uncompleted(
        self,
        left: dict[str, FinishedCall],
        finished: FinishedCall,
        error: BaseException,
        outcome: Outcome | None,
    ) -> None:
        lease_ends_s = finished.call.start_by_s + self._settings.lease_s / 2
        if isinstance(error, (Contention, *CANNOT_ANSWER)) and monotonic_s() < lease_ends_s:
            raise error  # the trouble may go, and what happened outside is still ours to write
        self._settle_failed(left, finished.message, error, outcome)

    # --- settling -----------------------------------------------------------------

    def _write(self, tx: StoreTransaction, outcomes: Sequence[Answered]) -> None:
        """Write what is no death; a death keeps its lease until its own transaction settles it."""
        done = [message for message, outcome in outcomes if isinstance(outcome, Done)]
        again = again_of(outcomes)
        inbox.complete(tx, self._settler.queue, [each.key for each in done])
        self._settler.send_again(tx, again)
        self._held.release(tx, [*done, *(message for message, _ in again)])
        starts.forget(tx, self._settler.queue, done)

    def _settle_outcomes(self, outcomes: Sequence[Answered], left: dict[str, Any]) -> None:
        """Count what was committed, and settle each death in a transaction of its own."""
        done = [message for message, outcome in outcomes if isinstance(outcome, Done)]
        self._settler.note_done(done)
        self._settler.count_again(again_of(outcomes))
        for message, outcome in outcomes:
            if not isinstance(outcome, Dead):
                self._forget(left, message)
        for message, reason in deaths_of(outcomes):
            self._settler.dead_letter(message, reason, release=self._release_of(message))
            self._forget(left, message)

    def _settle_failed(
        self, left: dict[str, Any], message: Readable, error: BaseException, outcome: Outcome | None
    ) -> None:
        self._settler.settle_failed(message, error, outcome=outcome, release=self._release_of(message))
        self._forget(left, message)

    def _immediate(self, message: Readable) -> int:
        return self._settler.policy_of(message).immediate

    def _release_of(self, message: Readable) -> Release:
        return partial(self._held.release, messages=[message])

    def _forget(self, left: dict[str, Any], message: Readable) -> None:
        left.pop(message.message_id, None)
        self._held.forget(message)


def _messages_of(calls: Sequence[Call], alone: Sequence[Suspect]) -> list[Received]:
    return [*(call.message for call in calls), *(suspect.message for suspect in alone)]


def _refuse(
    messages: Sequence[Readable], leased: Leases, dead_reason: str
) -> tuple[list[Readable], list[Answered]]:
    """Return the messages that may be prepared, and the outcomes of those that may not (EXT2)."""
    ours: list[Readable] = []
    refused: list[Answered] = []
    for message in messages:
        left_s = leased.foreign_s.get(message.message_id)
        if left_s is not None:
            refused.append((message, Postpone("another consumer holds its lease", left_s + 0.1)))
        elif dead_reason:
            refused.append((message, Dead(dead_reason)))
        else:
            ours.append(message)
    return ours, refused


def _is_refused(finished: FinishedCall) -> bool:
    """Whether a service was asked and said to come back, so that its Retry-After may be the delay."""
    return isinstance(finished.result, GatewayUnavailable) and not isinstance(finished.result, NotCalled)


def _by_type(finished: Sequence[FinishedCall]) -> list[list[FinishedCall]]:
    groups: dict[str, list[FinishedCall]] = {}
    for each in finished:
        groups.setdefault(each.message.handler.type, []).append(each)
    return list(groups.values())


def _pass(name: str, messages: Sequence[Readable]) -> None:
    for type_ in sorted({each.handler.type for each in messages}):
        failpoint(name, type_)


def _lock_order(item: Readable | FinishedCall) -> str:
    # Handlers lock the rows of a message as they come to it. In any other order than that of
    # batches, the two would deadlock.
    message = item.message if isinstance(item, FinishedCall) else item
    return message.envelope.correlation_id
