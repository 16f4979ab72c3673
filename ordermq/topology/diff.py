"""Differences between the wanted topology and the existing one, in words.

Only wanted objects are compared: queues of a user's own, and their bindings to ordermq's
exchanges, are no difference. Pure: no I/O.
"""

from collections.abc import Iterator, Mapping

from ordermq.topology.spec import BindingSpec, Topology

MISSING = "missing"


def diff(wanted: Topology, found: Topology) -> list[str]:
    """Return one line per difference, in declaration order; empty if all is as wanted.

    An unwanted binding counts only if both its ends are ordermq's: it sends the commands of
    one queue to another.
    """
    return [*_exchanges(wanted, found), *_queues(wanted, found), *_bindings(wanted, found)]


def argument_differences(wanted: Mapping[str, object], found: Mapping[str, object]) -> list[str]:
    """Return ``name: wanted x, found y`` for each argument that differs, sorted by name."""
    names = sorted(wanted.keys() | found.keys())
    return [
        f"{name}: wanted {_shown(wanted, name)}, found {_shown(found, name)}"
        for name in names
        if wanted.get(name) != found.get(name)
    ]


def _exchanges(wanted: Topology, found: Topology) -> Iterator[str]:
    existing = {exchange.name: exchange for exchange in found.exchanges}
    for want in wanted.exchanges:
        have = existing.get(want.name)
        if have is None:
            yield f"exchange {want.name}: {MISSING}"
            continue
        if have.type != want.type:
            yield f"exchange {want.name}: type: wanted {want.type}, found {have.type}"
        for line in argument_differences(want.arguments, have.arguments):
            yield f"exchange {want.name}: {line}"


def _queues(wanted: Topology, found: Topology) -> Iterator[str]:
    existing = {queue.name: queue for queue in found.queues}
    for want in wanted.queues:
        have = existing.get(want.name)
        if have is None:
            yield f"queue {want.name}: {MISSING}"
            continue
        for line in argument_differences(want.arguments, have.arguments):
            yield f"queue {want.name}: {line}"


def _bindings(wanted: Topology, found: Topology) -> Iterator[str]:
    for want in wanted.bindings:
        if want not in found.bindings:
            yield f"binding {_binding(want)}: {MISSING}"
    exchanges = {exchange.name for exchange in wanted.exchanges}
    queues = {queue.name for queue in wanted.queues}
    for have in found.bindings:
        if have.exchange in exchanges and have.queue in queues and have not in wanted.bindings:
            yield f"binding {_binding(have)}: not wanted"


def _binding(binding: BindingSpec) -> str:
    return f"{binding.exchange} -[{binding.routing_key}]-> {binding.queue}"


def _shown(arguments: Mapping[str, object], name: str) -> str:
    return str(arguments[name]) if name in arguments else "none"
