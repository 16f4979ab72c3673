"""Make the broker's topology what it should be, or say how it differs.

Every question goes over a channel of its own, since the broker closes a channel to
answer "missing" (404) and "different" (406). Needs a user with configure permission;
running processes declare nothing.
"""

import re
from dataclasses import dataclass
from typing import Any

from ordermq.amqp.connection import ConnectionManager
from ordermq.amqp.management import read_topology
from ordermq.errors import QueueMissing, TopologyConflict
from ordermq.topology import ExchangeSpec, QueueSpec, Topology, diff

# "PRECONDITION_FAILED - inequivalent arg 'x-y' for queue 'q' in vhost '/': received the
# value '2' of type 'signedint' but current is none"
_INEQUIVALENT = re.compile(
    r"inequivalent arg '(?P<argument>[^']+)' for .*?: received "
    r"(?P<wanted>none|the value '[^']*'|'[^']*').*? but current is (?P<found>none|the value '[^']*'|'[^']*')"
)


@dataclass(frozen=True, slots=True)
class Applied:
    """One exchange, queue or binding that now is as wanted; ``created`` is None where AMQP does not tell."""

    kind: str
    name: str
    created: bool | None


@dataclass(frozen=True, slots=True)
class Verified:
    """What ``verify`` found: differences, and what it had no way to look at."""

    differences: tuple[str, ...]
    not_checked: tuple[str, ...] = ()


def apply(connection: ConnectionManager, topology: Topology, *, timeout_s: float = 10.0) -> list[Applied]:
    """Declare what is missing and confirm what exists; return one entry per object.

    Changes and deletes nothing: arguments of an existing object cannot be changed.
    Each object takes at most ``timeout_s``. Raises TopologyConflict naming the object,
    the argument and both values, AccessRefused, or ConnectionLost. Safe to repeat.
    """
    applied = []
    for spec in _objects(topology):
        existed = _exists(connection, spec, timeout_s)
        _declare(connection, spec, timeout_s)
        applied.append(Applied(_kind(spec), spec.name, not existed))
    for binding in topology.bindings:
        _ask(
            connection,
            "queue_bind",
            timeout_s,
            queue=binding.queue,
            exchange=binding.exchange,
            routing_key=binding.routing_key,
            arguments=dict(binding.arguments),
        )
        applied.append(
            Applied("binding", f"{binding.exchange} -[{binding.routing_key}]-> {binding.queue}", None)
        )
    return applied


def verify(
    connection: ConnectionManager,
    topology: Topology,
    *,
    management_url: str = "",
    timeout_s: float = 10.0,
) -> Verified:
    """Compare the broker with ``topology`` and create nothing.

    Through the management API at ``management_url`` everything is compared. Without
    it, exchanges and queues are looked up and declared again as they should be, which
    the broker refuses with the first argument that differs; bindings are not checked.
    Raises AccessRefused, ConnectionLost or what the management API raises.
    """
    if management_url:
        found = read_topology(connection.settings, management_url, timeout_s=timeout_s)
        return Verified(tuple(diff(topology, found)))
    differences = []
    for spec in _objects(topology):
        if not _exists(connection, spec, timeout_s):
            differences.append(f"{_named(spec)}: missing")
            continue
        try:
            _declare(connection, spec, timeout_s)
        except TopologyConflict as exc:
            differences.append(str(exc))
    not_checked = ("bindings: set topology.management_url to have them checked",) if topology.bindings else ()
    return Verified(tuple(differences), not_checked)


def _exists(connection: ConnectionManager, spec: ExchangeSpec | QueueSpec, timeout_s: float) -> bool:
    method, name = _declare_method(spec)
    try:
        _ask(connection, method, timeout_s, passive=True, **name)
    except (QueueMissing, TopologyConflict):  # 404, in the words for a queue and for an exchange
        return False
    return True


def _declare(connection: ConnectionManager, spec: ExchangeSpec | QueueSpec, timeout_s: float) -> None:
    method, arguments = _declare_method(spec)
    if isinstance(spec, ExchangeSpec):
        arguments["exchange_type"] = spec.type
    try:
        _ask(connection, method, timeout_s, durable=True, arguments=dict(spec.arguments), **arguments)
    except TopologyConflict as exc:
        raise TopologyConflict(f"{_named(spec)}: {_conflict(str(exc))}") from exc


def _declare_method(spec: ExchangeSpec | QueueSpec) -> tuple[str, dict[str, Any]]:
    if isinstance(spec, ExchangeSpec):
        return "exchange_declare", {"exchange": spec.name}
    return "queue_declare", {"queue": spec.name}


def _ask(connection: ConnectionManager, method: str, timeout_s: float, **arguments: Any) -> Any:
    channel = connection.open_channel(timeout_s)
    try:
        return channel.call(method, timeout_s, **arguments)
    finally:
        connection.close_channel(channel, timeout_s)


def _objects(topology: Topology) -> list[ExchangeSpec | QueueSpec]:
    return [*topology.exchanges, *topology.queues]


def _kind(spec: ExchangeSpec | QueueSpec) -> str:
    return "exchange" if isinstance(spec, ExchangeSpec) else "queue"


def _named(spec: ExchangeSpec | QueueSpec) -> str:
    return f"{_kind(spec)} {spec.name}"


def _conflict(said: str) -> str:
    """The broker's 406 as ``argument: wanted x, found y``; its own words if they are others."""
    match = _INEQUIVALENT.search(said)
    if match is None:
        return said
    wanted, found = (_value(match[group]) for group in ("wanted", "found"))
    return f"{match['argument']}: wanted {wanted}, found {found}"


def _value(said: str) -> str:
    return said.removeprefix("the value ").strip("'")
