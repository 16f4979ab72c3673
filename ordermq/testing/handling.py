"""Run a handler in a test as a consumer does, without a broker and without a process."""

import json
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing, contextmanager
from dataclasses import dataclass, field
from typing import Any

from msgspec.structs import replace

from ordermq.clock import utc_now
from ordermq.config.settings import DatabaseSettings
from ordermq.errors import UsageError
from ordermq.message.envelope import Envelope
from ordermq.message.payload import Payload
from ordermq.observe import trace
from ordermq.store import Session, Transaction
from ordermq.task.handler import Claim, Finished, Handler, handlers_in
from ordermq.task.outcome import DONE, Done, Outcome

_SENT = """
    SELECT routing_key, type, message_id, convert_from(body, 'UTF8')
      FROM ordermq.outbox WHERE xmin = pg_current_xact_id()::xid ORDER BY outbox_id
"""

CALL_S = 5.0


@dataclass(frozen=True)
class Sent:
    """A message the handler wrote to the outbox; ``body`` is its JSON, read."""

    queue: str
    type: str
    message_id: str
    body: dict[str, Any]


@dataclass
class Ran:
    """What ``run_handler`` saw. ``results`` are what an external handler's calls returned or raised."""

    outcomes: list[Outcome] = field(default_factory=list)
    sent: list[Sent] = field(default_factory=list)
    results: list[Any] = field(default_factory=list)


class _RollBack(Exception):
    """Ends a transaction whose writes were only to be seen."""


def run_handler(
    handler: Any,
    *messages: Payload,
    session: Session | DatabaseSettings,
    commit: bool = False,
    resumed: bool = False,
    check: Callable[[Transaction], None] | None = None,
) -> Ran:
    """Handle ``messages`` with ``handler`` in a real transaction; return the outcomes and what was sent.

    ``handler`` is a function with ``@handler``, or an *instance* of a class with
    ``@external``: then all messages are prepared, called one after the other, and
    completed. ``resumed`` tells it that an earlier owner's lease ran out.

    Everything is rolled back, unless ``commit``: then a plain handler's writes stay if it
    answered Done to every message, as in a consumer, and an external handler's always do.
    ``check(tx)`` sees the writes before either.

    What a consumer adds is not done here: no inbox row, retry, dead letter or on_dead.
    What the handler raises passes through, with everything rolled back.
    """
    if isinstance(session, DatabaseSettings):
        with closing(Session(session, name="run_handler")) as opened:
            return run_handler(
                handler, *messages, session=opened, commit=commit, resumed=resumed, check=check
            )
    marked = _marked(handler)
    envelopes = [_envelope(marked, message, number) for number, message in enumerate(messages)]
    traces = {each.correlation_id: each.traceparent for each in envelopes}
    ran = Ran()
    if not marked.is_external:
        with _transaction(session, traces, lambda: commit and _all_done(ran)) as tx:
            ran.outcomes = _handled(marked, messages, tx)
            _look(tx, ran, check)
        return ran
    claims = [Claim(*each, resumed, CALL_S) for each in zip(messages, envelopes, strict=True)]
    with _transaction(session, traces, lambda: commit) as tx:
        answers = list(handler.prepare(claims, tx))
        if commit:
            _look(tx, ran, None)
        else:
            ran.outcomes = _completed(handler, claims, answers, tx, ran)
            _look(tx, ran, check)
    if commit:
        with _transaction(session, traces, lambda: True) as tx:
            ran.outcomes = _completed(handler, claims, answers, tx, ran)
            _look(tx, ran, check)
    return ran


@contextmanager
def _transaction(
    session: Session, traces: dict[str, str], is_kept: Callable[[], bool]
) -> Iterator[Transaction]:
    try:
        with session.transaction(traces=traces) as tx:
            yield tx
            if not is_kept():
                raise _RollBack
    except _RollBack:
        return


def _handled(marked: Handler, messages: Sequence[Payload], tx: Transaction) -> list[Outcome]:
    if marked.lock is not None:
        marked.lock(messages, tx)
    given = (tx,) if marked.inbox else ()
    if marked.batch:
        return list(marked.call(messages, *given))
    return [DONE if (outcome := marked.call(message, *given)) is None else outcome for message in messages]


def _completed(
    instance: Any, claims: Sequence[Claim[Any]], answers: Sequence[Any], tx: Transaction, ran: Ran
) -> list[Outcome]:
    finished: list[Finished[Any]] = []
    for claim, answer in zip(claims, answers, strict=True):
        if not isinstance(answer, Outcome):
            ran.results.append(_called(instance, answer))
            finished.append(Finished(claim, ran.results[-1]))
    outcomes = iter(instance.complete(finished, tx) if finished else ())
    return [answer if isinstance(answer, Outcome) else next(outcomes) for answer in answers]


def _called(instance: Any, request: Any) -> Any:
    try:
        return instance.call(request)
    except Exception as exc:  # complete() decides what it means
        return exc


def _look(tx: Transaction, ran: Ran, check: Callable[[Transaction], None] | None) -> None:
    for queue, type_, message_id, body in tx.fetch_all(_SENT):
        ran.sent.append(Sent(queue, type_, message_id, json.loads(body)))
    if check is not None:
        check(tx)


def _all_done(ran: Ran) -> bool:
    return all(isinstance(outcome, Done) for outcome in ran.outcomes)


def _marked(handler: Any) -> Handler:
    if isinstance(handler, type):
        raise UsageError("run_handler() needs an instance of an external handler, not its class")
    # An instance carries its class's mark, but is not callable itself.
    found = handlers_in({"": handler if callable(handler) else type(handler)})
    if not found:
        raise UsageError(f"{handler!r} is neither a function with @handler nor an instance with @external")
    return found[0]


def _envelope(marked: Handler, message: Payload, number: int) -> Envelope:
    envelope = Envelope(
        message_id=f"test:{number}",
        type=marked.type,
        version=message.VERSION,
        correlation_id="",
        traceparent=trace.new(),
        occurred_at=utc_now(),
    )
    return replace(envelope, correlation_id=marked.correlation_id(message, envelope))
