"""The cases, in the order in which they run."""

from benchmarks.case import Case
from benchmarks.cases import (
    audit,
    backlog,
    builds,
    consume,
    effect,
    events,
    held,
    history,
    idle,
    latency,
    lists,
    pipeline,
    place_order,
    publish,
    recovery,
    relay,
    scale,
    start,
)

CASES: list[Case] = [
    publish.CASE,
    consume.CASE,
    effect.CASE,
    relay.CASE,
    pipeline.CASE,
    latency.CASE,
    place_order.CASE,
    scale.CASE,
    backlog.CASE,
    start.CASE,
    idle.CASE,
    held.CASE,
    recovery.CASE,
    builds.CASE,
    lists.CASE,
    audit.CASE,
    history.CASE,
    events.CASE,
]
