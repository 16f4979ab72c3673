"""An AsyncAPI 3 document of what a program's queues take: made from its topology and handlers. Pure.

    channel NAME         where senders publish: exchange PREFIX, routing key NAME
    channel NAME.queue   where consumers read: the queue PREFIX.NAME
    channel events       where the relay publishes events, and events.log.queue, the stream of them

AMQP's bindings 0.3.0 have no place for the arguments of a queue and for what is bound to what; these stand in
``x-arguments`` and ``x-bound-to``. A message's AMQP properties stand in ``x-amqp-properties``.
"""

import inspect
from collections.abc import Iterable, Mapping
from typing import Any
from urllib.parse import quote

import msgspec

from ordermq import __version__
from ordermq.cli.asyncapi.message_schemas import CLOUD_EVENT, HEADERS, PROPERTIES
from ordermq.config.settings import Settings
from ordermq.message import headers
from ordermq.task import Handler, Registry
from ordermq.topology import BindingSpec, ExchangeSpec, QueueSpec, Topology
from ordermq.topology.names import DEAD, EVENTS, short_name

_AMQP = {"bindingVersion": "0.3.0"}
_SCHEMAS = "#/components/schemas/{name}"
_EVENT, _LOG = "CloudEvent", f"{EVENTS}.log"
_BY_TYPE = {
    "address": "{eventType}",
    "parameters": {
        "eventType": {
            "description": "The event's type with a dot for its first underscore: payment.captured. Bind a"
            " queue to 'payment.*' for some events, and to '#' for all."
        }
    },
}


def describe(topology: Topology, registry: Registry, settings: Settings) -> dict[str, Any]:
    """Return the document: plain data, in the order in which people read it."""
    prefix = settings.topology.prefix
    handlers = {queue: registry.of_queue(queue) for queue in registry.queues}
    names = _message_names(handlers)
    channels: dict[str, Any] = {}
    operations: dict[str, Any] = {}
    for spec in topology.queues:
        queue = short_name(prefix, spec.name)
        messages = [names[queue, each.type] for each in handlers.get(queue, ())] or [_other(queue)]
        for binding in (each for each in topology.bindings if each.queue == spec.name):
            if (name := _sending_name(binding, prefix, queue)) is not None:
                channels[name] = _sending(binding, topology, messages)
                operations[f"send_{name}"] = _operation(
                    "send", name, deliveryMode=2, mandatory=name != EVENTS
                )
        channels[f"{queue}.queue"] = _reading(spec, topology, messages)
        operations[f"receive_{queue}"] = _operation("receive", f"{queue}.queue", ack=True)
    known = {names[queue, each.type]: each for queue, some in handlers.items() for each in some}
    unknown = [_other(name) for name in (short_name(prefix, each.name) for each in topology.queues)
               if name not in handlers]  # fmt: skip
    return {
        "asyncapi": "3.0.0",
        "info": {
            "title": f"Messages of {prefix}",
            "version": __version__,
            "description": "Written by 'ordermq asyncapi' from modules and settings.",
        },
        "defaultContentType": headers.CONTENT_TYPE,
        "servers": _servers(settings),
        "channels": channels,
        "operations": operations,
        "components": {
            "messages": {name: _message(each) for name, each in known.items()}
            | {name: _opaque(name) for name in unknown},
            "schemas": _schemas(known.values()),
            "messageTraits": {
                "command": {
                    "headers": {"$ref": "#/components/schemas/ordermq-headers"},
                    "contentType": headers.CONTENT_TYPE,
                    "x-amqp-properties": {"$ref": "#/components/schemas/ordermq-properties"},
                }
            },
        },
    }


def _message_names(handlers: Mapping[str, Iterable[Handler]]) -> dict[tuple[str, str], str]:
    """Return the name of each message in the document: its type, with its queue where two queues take it."""
    both = [(queue, each.type) for queue, some in handlers.items() for each in some]
    types = [type_ for _, type_ in both]
    return {(queue, type_): type_ if types.count(type_) == 1 else f"{queue}.{type_}" for queue, type_ in both}


