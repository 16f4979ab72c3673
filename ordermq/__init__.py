"""Order processing on RabbitMQ and PostgreSQL that never loses or doubles an order.

The names of this package are its public API; docs/api.md says what each of them does. Each is
imported on first use, so ``import ordermq`` loads neither a driver nor a library.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

__version__ = "0.1.0"

if TYPE_CHECKING:
    from ordermq.cli.events.reading import read_events
    from ordermq.errors import (
        ConfigError,
        EventsMissed,
        GatewayRefused,
        GatewayUnavailable,
        HandlerMisbehaved,
        NotCalled,
        OrderMQError,
        OutcomeUnknown,
    )
    from ordermq.events.reader import EventReader
    from ordermq.events.stream import ReadEvent
    from ordermq.message.cloudevents import CloudEvent, RecordEvent
    from ordermq.message.command import Command
    from ordermq.message.event_types import EventTypes
    from ordermq.message.payload import Payload
    from ordermq.module import Module, RecordSource
    from ordermq.store.outbox import wake_relay
    from ordermq.store.transaction import join_transaction
    from ordermq.task.delivery import DeliveryInfo
    from ordermq.task.external import Claim, ExternalHandler, Finished, external
    from ordermq.task.handler import HandlerFunction
    from ordermq.task.outcome import DONE, Dead, Done, Outcome, Postpone, Retry
    from ordermq.task.plain import handler
    from ordermq.task.retry import CallFailure, RetryOptions
    from ordermq.task.transaction import Transaction
    from ordermq.testing.handling import run_handler

__all__ = [  # noqa: RUF022 # in the order of docs/api.md, under its headings
    # Handlers
    "handler",
    "HandlerFunction",
    "external",
    "ExternalHandler",
    "Claim",
    "Finished",
    "DeliveryInfo",
    "RetryOptions",
    # Outcomes
    "DONE",
    "Done",
    "Retry",
    "Postpone",
    "Dead",
    "Outcome",
    # Messages
    "Payload",
    "Command",
    # Transactions
    "Transaction",
    "join_transaction",
    "wake_relay",
    # Modules
    "Module",
    # Events
    "read_events",
    "EventReader",
    "ReadEvent",
    "CloudEvent",
    "RecordSource",
    "RecordEvent",
    "EventTypes",
    # Tests
    "run_handler",
    # Errors
    "OrderMQError",
    "ConfigError",
    "HandlerMisbehaved",
    "GatewayUnavailable",
    "GatewayRefused",
    "OutcomeUnknown",
    "NotCalled",
    "CallFailure",
    "EventsMissed",
]

_PLACES = {
    "ordermq.cli.events.reading": ("read_events",),
    "ordermq.errors": (
        "ConfigError", "EventsMissed", "GatewayRefused", "GatewayUnavailable", "HandlerMisbehaved",
        "NotCalled", "OrderMQError", "OutcomeUnknown",
    ),
    "ordermq.events.reader": ("EventReader",),
    "ordermq.events.stream": ("ReadEvent",),
    "ordermq.message.cloudevents": ("CloudEvent", "RecordEvent"),
    "ordermq.message.command": ("Command",),
    "ordermq.message.event_types": ("EventTypes",),
    "ordermq.message.payload": ("Payload",),
    "ordermq.module": ("Module", "RecordSource"),
    "ordermq.store.outbox": ("wake_relay",),
    "ordermq.store.transaction": ("join_transaction",),
    "ordermq.task.delivery": ("DeliveryInfo",),
    "ordermq.task.external": ("Claim", "ExternalHandler", "Finished", "external"),
    "ordermq.task.handler": ("HandlerFunction",),
    "ordermq.task.outcome": ("DONE", "Dead", "Done", "Outcome", "Postpone", "Retry"),
    "ordermq.task.plain": ("handler",),
    "ordermq.task.retry": ("CallFailure", "RetryOptions"),
    "ordermq.task.transaction": ("Transaction",),
    "ordermq.testing.handling": ("run_handler",),
}  # fmt: skip
_MODULE_OF = {name: module for module, names in _PLACES.items() for name in names}


if not TYPE_CHECKING:  # a type checker would take any name for one of this module then

    def __getattr__(name: str) -> Any:
        if name not in _MODULE_OF:
            raise AttributeError(f"module 'ordermq' has no attribute {name!r}")
        value = getattr(import_module(_MODULE_OF[name]), name)
        globals()[name] = value
        return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
