"""``@external``: a class that talks to the world outside, and never holds a transaction while it does."""

from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Generic, Self, TypeVar, get_args, get_origin

from ordermq.config import Loaded
from ordermq.errors import ConfigError
from ordermq.message.command import Command
from ordermq.message.envelope import Envelope
from ordermq.message.payload import Payload
from ordermq.task.handler import DEFAULT, MARK, Handler, OnDead, check_key, handler_of
from ordermq.task.outcome import Outcome
from ordermq.task.retry import CallFailure, RetryOptions
from ordermq.task.transaction import Transaction

P = TypeVar("P", bound=Payload)
Request = TypeVar("Request")
Result = TypeVar("Result")


@dataclass(frozen=True)
class Claim(Generic[P]):
    """One message an external handler holds the lease on.

    ``resumed`` says that the lease of an earlier owner ran out: it may or may not have
    called. ``deadline_s`` is how long one call may take, in seconds.
    """

    message: P
    envelope: Envelope
    resumed: bool
    deadline_s: float


@dataclass(frozen=True)
class Finished(Generic[P, Result]):
    """A claim whose call has ended.

    ``result`` is what ``call`` returned, or what its error means: GatewayUnavailable, GatewayRefused
    or OutcomeUnknown.
    """

    claim: Claim[P]
    result: Result | CallFailure


class ExternalHandler(ABC, Generic[P, Request, Result]):
    """Base of a handler that calls another service, to be decorated with ``@external``.

    ``P`` is its payload, ``Request`` what ``prepare`` hands to ``call``, ``Result`` what ``call``
    returns. One instance serves all threads of a process.

    ``prepare`` and ``complete`` get whatever has arrived or finished, up to a few hundred, sorted
    by correlation id, and answer for each in order. They run in a transaction and must be short: a
    handful of statements for all, not for each. If one raises, the others are tried without the
    culprit.
    """

    @classmethod
    def from_config(cls, config: Loaded) -> Self:
        """Make the one instance of a process; ``config.section(name)`` is a section of the settings."""
        return cls()

    @abstractmethod
    def prepare(self, claims: Sequence[Claim[P]], tx: Transaction) -> Sequence[Request | Outcome]:
        """Write what is about to be called; return a request for each claim, or an Outcome without a call."""

    @abstractmethod
    def call(self, request: Request) -> Result:
        """Make one call, on one of many threads, without a transaction; end within the claim's deadline.

        An exception is a result for ``complete``. GatewayUnavailable (the call had no effect),
        GatewayRefused (it never will) and OutcomeUnknown pass as they are. Any other error is
        OutcomeUnknown unless the handler's ``retry`` names its type.
        """

    @abstractmethod
    def complete(self, finished: Sequence[Finished[P, Result]], tx: Transaction) -> Sequence[Outcome]:
        """Write the results; return an Outcome for each.

        Write by key: the same result comes again if it is not known whether its commit happened.
        NotCalled, a GatewayUnavailable, says that the call was never made; answer it with Retry or
        Postpone, neither of which counts as an attempt then.
        """

    @classmethod
    def command(
        cls,
        payload: P,
        *,
        message_id: str | None = None,
        correlation_id: str | None = None,
        delay_s: float = 0.0,
    ) -> Command:
        """Return the command that has this handler handle ``payload``, as ``HandlerFunction.command`` does.

        Raises UsageError if ``payload`` is not what this handler takes, ConfigError if the class is
        not decorated.
        """
        made = handler_of(cls)
        if made is None:
            raise ConfigError(f"{cls.__name__} is not decorated with @external")
        return made.command(payload, message_id=message_id, correlation_id=correlation_id, delay_s=delay_s)


def external(
    *,
    queue: str,
    message: type[P],
    key: str | None = None,
    on_dead: OnDead[P] | None = None,
    retry: RetryOptions = DEFAULT,
    dependency: str | None = None,
    limit_key: str | None = None,
    untyped: bool = False,
) -> Callable[[type[ExternalHandler[P, Any, Any]]], Any]:
    """Offer a subclass of ExternalHandler as the handler of ``message`` on ``queue``.

    ``key`` names the payload's field that holds the correlation id. ``on_dead(message, reason, tx)``
    writes what follows from giving a message up, in the transaction that keeps the dead letter.
    ``dependency`` names the service that is called, the queue's name if it is not given: handlers
    of one process with the same dependency share a breaker, which stops calling while the service
    fails, and all that call it share its limit (``ordermq limits``). ``limit_key`` names the payload's
    field, such as a merchant, by which that limit can be shared out. With ``untyped`` the class also
    takes messages that name no type; the only handler of a queue always does. Raises ConfigError for a
    class of another payload or without one of the three methods, or a key that the payload does not have.
    """
    # mypy checks the class against the payload here and keeps its type, whatever is returned.
    check_key(message, key)
    check_key(message, limit_key, name="limit_key")

    def decorate(cls: type[ExternalHandler[P, Any, Any]]) -> Any:
        _check_class(cls, message)
        made = Handler(
            queue, message, cls, key=key, on_dead=on_dead, is_external=True,
            retry=retry, dependency=dependency or queue, limit_key=limit_key, untyped=untyped,
        )  # fmt: skip
        setattr(cls, MARK, made)
        return cls

    return decorate


def instance_of(handler: Handler, config: Loaded) -> ExternalHandler[Any, Any, Any]:
    """Return the instance of an external handler that serves all threads of a process."""
    made: ExternalHandler[Any, Any, Any] = handler.call.from_config(config)  # type: ignore[attr-defined] # a class
    return made


def _check_class(cls: type, message: type[Payload]) -> None:
    if not issubclass(cls, ExternalHandler):
        raise ConfigError(f"{cls.__name__} is not a subclass of ExternalHandler")
    if missing := sorted(cls.__abstractmethods__):
        raise ConfigError(f"{cls.__name__} does not define {', '.join(missing)}")
    payload = _payload_of(cls)
    if isinstance(payload, type) and payload is not message:
        raise ConfigError(f"{cls.__name__} handles {payload.__name__}, not {message.__name__}")


def _payload_of(cls: type) -> object:
    """Return what ``cls`` gives to ExternalHandler for P; a TypeVar or None if it leaves that open."""
    for base in vars(cls).get("__orig_bases__", cls.__bases__):
        origin, arguments = get_origin(base) or base, get_args(base)
        if origin is ExternalHandler:
            return arguments[0] if arguments else None
        if isinstance(origin, type) and issubclass(origin, ExternalHandler):
            found = _payload_of(origin)
            if isinstance(found, TypeVar) and arguments:
                return arguments[origin.__parameters__.index(found)]  # type: ignore[attr-defined] # of a generic class
            return found
    return None
