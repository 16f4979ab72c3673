"""How a module offers its handlers: one decorator for each of the two kinds.

A plain handler works inside one transaction::

    @handler(queue="inventory", message=ReserveStock, key="order_id", batch=200)
    def reserve_stock(messages: Sequence[ReserveStock], tx: Transaction) -> Sequence[Outcome]: ...

Without ``batch`` it takes one message and returns one outcome. With it, it takes
what has arrived, up to that many, and returns one outcome for each, in order.

What has no effect in the database, and may happen twice, needs neither transaction
nor inbox row, and is an order of magnitude faster without them::

    @handler(queue="cache", message=ProductChanged, batch=500, inbox=False)
    def forget(messages: Sequence[ProductChanged]) -> Sequence[Outcome]: ...

An external handler talks to the world outside and never holds a transaction while
it does::

    @external(queue="payment", message=CapturePayment, key="order_id")
    class CapturePaymentHandler:
        def prepare(self, claims, tx): ...    # write the intents; for each claim what to call, or an Outcome
        def call(self, request): ...          # no transaction, many at once, on a caller thread
        def complete(self, finished, tx): ... # write the results; an Outcome for each
"""

import inspect
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any, Generic, Protocol, TypeVar

from ordermq.errors import ConfigError
from ordermq.message.envelope import Envelope
from ordermq.message.payload import Payload
from ordermq.task.outcome import Outcome
from ordermq.task.retry import RetryOptions

P = TypeVar("P", bound=Payload)
F = TypeVar("F", bound=Callable[..., Any])
T = TypeVar("T")

OnDead = Callable[[Any, str, Any], None]
Lock = Callable[[Sequence[Any], Any], None]

DEFAULT = RetryOptions()

_MARK = "__ordermq_handler__"


@dataclass(frozen=True)
class Claim(Generic[P]):
    """One message an external handler holds the lease on.

    ``resumed`` says that an earlier owner's lease ran out: it may or may not have
    called. ``deadline_s`` is how long one call may take, in seconds.
    """

    message: P
    envelope: Envelope
    resumed: bool
    deadline_s: float


@dataclass(frozen=True)
class Finished(Generic[P]):
    """A claim whose call has ended, with what ``call`` returned or the exception it raised."""

    claim: Claim[P]
    result: Any


class ExternalHandler(Protocol):
    """What ``@external`` expects of a class; one instance serves all threads of a process.

    ``from_config`` makes it from the process's settings (``ordermq.config.Loaded``).
    ``prepare`` and ``complete`` get whatever has arrived or finished, up to a few
    hundred, sorted by correlation id, and answer for each in order. They run in a
    transaction and must be short: a handful of statements for all, not for each.
    If one raises, the others are tried without the culprit.

    What ``call`` raises is passed to ``complete`` as the result, as one of three:
    GatewayUnavailable (it had no effect), GatewayRefused (it never will) or OutcomeUnknown.
    Raised as such they pass as they are; any other error is OutcomeUnknown unless the
    handler's ``retry`` names its type. NotCalled, a GatewayUnavailable, says that the call
    was never made; ``complete`` should answer it with Retry or Postpone, neither of which
    counts then. ``complete`` must write by key: it is told the same result again if nobody
    knows whether its commit happened.
    """

    @classmethod
    def from_config(cls, config: Any) -> "ExternalHandler": ...

    def prepare(self, claims: Sequence[Claim[Any]], tx: Any) -> Sequence[Any]: ...

    def call(self, request: Any) -> Any: ...

    def complete(self, finished: Sequence[Finished[Any]], tx: Any) -> Sequence[Outcome]: ...


@dataclass(frozen=True)
class Handler:
    """A registered handler. ``batch`` 0 means one message a call.

    ``key`` names the payload's field that holds the correlation id; ``lock`` takes the
    row locks of a batch, in order, before the handler runs; ``on_dead`` writes what
    follows from giving the message up, in the transaction that stores the dead letter.
    ``retry`` is what it says of its retries. ``dependency`` names the service that an
    external handler calls; those of one process that name the same one share a breaker.
    Without ``inbox`` it gets no transaction, and is called again for a message that comes again.
    ``takes_delivery`` says that a plain handler has the parameter ``delivery`` or ``deliveries``.
    """

    queue: str
    message: type[Payload]
    call: Any
    batch: int = 0
    key: str | None = None
    lock: Lock | None = None
    on_dead: OnDead | None = None
    is_external: bool = False
    retry: RetryOptions = DEFAULT
    dependency: str = ""
    inbox: bool = True
    takes_delivery: bool = False

    @property
    def type(self) -> str:
        return self.message.__name__

    def correlation_id(self, payload: Payload, envelope: Envelope) -> str:
        """Return the id of what the message is about: the payload's word, else the envelope's."""
        return str(getattr(payload, self.key)) if self.key else envelope.correlation_id


def handler(
    *,
    queue: str,
    message: type[Payload],
    batch: int = 0,
    key: str | None = None,
    lock: Lock | None = None,
    on_dead: OnDead | None = None,
    retry: RetryOptions = DEFAULT,
    inbox: bool = True,
) -> Callable[[F], F]:
    """Offer a function as the handler of ``message`` on ``queue``. See the module."""
    _check(message, key)
    if lock is not None and not inbox:
        raise ConfigError(f"the handler of {message.__name__} has no transaction to lock rows in")
    made = Handler(queue, message, None, batch, key, lock, on_dead, retry=retry, inbox=inbox)

    def mark(function: F) -> F:
        setattr(
            function, _MARK, replace(made, call=function, takes_delivery=_takes_delivery(function, batch))
        )
        return function

    return mark


def external(
    *,
    queue: str,
    message: type[Payload],
    key: str | None = None,
    on_dead: OnDead | None = None,
    retry: RetryOptions = DEFAULT,
    dependency: str | None = None,
) -> Callable[[type[T]], type[T]]:
    """Offer a class as the external handler of ``message`` on ``queue``. See the module.

    ``dependency`` is the queue's name if it is not given.
    """
    _check(message, key)
    made = Handler(
        queue, message, None, key=key, on_dead=on_dead, is_external=True,
        retry=retry, dependency=dependency or queue,
    )  # fmt: skip

    def mark(cls: type[T]) -> type[T]:
        setattr(cls, _MARK, replace(made, call=cls))
        return cls

    return mark


def handlers_in(namespace: dict[str, Any]) -> list[Handler]:
    """Return the handlers among a module's names, in the order they were defined."""
    marked = [
        getattr(value, _MARK) for value in namespace.values() if callable(value) and hasattr(value, _MARK)
    ]
    return [each for each in marked if isinstance(each, Handler)]


def _takes_delivery(function: Callable[..., Any], batch: int) -> bool:
    return ("deliveries" if batch else "delivery") in inspect.signature(function).parameters


def _check(message: type[Payload], key: str | None) -> None:
    if key is not None and key not in message.__struct_fields__:
        raise ConfigError(f"{message.__name__} has no field {key!r} to be its key")