def _sending_name(binding: BindingSpec, prefix: str, queue: str) -> str | None:
    """Return the name of the channel by which senders reach the queue; None if not by this binding."""
    exchange = short_name(prefix, binding.exchange)
    return queue if exchange == prefix else EVENTS if exchange == EVENTS else None


def _other(queue: str) -> str:
    return _EVENT if queue == _LOG else f"{queue}.any"


def _servers(settings: Settings) -> dict[str, Any]:
    broker = settings.broker
    return {
        f"broker{number or ''}": {
            "host": host,
            "protocol": "amqps" if broker.tls else "amqp",
            "protocolVersion": "0-9-1",
            "pathname": f"/{quote(broker.vhost, safe='')}",
            "security": [{"type": "X509" if broker.cert_file else "userPassword"}],
        }
        for number, host in enumerate(broker.hosts)
    }


def _exchange(spec: ExchangeSpec) -> dict[str, Any]:
    return {"name": spec.name, "type": spec.type, "durable": True, "autoDelete": False}


def _sending(binding: BindingSpec, topology: Topology, messages: list[str]) -> dict[str, Any]:
    exchange = next(each for each in topology.exchanges if each.name == binding.exchange)
    amqp = {"is": "routingKey", "exchange": _exchange(exchange)} | _AMQP
    found = {
        "address": binding.routing_key,
        "description": f"Routing key of the exchange {exchange.name}; the queue is {binding.queue}.",
        "messages": _references(messages),
        "bindings": {"amqp": amqp},
    }
    return found if exchange.type != "topic" else found | _BY_TYPE


def _reading(spec: QueueSpec, topology: Topology, messages: list[str]) -> dict[str, Any]:
    amqp = {
        "is": "queue",
        "queue": {"name": spec.name, "durable": True, "exclusive": False, "autoDelete": False},
    } | _AMQP
    bound = [
        {"exchange": each.exchange, "routingKey": each.routing_key}
        for each in topology.bindings
        if each.queue == spec.name
    ]
    return {
        "address": spec.name,
        "messages": _references(messages),
        "bindings": {"amqp": amqp},
        "x-arguments": dict(spec.arguments),
        "x-bound-to": bound,
    }


def _references(messages: list[str]) -> dict[str, Any]:
    return {name: {"$ref": f"#/components/messages/{name}"} for name in messages}


def _operation(action: str, channel: str, **amqp: object) -> dict[str, Any]:
    reference = f"#/channels/{channel}"
    return {"action": action, "channel": {"$ref": reference}, "bindings": {"amqp": amqp | _AMQP}}


def _message(handler: Handler) -> dict[str, Any]:
    found: dict[str, Any] = {
        "name": handler.type,
        "summary": (inspect.getdoc(handler.message) or handler.type).partition("\n\n")[0],
        "payload": {"$ref": _schema_of(handler.message)},
        "traits": [{"$ref": "#/components/messageTraits/command"}],
        "bindings": {"amqp": {"messageType": handler.type} | _AMQP},
        "x-version": handler.message.VERSION,
    }
    if handler.key:
        found["correlationId"] = {"location": f"$message.payload#/{handler.key}"}
    return found


def _opaque(name: str) -> dict[str, Any]:
    if name == _EVENT:
        return CLOUD_EVENT
    what = (
        "What the broker dead-lettered, as its sender wrote it; the header x-death says why."
        if name == _other(DEAD)
        else "No handler of this program takes it: its form is that of another system."
    )
    return {"name": name, "summary": what, "payload": {}}


def _schemas(handlers: Iterable[Handler]) -> dict[str, Any]:
    types = list(dict.fromkeys(each.message for each in handlers))
    _, schemas = msgspec.json.schema_components(types, ref_template=_SCHEMAS)
    return {**schemas, "ordermq-headers": HEADERS, "ordermq-properties": PROPERTIES}


def _schema_of(message: type[msgspec.Struct]) -> str:
    (found,), _ = msgspec.json.schema_components([message], ref_template=_SCHEMAS)
    return str(found["$ref"])
