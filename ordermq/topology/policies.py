"""Policies of the broker that take messages from ordermq's queues and exchanges, in words.

A policy changes a queue that exists, whatever the queue was declared with. Of the policies
that match a name RabbitMQ applies the one with the highest priority, and beside it one
operator policy. Pure: no I/O.
"""

import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass

from ordermq.topology.spec import ExchangeSpec, QueueSpec, Topology

_LIMITS = ("max-length", "max-length-bytes")
_OF_STREAMS = ("max-age", "max-length-bytes")
_OF_QUEUES = (
    "expires",
    "message-ttl",
    *_LIMITS,
    "overflow",
    "delivery-limit",
    "dead-letter-exchange",
    "dead-letter-routing-key",
    "dead-letter-strategy",
)
_KINDS = {"quorum": "quorum_queues", "classic": "classic_queues", "stream": "streams"}


@dataclass(frozen=True, slots=True)
class Policy:
    """A policy of the virtual host; ``apply_to`` is RabbitMQ's word for what it is for."""

    name: str
    pattern: str
    apply_to: str
    priority: int
    definition: Mapping[str, object]
    is_operator: bool = False

    def matches(self, spec: ExchangeSpec | QueueSpec) -> bool:
        """Return whether it is for ``spec``, if no other policy comes before it."""
        kinds = ("exchanges",) if isinstance(spec, ExchangeSpec) else ("queues", _KINDS.get(spec.type, ""))
        try:
            return self.apply_to in ("all", *kinds) and re.search(self.pattern, spec.name) is not None
        except re.error:  # a pattern that only Erlang reads
            return False


def policy_differences(wanted: Topology, policies: Iterable[Policy]) -> list[str]:
    """Return one line for each policy value that changes what ``wanted`` says of an object.

    A length limit is no difference on a queue that was declared to refuse what is too much.
    """
    known = tuple(policies)
    specs: tuple[ExchangeSpec | QueueSpec, ...] = (*wanted.exchanges, *wanted.queues)
    return [
        f"{'exchange' if isinstance(spec, ExchangeSpec) else 'queue'} {spec.name}: {_named(policy)}: {line}"
        for spec in specs
        for policy in _applied(spec, known)
        for line in _changes(spec, policy.definition)
    ]


def _applied(spec: ExchangeSpec | QueueSpec, policies: Iterable[Policy]) -> Iterator[Policy]:
    matching = [each for each in policies if each.matches(spec)]
    for is_operator in (False, True):
        kind = [each for each in matching if each.is_operator is is_operator]
        highest = max((each.priority for each in kind), default=0)
        yield from (each for each in kind if each.priority == highest)


def _changes(spec: ExchangeSpec | QueueSpec, definition: Mapping[str, object]) -> Iterator[str]:
    if isinstance(spec, ExchangeSpec):
        keys: dict[str, str] = {"alternate-exchange": "alternate-exchange"}
    else:
        keys = {key: f"x-{key}" for key in (_OF_STREAMS if spec.type == "stream" else _OF_QUEUES)}
    for key, argument in keys.items():
        declared = spec.arguments.get(argument)
        if key in definition and not _is_harmless(key, definition[key], declared, spec.arguments):
            yield f"{key}: wanted {'none' if declared is None else declared}, found {definition[key]}"


def _is_harmless(key: str, value: object, declared: object, arguments: Mapping[str, object]) -> bool:
    if value == declared:
        return True
    if isinstance(value, int) and isinstance(declared, int):
        return value >= declared  # the broker takes the lower one
    return key in _LIMITS and arguments.get("x-overflow") == "reject-publish"


def _named(policy: Policy) -> str:
    return f"operator policy {policy.name}" if policy.is_operator else f"policy {policy.name}"
