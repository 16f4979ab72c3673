"""Create the topology on the broker, or say how the broker differs from it.

Every request has a channel of its own, because the broker closes a channel to answer
"missing" (404) and "different" (406). The user needs the configure permission; consumers
and relays declare nothing.
"""

import re
from dataclasses import dataclass
from typing import Any, NamedTuple

from ordermq.amqp.connection import ConnectionManager
from ordermq.amqp.management import read_policies, read_topology
from ordermq.config.settings import BrokerSettings
from ordermq.errors import QueueMissing, TopologyConflict
from ordermq.topology import ExchangeSpec, QueueSpec, Topology, diff, policy_differences

# "PRECONDITION_FAILED - inequivalent arg 'x-y' for queue 'q' in vhost '/': received the
# value '2' of type 'signedint' but current is none"
_INEQUIVALENT = re.compile(
    r"inequivalent arg '(?P<argument>[^']+)' for .*?: received "
    r"(?P<wanted>none|the value '[^']*'|'[^']*').*? but current is (?P<found>none|the value '[^']*'|'[^']*')"
)


@dataclass(frozen=True, slots=True)
class Applied:
    """One exchange, queue or binding that is now as wanted. ``created`` is None where AMQP does not say."""

    kind: str
    name: str
    created: bool | None


@dataclass(frozen=True, slots=True)
class Verified:
    """The result of ``verify``: a line for each difference, and for what it could not check."""

    differences: tuple[str, ...]
    not_checked: tuple[str, ...] = ()


def apply(connection: ConnectionManager, topology: Topology, *, timeout_s: float = 10.0) -> list[Applied]:
    """Declare what is missing and check what exists; return one entry per object.

    It changes and deletes nothing: the arguments of an existing object cannot be changed.
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

    With the management API at ``management_url`` everything is compared, policies too. Without
    it, exchanges and queues that exist are declared again as they should be; the broker refuses
    that and names the first argument that differs. Bindings and policies are then not checked.
    Raises AccessRefused, ConnectionLost, or the errors of ``read_topology``.
    """
    if management_url:
        return verify_by_management(connection.settings, topology, management_url, timeout_s=timeout_s)
    differences = []
    for spec in _objects(topology):
        if not _exists(connection, spec, timeout_s):
            differences.append(f"{_named(spec)}: missing")
            continue
        try:
            _declare(connection, spec, timeout_s)
        except TopologyConflict as exc:
            differences.append(str(exc))
    not_checked = ("bindings and policies: set topology.management_url to have them checked",)
    return Verified(tuple(differences), not_checked)


class QueueDepth(NamedTuple):
    """What a queue says of itself: messages ready for delivery, and consumers."""

    ready: int
    consumers: int


def queue_depth(connection: ConnectionManager, name: str, *, timeout_s: float = 5.0) -> QueueDepth | None:
    """Return a queue's numbers; None if there is no such queue. It needs no permission but to connect.

    Raises ConnectionLost, or another BrokerError.
    """
    try:
        found = _ask(connection, "queue_declare", timeout_s, queue=name, passive=True)
    except QueueMissing:
        return None
    return QueueDepth(found.message_count, found.consumer_count)


def verify_by_management(
    settings: BrokerSettings, topology: Topology, url: str, *, timeout_s: float = 10.0
) -> Verified:
    """Do what ``verify`` does through the management API alone, without a connection of AMQP."""
    differences = diff(topology, read_topology(settings, url, timeout_s=timeout_s))
    policies = read_policies(settings, url, timeout_s=timeout_s)
    return Verified((*differences, *policy_differences(topology, policies)))


def _exists(connection: ConnectionManager, spec: ExchangeSpec | QueueSpec, timeout_s: float) -> bool:
    method, name = _declare_method(spec)
    try:
        _ask(connection, method, timeout_s, passive=True, **name)
    except (QueueMissing, TopologyConflict):  # 404 of a queue, and of an exchange
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
    """Return the broker's 406 as ``argument: wanted x, found y``, or as it is if it has another form."""
    match = _INEQUIVALENT.search(said)
    if match is None:
        return said
    wanted, found = (_value(match[group]) for group in ("wanted", "found"))
    return f"{match['argument']}: wanted {wanted}, found {found}"


def _value(said: str) -> str:
    return said.removeprefix("the value ").strip("'")
