"""The cases, in the order in which they run."""

from benchmarks.case import Case
from benchmarks.cases import consume, effect, latency, pipeline, place_order, publish, relay

CASES: list[Case] = [
    publish.CASE,
    consume.CASE,
    effect.CASE,
    relay.CASE,
    pipeline.CASE,
    latency.CASE,
    place_order.CASE,
]
