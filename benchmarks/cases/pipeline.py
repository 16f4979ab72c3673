"""From an order to its end, all processes running, the services outside in process and instant."""

from collections.abc import Callable, Mapping
from typing import Any

from benchmarks.case import Case, Contender, at_least, below
from benchmarks.cost import UNITS, Costs
from benchmarks.ground import Ground
from benchmarks.shops import SEED, SHOPS, WITHOUT_BROKER, Shop

_SPAN = """
    SELECT extract(epoch FROM max(terminal_at) - min(accepted_at))::float8
      FROM shop.orders WHERE order_id LIKE %s
"""


# Slower ones show the same rate with fewer orders.
PEER = 3
FAST = ("ordermq", "pgmq", "postgres_alone")


def _contender(name: str) -> Contender:
    opened, settings = (SHOPS | WITHOUT_BROKER)[name]
    if name in FAST:
        return Contender(name, _sample_of(opened, 1), settings)
    return Contender(name, _sample_of(opened, PEER), f"{settings}; n / {PEER}")


def _sample_of(opened: Callable[[Ground], Any], part: int) -> Callable[[Ground, int], Mapping[str, float]]:
    def sample(ground: Ground, n: int) -> Mapping[str, float]:
        n = max(1, n // part)
        with opened(ground) as shop:
            costs = Costs(shop)
            shop.place_all(n)
            each = costs.of_each(n)
            shop.check()
            return {"": n / span_s(shop), **each}

    return sample


def span_s(shop: Shop) -> float:
    """Return the seconds from the first order of ``place_all`` to the end of the last."""
    seconds: float = shop.value(_SPAN, f"gen-{SEED}-%")
    return seconds


CASE = Case(
    name="pipeline",
    what="orders from the first placed to the last completed: stock, payment, then SMS, points and shipment",
    unit="orders/s",
    units=UNITS,
    n=3_000,
    smoke_n=40,
    rounds=3,
    contenders=[_contender(name) for name in SHOPS | WITHOUT_BROKER],
    targets=[
        at_least(3, "ordermq", "celery", "dramatiq"),
        at_least(0.5, "ordermq", "postgres_alone"),
        below(10.5, "ordermq_wal", "kB an order"),
    ],
)
