"""This checkout and another by turns, in one run: what a change of ordermq costs or gains.

``BENCH_OTHER`` names the other one, in which ``make setup`` was run. Without it both are this one: how
far their figures differ is then what the machine adds. The processor time is without that of placing.
"""

from collections.abc import Callable, Mapping

from benchmarks.case import Case, Contender
from benchmarks.cases.latency import CALM_RATE, CALM_SEED, RATE, STEADY_SEED, offered
from benchmarks.cases.pipeline import span_s
from benchmarks.checkout import HERE, Checkout, other
from benchmarks.cost import UNITS, Costs
from benchmarks.ground import Ground
from benchmarks.shops import ordermq_shop

# name, orders a second, which part of the sample's orders, seed
_STEADY = (
    ("moderate", 30.0, 10, 6),
    ("calm", CALM_RATE, 30, CALM_SEED),
    ("200", RATE, 4, STEADY_SEED),
)


def _sample_of(checkout: Callable[[], Checkout]) -> Callable[[Ground, int], Mapping[str, float]]:
    def sample(ground: Ground, n: int) -> Mapping[str, float]:
        with ordermq_shop(ground, checkout()) as shop:
            costs = Costs(shop, with_programs=False)
            shop.place_all(n)
            figures = {"": n / span_s(shop), **costs.of_each(n)}
            for name, rate, part, seed in _STEADY:
                count, costs = max(20, n // part), Costs(shop, with_programs=False)
                figures |= offered(shop, name, rate, count, seed)
                figures[f"{name}_cpu"] = costs.of_each(count)["cpu"]
            shop.check()
            return figures

    return sample


CASE = Case(
    name="builds",
    what="this checkout and the one in BENCH_OTHER: all orders at once, then 30, 10 and 200 a second",
    unit="orders/s",
    units={**UNITS, "_offered": "orders/s", "_p50": "ms", "_p99": "ms"},
    n=3_000,
    smoke_n=40,
    by_name_only=True,
    contenders=(
        Contender("ordermq", _sample_of(lambda: HERE), "this checkout"),
        Contender("other", _sample_of(other), "the checkout in BENCH_OTHER, or this one"),
    ),
)
