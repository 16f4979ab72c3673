"""Run a handler in a test as a consumer does, without a broker and without a process."""

import json
import logging
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager, closing
from dataclasses import dataclass, field
from functools import partial
from typing import Any, TypeVar

from msgspec.structs import replace

from ordermq.clock import Deadline, utc_now
from ordermq.config.settings import ConsumerSettings, DatabaseSettings
from ordermq.errors import HandlerMisbehaved, StoreRefused, StoreUnavailable, UsageError
from ordermq.message.envelope import Envelope
from ordermq.message.payload import Payload
from ordermq.observe import trace
from ordermq.store import Session, StoreTransaction
from ordermq.task.delivery import DeliveryInfo
from ordermq.task.external import Claim, ExternalHandler, Finished
from ordermq.task.handler import Handler, HandlerFunction, handler_of
from ordermq.task.invoke import invoke_call, invoke_complete, invoke_plain, invoke_prepare
from ordermq.task.outcome import DONE, Outcome
from ordermq.task.retry import outcome_of_error

log = logging.getLogger(__name__)

_SENT = """
    SELECT routing_key, type, message_id, convert_from(body, 'UTF8')
      FROM ordermq.outbox WHERE xmin = pg_current_xact_id()::xid ORDER BY outbox_id
"""

_LIMITS = ConsumerSettings()  # the deadlines of a consumer with the default settings

# These are no failures of a message: a consumer waits for its database, and a test is to show a mistake.
_PASSES = (StoreUnavailable, StoreRefused, HandlerMisbehaved)

P = TypeVar("P", bound=Payload)

Instance = ExternalHandler[Any, Any, Any]
Check = Callable[[StoreTransaction], None]


@dataclass(frozen=True)
class Sent:
    """A message the handler wrote to the outbox; ``body`` is its JSON, read."""

    queue: str
    type: str
    message_id: str
    body: dict[str, Any]


@dataclass
class Ran:
    """What ``run_handler`` saw.

    ``outcomes`` has one for each message, in order; ``sent`` is what was written to the outbox.
    ``results`` are what ``complete`` of an external handler was handed, one for each call.
    ``errors`` are the exceptions that were turned into outcomes.
    """

    outcomes: list[Outcome] = field(default_factory=list)
    sent: list[Sent] = field(default_factory=list)
    results: list[Any] = field(default_factory=list)
    errors: list[BaseException] = field(default_factory=list)


def run_handler(
    handler: HandlerFunction[P, ..., Any] | ExternalHandler[P, Any, Any],
    *messages: P,
    session: Session | DatabaseSettings,
    commit: bool = False,
    resumed: bool = False,
    attempt: int = 1,
    replay_no: int = 0,
    check: Check | None = None,
) -> Ran:
    """Handle ``messages`` with ``handler`` in real transactions; return the outcomes and what was sent.

    ``handler`` is a function with ``@handler``, or an *instance* of a class with ``@external``:
    then all messages are prepared, called one after the other, and completed. ``resumed`` says
    that an earlier owner's lease ran out. ``attempt`` and ``replay_no`` are those of the messages.

    The outcomes are a consumer's. An exception becomes Retry, or Dead where its type is ``fatal``;
    of several messages the one that raises is found by halving, each part in a transaction of its
    own. What ``call`` raises reaches ``complete`` as GatewayUnavailable, GatewayRefused or
    OutcomeUnknown. sys.exit() is an exception like any other. As in a consumer, what a plain
    handler wrote stays only if it answered Done: the others are rolled back and it is called once
    more for the rest.

    Everything is rolled back, unless ``commit``. ``check(tx)`` sees what would be committed, in
    each transaction before it ends, also in an empty one if nothing would be.

    Not done here: inbox row, lease, dead letter, on_dead; the second try at once after a deadlock;
    the ``[retry]`` settings, which fill in delays and end retries. Blocks as long as the handler does.

    Raises HandlerMisbehaved if the handler answers anything but one outcome for each message, which
    a consumer retries; StoreUnavailable or StoreRefused if the database cannot answer; UsageError if
    ``handler`` is none; and what ``check`` raises.
    """
    if isinstance(session, DatabaseSettings):
        with closing(Session(session, name="run_handler")) as opened:
            return run_handler(
                handler, *messages, session=opened, commit=commit, resumed=resumed,
                attempt=attempt, replay_no=replay_no, check=check,
            )  # fmt: skip
    marked = _marked(handler)
    items = [
        _Item(number, message, _envelope(marked, message, number, attempt, replay_no))
        for number, message in enumerate(messages)
    ]
    run = _Run(marked, session, commit, check)
    if isinstance(handler, ExternalHandler):
        run.external(handler, items, resumed)
    else:
        run.by_halves(run.plain, items)
    return run.ran(items)


