"""What should exist on the broker, as values.

Everything is durable; nothing is exclusive or deleted automatically, which is for a client's
own temporary queues. Pure: no I/O.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal, TypeVar

ExchangeType = Literal["direct", "topic", "fanout", "headers"]
S = TypeVar("S")


@dataclass(frozen=True, slots=True)
class ExchangeSpec:
    """A durable exchange."""

    name: str
    type: ExchangeType
    arguments: Mapping[str, object] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class QueueSpec:
    """A durable queue; its type is the argument ``x-queue-type``."""

    name: str
    arguments: Mapping[str, object] = field(default_factory=dict)

    @property
    def type(self) -> str:
        """``quorum``, ``classic`` or ``stream``; the broker's default is classic."""
        return str(self.arguments.get("x-queue-type", "classic"))


@dataclass(frozen=True, slots=True)
class BindingSpec:
    """A binding from an exchange to a queue."""

    exchange: str
    queue: str
    routing_key: str
    arguments: Mapping[str, object] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Topology:
    """Exchanges, queues and bindings, in the order they are declared in."""

    exchanges: tuple[ExchangeSpec, ...] = ()
    queues: tuple[QueueSpec, ...] = ()
    bindings: tuple[BindingSpec, ...] = ()

    def __add__(self, other: "Topology") -> "Topology":
        """Return both topologies as one; a spec that both have stands in it once."""
        return Topology(
            _union(self.exchanges, other.exchanges),
            _union(self.queues, other.queues),
            _union(self.bindings, other.bindings),
        )

    def of_queue(self, name: str) -> "Topology":
        """Return the part that a consumer of ``name`` lives by: the queue, its bindings, their exchanges."""
        bindings = tuple(each for each in self.bindings if each.queue == name)
        exchanges = {each.exchange for each in bindings}
        return Topology(
            tuple(each for each in self.exchanges if each.name in exchanges),
            tuple(each for each in self.queues if each.name == name),
            bindings,
        )


def _union(first: tuple[S, ...], second: tuple[S, ...]) -> tuple[S, ...]:
    return first + tuple(spec for spec in second if spec not in first)
