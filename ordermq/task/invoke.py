"""The one way to call a handler: a consumer and ``run_handler`` both come through here.

What the handler raises passes through, except from ``call`` of an external handler, whose
errors are a result. What it returns is checked: one outcome for each message, of the right types.
"""

from collections.abc import Callable, Iterable, Sequence
from typing import Any

from ordermq.errors import HandlerMisbehaved, NotCalled, OutcomeUnknown
from ordermq.message.payload import Payload
from ordermq.task.delivery import DeliveryInfo
from ordermq.task.external import Claim, ExternalHandler, Finished
from ordermq.task.handler import Handler
from ordermq.task.outcome import DONE, Dead, Done, Outcome, Postpone, Retry
from ordermq.task.retry import describe, failure_of
from ordermq.task.transaction import Transaction

Instance = ExternalHandler[Any, Any, Any]


def invoke_plain(
    handler: Handler,
    messages: Sequence[Payload],
    tx: Transaction | None,
    deliveries: Callable[[], Sequence[DeliveryInfo]],
) -> list[Outcome]:
    """Call a plain handler for ``messages``; return one outcome for each, in order.

    ``tx`` is passed on to a handler with inbox only. ``deliveries()`` returns the context of each
    message, and is called only if the handler asks for it. A handler of single messages that
    returns None has said Done. Raises HandlerMisbehaved, and whatever the handler raises.
    """
    given = (tx,) if handler.inbox else ()
    if handler.batch:
        more = {"deliveries": deliveries()} if handler.takes_delivery else {}
        return checked(handler.call(messages, *given, **more), len(messages))
    if not handler.takes_delivery:
        outcomes = [handler.call(message, *given) for message in messages]
    else:
        pairs = zip(messages, deliveries(), strict=True)
        outcomes = [handler.call(message, *given, delivery=delivery) for message, delivery in pairs]
    return checked([DONE if outcome is None else outcome for outcome in outcomes], len(messages))


def invoke_prepare(instance: Instance, claims: Sequence[Claim[Any]], tx: Transaction) -> list[Any]:
    """Have an external handler prepare ``claims``; return a request or an Outcome for each, in order.

    Raises HandlerMisbehaved, and whatever the handler raises.
    """
    answers = _as_list(instance.prepare(claims, tx), len(claims), "answers")
    for answer in answers:
        if isinstance(answer, Outcome):
            _check(answer)
    return answers


def invoke_call(instance: Instance, handler: Handler, request: Any) -> Any:
    """Make one call of an external handler; return what ``complete`` is handed. Never raises.

    That is what ``call`` returned, or else GatewayUnavailable, GatewayRefused or OutcomeUnknown,
    whose ``__cause__`` is the error that ``call`` raised if it was another one.
    """
    try:
        try:
            return instance.call(request)
        except Exception as exc:
            return failure_of(exc, handler.retry)
    except BaseException as exc:  # sys.exit() and the like end no thread, nor does an error without words
        unknown = OutcomeUnknown(_ended_in(exc))
        unknown.__cause__ = exc
        return unknown


def invoke_complete(
    instance: Instance, finished: Sequence[Finished[Any, Any]], tx: Transaction
) -> list[Outcome]:
    """Have an external handler write the results of its calls; return an outcome for each, in order.

    A call that was not made costs no attempt: Retry or Postpone becomes a Postpone without delay
    then. Raises HandlerMisbehaved, and whatever the handler raises.
    """
    outcomes = checked(instance.complete(finished, tx), len(finished))
    return [_uncounted(outcome, each.result) for outcome, each in zip(outcomes, finished, strict=True)]


def _uncounted(outcome: Outcome, result: Any) -> Outcome:
    if isinstance(result, NotCalled) and isinstance(outcome, Retry | Postpone):
        return Postpone(outcome.reason, 0.0)
    return outcome


def checked(outcomes: object, count: int) -> list[Outcome]:
    """Return what a handler answered to ``count`` messages as a list. Raises HandlerMisbehaved."""
    answers = _as_list(outcomes, count, "outcomes")
    for outcome in answers:
        if outcome is not DONE:
            _check(outcome)
    return answers


def _as_list(answers: object, count: int, what: str) -> list[Any]:
    if not isinstance(answers, Iterable):
        raise HandlerMisbehaved(f"{type(answers).__name__} is not a sequence of {what}")
    listed = list(answers)
    if len(listed) != count:
        raise HandlerMisbehaved(f"{len(listed)} {what} for {count} messages")
    return listed


def _check(outcome: object) -> None:
    name = type(outcome).__name__
    if not isinstance(outcome, Outcome):
        raise HandlerMisbehaved(f"{name} is not Done, Retry, Postpone or Dead")
    if isinstance(outcome, Retry | Postpone | Dead) and not isinstance(outcome.reason, str):
        raise HandlerMisbehaved(f"the reason of a {name} is a {type(outcome.reason).__name__}, not a str")
    delay_s = None if isinstance(outcome, Done | Dead) else outcome.delay_s
    if not (delay_s is None or isinstance(delay_s, int | float)):
        raise HandlerMisbehaved(f"the delay_s of a {name} is a {type(delay_s).__name__}, not a number")


def _ended_in(error: BaseException) -> str:
    try:
        return f"the call ended in {describe(error)}"
    except BaseException:
        return f"the call ended in {type(error).__name__}"
