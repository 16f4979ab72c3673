"""Which handler takes which message: loaded from the modules the configuration names.

A module, or else the package it is in, may also name

    ON_UNREADABLE = f    f(queue, envelope, reason, tx): what follows from a dead letter that no
                         handler could read, in its transaction, if it has a correlation_id.
                         Everything it is told is untrusted, the correlation_id too
"""

import importlib
from collections.abc import Callable, Iterable
from typing import Any

from ordermq.errors import ConfigError, UnknownMessageType, UnsupportedVersion
from ordermq.message.envelope import Envelope
from ordermq.task.handler import Handler, handlers_in
from ordermq.topology.names import check_queue

OnUnreadable = Callable[[str, Envelope, str, Any], None]


class Registry:
    """Handlers by queue and message type, and what is told of messages that none can read."""

    def __init__(self, handlers: Iterable[Handler], on_unreadable: Iterable[OnUnreadable] = ()) -> None:
        self.on_unreadable = tuple(on_unreadable)
        self._by_queue: dict[str, dict[str, Handler]] = {}
        for handler in handlers:
            check_queue(handler.queue)
            types = self._by_queue.setdefault(handler.queue, {})
            if handler.type in types:
                raise ConfigError(f"queue {handler.queue!r} has two handlers for {handler.type}")
            types[handler.type] = handler

    @property
    def queues(self) -> tuple[str, ...]:
        """Names of the queues that have handlers, sorted."""
        return tuple(sorted(self._by_queue))

    def of_queue(self, queue: str) -> list[Handler]:
        """Return the queue's handlers. Raises ConfigError naming the queues there are."""
        if queue not in self._by_queue:
            known = ", ".join(self.queues) or "none"
            raise ConfigError(f"no handler for queue {queue!r}; queues with handlers: {known}")
        return list(self._by_queue[queue].values())

    def only_type(self, queue: str) -> str | None:
        """Return the type of a message that names none, if the queue takes just one."""
        types = list(self._by_queue.get(queue, ()))
        return types[0] if len(types) == 1 else None

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


def load(modules: Iterable[str]) -> Registry:
    """Import ``modules`` and collect what they offer. Raises ConfigError naming the module."""
    found: list[Handler] = []
    on_unreadable: dict[OnUnreadable, None] = {}  # each once, in order
    for name in modules:
        try:
            module = importlib.import_module(name)
        except (ImportError, SyntaxError) as exc:
            raise ConfigError(f"consumer.handlers: cannot import {name!r}: {exc}") from exc
        handlers = handlers_in(vars(module))
        if not handlers:
            raise ConfigError(f"consumer.handlers: {name!r} offers no handler")
        found += handlers
        told = named(name, "ON_UNREADABLE", None)
        if told is not None:
            if not callable(told):
                raise ConfigError(f"consumer.handlers: ON_UNREADABLE of {name!r} is no function")
            on_unreadable[told] = None
    return Registry(found, on_unreadable)


def named(module: str, name: str, default: Any) -> Any:
    """Return what the module says under ``name``, or else its package."""
    package = module.rpartition(".")[0]
    for each in filter(None, (module, package)):
        value = getattr(importlib.import_module(each), name, None)
        if value is not None:
            return value
    return default
