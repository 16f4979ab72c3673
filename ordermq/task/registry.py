"""Which handler takes which message. Pure."""

from collections.abc import Callable, Iterable
from dataclasses import replace
from functools import partial
from typing import Any

from ordermq.errors import ConfigError, UnknownMessageType, UnsupportedVersion
from ordermq.message.envelope import Envelope
from ordermq.task.handler import Handler
from ordermq.task.transaction import Transaction
from ordermq.topology.names import check_queue

OnUnreadable = Callable[[str, Envelope, str, Transaction], None]


class Registry:
    """Handlers by queue and message type, and what modules do about messages that no handler can read."""

    def __init__(self, handlers: Iterable[Handler], on_unreadable: Iterable[OnUnreadable] = ()) -> None:
        self.on_unreadable = tuple(on_unreadable)
        self._by_queue: dict[str, dict[str, Handler]] = {}
        for handler in handlers:
            check_queue(handler.queue)
            types = self._by_queue.setdefault(handler.queue, {})
            if handler.type in types:
                both = " and ".join(_where(each) for each in (types[handler.type], handler))
                raise ConfigError(
                    f"queue {handler.queue!r} has two handlers for {handler.type}: {both}; remove one of them"
                )
            types[handler.type] = handler
        self._untyped = {queue: _untyped(queue, types) for queue, types in self._by_queue.items()}

    def bound_to(self, config: Any) -> "Registry":
        """Return the same handlers, with ``config`` for the plain ones that ask for it."""
        bound = (
            replace(each, call=partial(each.call, config=config)) if each.takes_config else each
            for types in self._by_queue.values()
            for each in types.values()
        )
        return Registry(bound, self.on_unreadable)

    @property
    def queues(self) -> tuple[str, ...]:
        """Names of the queues that have handlers, sorted."""
        return tuple(sorted(self._by_queue))

    def of_queue(self, queue: str) -> list[Handler]:
        """Return the queue's handlers. Raises ConfigError naming the queues there are."""
        if queue not in self._by_queue:
            known = ", ".join(self.queues) or "none"
            raise ConfigError(
                f"no handler for queue {queue!r}; queues with handlers: {known};"
                " is the module of its handler in the setting 'modules'?"
            )
        return list(self._by_queue[queue].values())

    def untyped(self, queue: str) -> str | None:
        """Return the type of a message that names none: the handler's that says so, or the only one."""
        return self._untyped.get(queue)

    def find(self, queue: str, envelope: Envelope) -> Handler:
        """Return the message's handler. Raises UnknownMessageType or UnsupportedVersion."""
        types = self._by_queue.get(queue, {})
        handler = types.get(envelope.type)
        if handler is None:
            raise UnknownMessageType(f"queue {queue!r} takes {', '.join(types)}, not {envelope.type}")
        if not 1 <= envelope.version <= handler.message.VERSION:
            raise UnsupportedVersion(
                f"{envelope.type} version {envelope.version} is newer than {handler.message.VERSION}, "
                "the newest this consumer knows"
            )
        return handler


def _untyped(queue: str, types: dict[str, Handler]) -> str | None:
    chosen = [each for each in types.values() if each.untyped]
    if len(chosen) > 1:
        both = " and ".join(_where(each) for each in chosen)
        raise ConfigError(
            f"queue {queue!r} has two handlers for messages without a type: {both}; remove one 'untyped'"
        )
    if len(types) == 1:
        return next(iter(types))
    return chosen[0].type if chosen else None


def _where(handler: Handler) -> str:
    return f"{handler.call.__module__}.{handler.call.__qualname__}"
