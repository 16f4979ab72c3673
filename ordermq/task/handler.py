"""What the framework knows of a handler, and how a project's module offers it."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import update_wrapper
from typing import Any, Generic, ParamSpec, TypeVar

from ordermq.errors import ConfigError, UsageError
from ordermq.message.command import Command
from ordermq.message.envelope import Envelope
from ordermq.message.payload import Payload
from ordermq.task.retry import RetryOptions
from ordermq.task.transaction import Transaction

P = TypeVar("P", bound=Payload)
A = ParamSpec("A")
R_co = TypeVar("R_co", covariant=True)

OnDead = Callable[[P, str, Transaction], None]

DEFAULT = RetryOptions()

MARK = "__ordermq_handler__"  # the attribute by which a decorated function or class names its Handler


@dataclass(frozen=True)
class Handler:
    """A registered handler. ``batch`` 0 means one message a call.

    ``call`` is the function, or the class of an external handler. ``key`` names the payload's
    field that holds the correlation id. ``on_dead`` writes what follows from giving the message
    up, in the transaction that stores the dead letter. ``retry`` is what the handler says of its
    retries. ``dependency`` names the service that an external handler calls; the handlers of one
    process that name the same one share a breaker. ``limit_key`` names the payload's field by which a
    limit on the service is shared out. Without ``inbox`` a handler gets no
    transaction, and is called again for a message that comes again. ``takes_delivery`` says that
    a plain handler has the parameter ``delivery`` or ``deliveries``, ``takes_config`` that it has ``config``.
    ``untyped`` says that it also takes the queue's messages that name no type.
    """

    queue: str
    message: type[Payload]
    call: Callable[..., Any]
    batch: int = 0
    key: str | None = None
    on_dead: OnDead[Any] | None = None
    is_external: bool = False
    retry: RetryOptions = DEFAULT
    dependency: str = ""
    inbox: bool = True
    takes_delivery: bool = False
    takes_config: bool = False
    limit_key: str | None = None
    untyped: bool = False

    @property
    def type(self) -> str:
        """The message's type, as it stands in the message's properties."""
        return self.message.__name__

    def correlation_id(self, payload: Payload, envelope: Envelope) -> str:
        """Return the id of what the message is about: the payload's key, or else the envelope's."""
        return str(getattr(payload, self.key)) if self.key else envelope.correlation_id

    def command(
        self, payload: Payload, *, message_id: str | None, correlation_id: str | None, delay_s: float
    ) -> Command:
        """Return the command that has this handler handle ``payload``. Raises UsageError for another type."""
        if not isinstance(payload, self.message):
            raise UsageError(f"queue {self.queue!r} takes {self.type} here, not {type(payload).__name__}")
        if correlation_id is None:
            correlation_id = str(getattr(payload, self.key)) if self.key else ""
        return Command(self.queue, message_id or "", correlation_id, payload, delay_s)


class HandlerFunction(Generic[P, A, R_co]):
    """A function with ``@handler``: call it as before, or have ``command`` make messages for it.

    Its call runs the function alone, without anything that a consumer does around it.
    """

    def __init__(self, function: Callable[A, R_co], handler: Handler) -> None:
        update_wrapper(self, function)
        self._function = function
        self._handler = handler
        setattr(self, MARK, handler)

    def __call__(self, *args: A.args, **kwargs: A.kwargs) -> R_co:
        return self._function(*args, **kwargs)

    def command(
        self,
        payload: P,
        *,
        message_id: str | None = None,
        correlation_id: str | None = None,
        delay_s: float = 0.0,
    ) -> Command:
        """Return the command that has this handler handle ``payload``: ``tx.send(f.command(...))``.

        ``correlation_id`` is the payload's key unless it is given. The consumer takes the message
        ``delay_s`` seconds after the commit at the earliest. Without ``message_id`` the command gets
        one where it is sent, by the rule that stands at Command. Raises UsageError if ``payload``
        is not what this handler takes.
        """
        return self._handler.command(
            payload, message_id=message_id, correlation_id=correlation_id, delay_s=delay_s
        )

    def __repr__(self) -> str:
        return (
            f"<handler {self._handler.call.__qualname__} of {self._handler.type} on {self._handler.queue!r}>"
        )


def check_key(message: type[Payload], key: str | None, *, name: str = "key") -> None:
    """Raise ConfigError if ``message`` is no Payload or has no field ``key``; ``name`` says what for."""
    if not (isinstance(message, type) and issubclass(message, Payload)):
        raise ConfigError(f"message={message!r} is not a class of messages; derive one from ordermq.Payload")
    if key is not None and key not in message.__struct_fields__:
        raise ConfigError(f"{message.__name__} has no field {key!r} to be its {name}")


def handler_of(offered: object) -> Handler | None:
    """Return the Handler of a decorated function or class; None for anything else."""
    found = getattr(offered, MARK, None) if callable(offered) else None
    return found if isinstance(found, Handler) else None


def handlers_in(namespace: Mapping[str, Any]) -> list[Handler]:
    """Return the handlers among a module's names, in the order they were defined."""
    return [found for value in namespace.values() if (found := handler_of(value)) is not None]
