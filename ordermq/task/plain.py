"""``@handler``: a function that works inside one transaction, or without any."""

import inspect
from collections.abc import Callable, Sequence
from typing import Any, Literal, Protocol, TypeVar, overload

from ordermq.errors import ConfigError
from ordermq.message.payload import Payload
from ordermq.task.delivery import DeliveryInfo
from ordermq.task.handler import DEFAULT, Handler, HandlerFunction, OnDead, check_key
from ordermq.task.outcome import Outcome
from ordermq.task.retry import RetryOptions
from ordermq.task.transaction import Transaction

P = TypeVar("P", bound=Payload)
P_contra = TypeVar("P_contra", bound=Payload, contravariant=True)

One = Outcome | None
Many = Sequence[Outcome]

# The shapes of functions that ask for the context of their messages.


class _Asks(Protocol[P_contra]):
    def __call__(self, message: P_contra, tx: Transaction, /, *, delivery: DeliveryInfo) -> One: ...


class _BatchAsks(Protocol[P_contra]):
    def __call__(
        self, messages: Sequence[P_contra], tx: Transaction, /, *, deliveries: Sequence[DeliveryInfo]
    ) -> Many: ...


class _BareAsks(Protocol[P_contra]):
    def __call__(self, message: P_contra, /, *, delivery: DeliveryInfo) -> One: ...


class _BareBatchAsks(Protocol[P_contra]):
    def __call__(self, messages: Sequence[P_contra], /, *, deliveries: Sequence[DeliveryInfo]) -> Many: ...


# What ``@handler(...)`` decorates, by its options.


class _Single(Protocol[P]):
    @overload
    def __call__(
        self, f: Callable[[P, Transaction], One], /
    ) -> HandlerFunction[P, [P, Transaction], One]: ...
    @overload
    def __call__(self, f: _Asks[P], /) -> HandlerFunction[P, [P, Transaction, DeliveryInfo], One]: ...


class _Batch(Protocol[P]):
    @overload
    def __call__(
        self, f: Callable[[Sequence[P], Transaction], Many], /
    ) -> HandlerFunction[P, [Sequence[P], Transaction], Many]: ...
    @overload
    def __call__(
        self, f: _BatchAsks[P], /
    ) -> HandlerFunction[P, [Sequence[P], Transaction, Sequence[DeliveryInfo]], Many]: ...


class _Bare(Protocol[P]):
    @overload
    def __call__(self, f: Callable[[P], One], /) -> HandlerFunction[P, [P], One]: ...
    @overload
    def __call__(self, f: _BareAsks[P], /) -> HandlerFunction[P, [P, DeliveryInfo], One]: ...


class _BareBatch(Protocol[P]):
    @overload
    def __call__(self, f: Callable[[Sequence[P]], Many], /) -> HandlerFunction[P, [Sequence[P]], Many]: ...
    @overload
    def __call__(
        self, f: _BareBatchAsks[P], /
    ) -> HandlerFunction[P, [Sequence[P], Sequence[DeliveryInfo]], Many]: ...


@overload
def handler(
    *, queue: str, message: type[P], key: str | None = ..., on_dead: OnDead[P] | None = ...,
    retry: RetryOptions = ..., untyped: bool = ...,
) -> _Single[P]: ...  # fmt: skip
@overload
def handler(
    *, queue: str, message: type[P], batch: int, key: str | None = ..., on_dead: OnDead[P] | None = ...,
    retry: RetryOptions = ..., untyped: bool = ...,
) -> _Batch[P]: ...  # fmt: skip
@overload
def handler(
    *, queue: str, message: type[P], inbox: Literal[False], key: str | None = ...,
    on_dead: OnDead[P] | None = ..., retry: RetryOptions = ..., untyped: bool = ...,
) -> _Bare[P]: ...  # fmt: skip
@overload
def handler(
    *, queue: str, message: type[P], inbox: Literal[False], batch: int, key: str | None = ...,
    on_dead: OnDead[P] | None = ..., retry: RetryOptions = ..., untyped: bool = ...,
) -> _BareBatch[P]: ...  # fmt: skip
def handler(
    *,
    queue: str,
    message: type[P],
    batch: int = 0,
    key: str | None = None,
    on_dead: OnDead[P] | None = None,
    retry: RetryOptions = DEFAULT,
    inbox: bool = True,
    untyped: bool = False,
) -> Callable[..., HandlerFunction[P, ..., Any]]:
    """Offer a function as the handler of ``message`` on ``queue``.

    (message, tx) -> Outcome                    one message; None is Done
    (messages, tx) -> Sequence[Outcome]         with batch: up to so many messages, an outcome for each
    (message), (messages)                       with inbox=False: no transaction, and a message may be
                                                handled twice
    (..., delivery: DeliveryInfo)               any of them, to be given the context of the message
    (..., deliveries: Sequence[DeliveryInfo])   the same of a batch: one for each message
    (..., config: Any = None)                   any of them, to be given the loaded settings by a consumer

    ``key`` names the payload's field that holds the correlation id. ``on_dead(message, reason, tx)``
    writes what follows from giving a message up, in the transaction that keeps the dead letter.
    The function runs on a worker thread in a transaction that commits only if the outcome is Done;
    what it raises becomes Retry or Dead, as ``retry`` says. It must end within
    ``consumer.handler_deadline_s``, or the process ends. With ``untyped`` the function also takes
    messages that name no type; the only handler of a queue always does. Raises ConfigError for a
    ``key`` that the payload does not have, and for a function that cannot be called like this.
    """
    check_key(message, key)

    def decorate(function: Callable[..., Any]) -> HandlerFunction[P, ..., Any]:
        parameters = inspect.signature(function).parameters
        made = Handler(
            queue, message, function, batch, key, on_dead, retry=retry, inbox=inbox,
            takes_delivery=("deliveries" if batch else "delivery") in parameters,
            takes_config="config" in parameters, untyped=untyped,
        )  # fmt: skip
        _check_function(function, made)
        return HandlerFunction(function, made)

    return decorate


def _check_function(function: Callable[..., Any], made: Handler) -> None:
    """Raise ConfigError unless a consumer can call ``function`` as it will (``task/invoke.py``)."""
    name = getattr(function, "__qualname__", repr(function))
    if inspect.iscoroutinefunction(function):
        raise ConfigError(f"{name} is async; a handler blocks, so write def in place of async def")
    given = ["messages" if made.batch else "message", *(["tx"] if made.inbox else [])]
    asked = ["deliveries" if made.batch else "delivery"] if made.takes_delivery else []
    named = dict.fromkeys([*asked, *(["config"] if made.takes_config else [])])
    try:
        inspect.signature(function).bind(*given, **named)
    except TypeError as exc:
        called = ", ".join([*given, *(f"{each}={each}" for each in named)])
        raise ConfigError(f"{name} is called as {name}({called}), and cannot be: {exc}") from exc