@dataclass(frozen=True)
class _Item:
    number: int
    message: Payload
    envelope: Envelope


class _NotAllDone(Exception):
    """Rolls a transaction back as a consumer does: what was only written is not even sent."""

    def __init__(self, outcomes: list[Outcome]) -> None:
        super().__init__()
        self.outcomes = outcomes


class _Run:
    """One ``run_handler``: the outcomes and results found so far, by the number of the message."""

    def __init__(self, handler: Handler, session: Session, commit: bool, check: Check | None) -> None:
        self._handler = handler
        self._session = session
        self._commit = commit
        self._check = check
        self._is_checking = False
        self._has_checked = False
        self._outcomes: dict[int, Outcome] = {}
        self._finished: dict[int, Finished[Any, Any]] = {}  # calls that were made
        self._sent: list[Sent] = []
        self._errors: list[BaseException] = []

    def ran(self, items: Sequence[_Item]) -> Ran:
        if not self._has_checked and self._check is not None:
            with self._transaction([], is_kept=False) as tx:
                self._check(tx)
        outcomes = [self._outcomes[item.number] for item in items]
        results = [self._finished[number].result for number in sorted(self._finished)]
        return Ran(outcomes, self._sent, results, self._errors)

    def by_halves(self, step: Callable[[Sequence[_Item]], None], items: Sequence[_Item]) -> None:
        """Run ``step``; if it raises, find the message that is the cause, and note its outcome."""
        try:
            step(items)
        except _PASSES:
            raise
        except (Exception, SystemExit) as exc:
            if self._is_checking:
                raise
            if len(items) == 1:
                log.warning("handler failed: %s", type(exc).__name__, exc_info=exc)
                self._errors.append(exc)
                self._outcomes[items[0].number] = outcome_of_error(exc, self._handler.retry)
                return
            middle = len(items) // 2
            self.by_halves(step, items[:middle])
            self.by_halves(step, items[middle:])

    def plain(self, items: Sequence[_Item]) -> None:
        pending = list(items)
        while pending:
            decided = dict(zip((item.number for item in pending), self._attempt(pending), strict=True))
            if all(outcome == DONE for outcome in decided.values()):
                self._outcomes |= decided
                return
            self._outcomes |= {number: each for number, each in decided.items() if each != DONE}
            pending = [item for item in pending if item.number not in self._outcomes]

    def _attempt(self, items: Sequence[_Item]) -> list[Outcome]:
        messages = [each.message for each in items]
        try:
            with self._transaction(items, is_kept=self._commit) as tx:
                outcomes = invoke_plain(self._handler, messages, tx, partial(self._deliveries, items))
                if any(outcome != DONE for outcome in outcomes):
                    raise _NotAllDone(outcomes)
                self._look(tx)
                return outcomes
        except _NotAllDone as exc:
            return exc.outcomes

    def external(self, instance: Instance, items: Sequence[_Item], resumed: bool) -> None:
        def begin(some: Sequence[_Item]) -> None:
            with self._transaction(some, is_kept=self._commit) as tx:
                self._prepare(instance, some, resumed, tx)
                if self._commit:
                    self._flush(tx)
                else:
                    self._complete(instance, some, tx)

        def end(some: Sequence[_Item]) -> None:
            with self._transaction(some, is_kept=True) as tx:
                self._complete(instance, some, tx)

        # As a consumer sorts them: its processes lock in one order.
        self.by_halves(begin, sorted(items, key=lambda item: item.envelope.correlation_id))
        if self._commit and self._finished:
            self.by_halves(end, [item for item in items if item.number in self._finished])

    def _prepare(
        self, instance: Instance, items: Sequence[_Item], resumed: bool, tx: StoreTransaction
    ) -> None:
        """Prepare and call; a call that was made before, for a larger part, is not made again."""
        claims = [Claim(item.message, item.envelope, resumed, _LIMITS.call_timeout_s) for item in items]
        answers = invoke_prepare(instance, claims, tx)
        for item, claim, answer in zip(items, claims, answers, strict=True):
            if item.number in self._finished:
                continue
            if isinstance(answer, Outcome):
                self._outcomes[item.number] = answer
            else:
                self._finished[item.number] = Finished(claim, _called(instance, self._handler, answer))

    def _complete(self, instance: Instance, items: Sequence[_Item], tx: StoreTransaction) -> None:
        called = [item.number for item in items if item.number in self._finished]
        if called:
            outcomes = invoke_complete(instance, [self._finished[number] for number in called], tx)
            self._outcomes |= zip(called, outcomes, strict=True)
        self._look(tx)

    def _deliveries(self, items: Sequence[_Item]) -> list[DeliveryInfo]:
        deadline = Deadline(_LIMITS.handler_deadline_s)
        return [DeliveryInfo.of(item.envelope, deadline) for item in items]

    def _transaction(
        self, items: Sequence[_Item], *, is_kept: bool
    ) -> AbstractContextManager[StoreTransaction]:
        traces = {item.envelope.correlation_id: item.envelope.traceparent for item in items}
        return self._session.transaction(traces=traces, dry_run=not is_kept)

    def _look(self, tx: StoreTransaction) -> None:
        self._flush(tx)
        if self._check is not None:
            self._is_checking = self._has_checked = True
            self._check(tx)
            self._is_checking = False

    def _flush(self, tx: StoreTransaction) -> None:
        """Have all statements run and all constraints checked: what fails is the handler's failure."""
        tx.check()
        for queue, type_, message_id, body in tx.fetch_all(_SENT):
            self._sent.append(Sent(queue, type_, message_id, json.loads(body)))


def _called(instance: Instance, handler: Handler, request: Any) -> Any:
    result = invoke_call(instance, handler, request)
    cause = result.__cause__ if isinstance(result, BaseException) else None
    if cause is not None and not isinstance(cause, Exception | SystemExit):
        raise cause  # Ctrl-C, or pytest's own way out of a test
    return result


def _marked(handler: object) -> Handler:
    if isinstance(handler, type):
        raise UsageError("run_handler() needs an instance of an external handler, not its class")
    found = handler_of(type(handler) if isinstance(handler, ExternalHandler) else handler)
    if found is None:
        raise UsageError(f"{handler!r} is neither a function with @handler nor an instance with @external")
    return found


def _envelope(marked: Handler, message: Payload, number: int, attempt: int, replay_no: int) -> Envelope:
    first_failed_at = utc_now() if attempt > 1 else None
    envelope = Envelope(
        message_id=f"test:{number}",
        type=marked.type,
        version=message.VERSION,
        correlation_id="",
        traceparent=trace.new(),
        occurred_at=utc_now(),
        attempt=attempt,
        hop=attempt - 1,
        replay_no=replay_no,
        first_failed_at=first_failed_at,
    )
    return replace(envelope, correlation_id=marked.correlation_id(message, envelope))
