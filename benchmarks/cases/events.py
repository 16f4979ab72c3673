"""What the stream of events costs the pipeline: the same orders with ``topology.events`` off and on.

A sample with the stream ends when it holds the events of all orders. The processor time is without that of
placing.
"""

import time
from collections.abc import Callable, Mapping
from dataclasses import replace

from benchmarks.case import Case, Contender, Target
from benchmarks.cases.pipeline import span_s
from benchmarks.cost import UNITS, Costs
from benchmarks.ground import Ground
from benchmarks.shops import ORDERMQ, Shop, ordermq_shop
from ordermq.store.feeds import EVENTS, read_feed
from ordermq.store.numbering import waits_s
from ordermq.store.positions import count_positions


def _sample_of(*, has_stream: bool) -> Callable[[Ground, int], Mapping[str, float]]:
    def sample(ground: Ground, n: int) -> Mapping[str, float]:
        env = {**ground.env, "ORDERMQ_TOPOLOGY_EVENTS": "true"} if has_stream else ground.env
        with ordermq_shop(replace(ground, env=env)) as shop:
            costs = Costs(shop, with_programs=False)
            shop.place_all(n)
            behind = {"behind": _wait_published(shop)} if has_stream else {}
            figures = {"": n / span_s(shop), **costs.of_each(n), **behind}
            shop.check()
            return figures

    return sample


def _wait_published(shop: Shop) -> float:
    """Return how many seconds after the last order was seen to be completed the stream has all events."""
    began_s = time.perf_counter()
    shop.processes.wait(lambda: _has_all(shop), 120.0, "the stream has all events")
    return time.perf_counter() - began_s


def _has_all(shop: Shop) -> bool:
    with shop.session.transaction() as tx:
        if waits_s(tx) > 0:
            return False
        return read_feed(tx, EVENTS).next_position == count_positions(tx)


CASE = Case(
    name="events",
    what="the pipeline without and with the stream of events",
    unit="orders/s",
    units={**UNITS, "_behind": "s"},
    n=3_000,
    smoke_n=40,
    by_name_only=True,
    contenders=[
        Contender("off", _sample_of(has_stream=False), ORDERMQ),
        Contender("on", _sample_of(has_stream=True), f"topology.events; {ORDERMQ}"),
    ],
    targets=[
        Target("orders/s with the stream >= 0.9 x without", lambda found: found["on"] / found["off"], 0.9),
    ],
)
