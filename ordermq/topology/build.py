"""Ordermq's topology from a prefix and the names of its queues.

    <prefix>              direct exchange; commands by routing key
    <prefix>.<queue>      bound to it by routing key <queue>
    <prefix>.dead         direct exchange and quorum queue for what the broker dead-letters
    <prefix>.events       topic exchange, and the stream <prefix>.events.log bound to all of it

The command exchange has no alternate exchange: it would swallow the returns of
``mandatory`` publishings. Pure: no I/O.
"""

from collections.abc import Iterable
from dataclasses import dataclass

from ordermq.errors import ConfigError
from ordermq.topology.names import DEAD, EVENTS, check_prefix, check_queue, event_log, queue_name
from ordermq.topology.spec import BindingSpec, ExchangeSpec, QueueSpec, Topology

# ordermq counts attempts itself. RabbitMQ 4 would by default drop a message after 20 deliveries,
# and -1 ("no limit") makes 3.10 drop it at once. So the limit is explicit and never reached.
DELIVERY_LIMIT = 1_000_000

_DAY_S = 86_400


@dataclass(frozen=True)
class EventStream:
    """How much the stream of events keeps; the oldest go first."""

    max_age_s: float = 604_800.0
    max_bytes: int = 2_000_000_000


def build(
    prefix: str,
    queues: Iterable[str],
    *,
    queue_type: str = "quorum",
    events: EventStream | None = None,
) -> Topology:
    """Return the topology of ``queues`` under ``prefix``. Raises ConfigError naming a bad name."""
    if queue_type not in ("quorum", "classic"):
        raise ConfigError(f"queue type {queue_type!r} is neither quorum nor classic")
    check_prefix(prefix)
    names = tuple(dict.fromkeys(queues))
    for name in names:
        check_queue(name)
    topology = _commands(prefix, names, queue_type) + _dead(prefix, names)
    return topology + _events(prefix, events) if events is not None else topology


def _commands(prefix: str, names: tuple[str, ...], queue_type: str) -> Topology:
    return Topology(
        exchanges=(ExchangeSpec(prefix, "direct"),),
        queues=tuple(QueueSpec(queue_name(prefix, n), _arguments(prefix, n, queue_type)) for n in names),
        bindings=tuple(BindingSpec(prefix, queue_name(prefix, n), n) for n in names),
    )


def _arguments(prefix: str, name: str, queue_type: str) -> dict[str, object]:
    arguments: dict[str, object] = {
        "x-queue-type": queue_type,
        "x-dead-letter-exchange": queue_name(prefix, DEAD),
        "x-dead-letter-routing-key": name,
        "x-overflow": "reject-publish",
    }
    if queue_type == "quorum":  # classic queues have neither argument
        arguments["x-dead-letter-strategy"] = "at-least-once"
        arguments["x-delivery-limit"] = DELIVERY_LIMIT
    return arguments


def _dead(prefix: str, names: tuple[str, ...]) -> Topology:
    dead = queue_name(prefix, DEAD)
    # No TTL and no length limit: with at-least-once dead-lettering a queue keeps the messages that
    # the dead-letter queue refuses, so a full dead-letter queue would stop all other queues.
    return Topology(
        exchanges=(ExchangeSpec(dead, "direct"),),
        queues=(QueueSpec(dead, {"x-queue-type": "quorum", "x-delivery-limit": DELIVERY_LIMIT}),),
        bindings=tuple(BindingSpec(dead, dead, name) for name in names),
    )


def _events(prefix: str, kept: EventStream) -> Topology:
    exchange, log = queue_name(prefix, EVENTS), event_log(prefix)
    arguments = {
        "x-queue-type": "stream",
        "x-max-age": _age(kept.max_age_s),
        "x-max-length-bytes": kept.max_bytes,
    }
    return Topology(
        exchanges=(ExchangeSpec(exchange, "topic"),),
        queues=(QueueSpec(log, arguments),),
        bindings=(BindingSpec(exchange, log, "#"),),
    )


def _age(seconds: float) -> str:
    whole = int(seconds)
    return f"{whole // _DAY_S}D" if whole % _DAY_S == 0 else f"{whole}s"
