"""From a committed order to its first handler and to its end, while the shop has time to breathe.

The clock starts when the customer's commit has been answered; the first handler writes
the time into its event, the last into the order. ``calm`` is a rate that saturates none
of them; ``half`` is half of what the same contender has just shown to be its most.
Customers come when they like; ``offered`` is how many came: fewer than the rate say that
the machine was saturated, and the latencies then say for how long.
"""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from benchmarks.case import Case, Contender, Wrong, at_most
from benchmarks.ground import Ground
from benchmarks.processes import Processes
from benchmarks.shops import SHOPS, Shop

RATE, CALM_RATE = 200.0, 10.0
BURST_SEED, STEADY_SEED, HALF_SEED, CALM_SEED = 2, 3, 4, 5

_TIMES = """
    SELECT order_id, extract(epoch FROM e.occurred_at)::float8, extract(epoch FROM o.terminal_at)::float8
      FROM shop.orders AS o JOIN shop.order_events AS e USING (order_id)
     WHERE e.version = 2 AND order_id LIKE %s
"""
_MOST = """
    SELECT (count(*) / extract(epoch FROM max(terminal_at) - min(accepted_at)))::float8
      FROM shop.orders WHERE order_id LIKE %s
"""


def _sample_of(opened: Callable[[Ground], Any]) -> Callable[[Ground, int], Mapping[str, float]]:
    def sample(ground: Ground, n: int) -> Mapping[str, float]:
        with opened(ground) as shop:
            shop.place_all(max(20, n // 4), seed=BURST_SEED)
            half = shop.value(_MOST, f"gen-{BURST_SEED}-%") / 2
            figures = {
                **offered(shop, "calm", CALM_RATE, max(20, n // 8), CALM_SEED),
                **offered(shop, "200", RATE, n, STEADY_SEED),
                **offered(shop, "half", half, max(20, n // 4), HALF_SEED),
            }
            shop.check()
            return figures

    return sample


def offered(shop: Shop, name: str, rate: float, count: int, seed: int) -> dict[str, float]:
    """Have ``count`` customers come at ``rate``; return the waits of their orders, by names that begin so."""
    before = shop.value("SELECT count(*) FROM shop.orders")
    placed = shop.processes.run("place_steadily", peer=shop.peer, count=count, rate=rate, seed=seed)
    shop.wait_finished(before + count)
    committed: dict[str, float] = placed["committed"]
    with shop.session.transaction() as tx:
        rows = tx.fetch_all(_TIMES, (f"gen-{seed}-%",))
    firsts = [first - committed[order_id] for order_id, first, _ in rows]
    ends = [end - committed[order_id] for order_id, _, end in rows]
    span_s = max(committed.values()) - min(committed.values())
    return {
        f"{name}_offered": count / span_s,
        f"{name}_first_p50": at(firsts, 0.5), f"{name}_first_p99": at(firsts, 0.99),
        f"{name}_terminal_p50": at(ends, 0.5), f"{name}_terminal_p99": at(ends, 0.99),
    }  # fmt: skip


def at(seconds: Sequence[float], part: float) -> float:
    """Return the quantile in milliseconds."""
    return 1000 * sorted(seconds)[min(len(seconds) - 1, int(part * len(seconds)))]


def _pika(ground: Ground, n: int) -> Mapping[str, float]:
    figures: dict[str, float] = {}
    with Processes(ground) as processes:
        for name, rate, count in (("calm", CALM_RATE, max(20, n // 8)), ("200", RATE, n)):
            waits = processes.run("pass_on_pika", count=count, rate=rate)["waits"]
            if len(waits) != count:
                raise Wrong(f"{len(waits)} of {count} messages came")
            figures |= {f"{name}_p50": at(waits, 0.5), f"{name}_p99": at(waits, 0.99)}
    return figures


CASE = Case(
    name="latency",
    what="from a committed order to its first handler and its end, at 10/s, 200/s and half of the own most",
    unit="ms",
    units={"_offered": "orders/s"},
    n=800,
    smoke_n=40,
    rounds=3,
    contenders=[
        *(Contender(name, _sample_of(opened), settings) for name, (opened, settings) in SHOPS.items()),
        Contender("pika", _pika, "publish to callback, the same rates; confirmed, persistent, quorum queue"),
    ],
    targets=[
        at_most(3, "ordermq_calm_first_p50", "pika_calm_p50"),
        at_most(1.5, "ordermq_calm_terminal_p50", "celery_calm_terminal_p50", "dramatiq_calm_terminal_p50"),
        at_most(3, "ordermq_200_first_p50", "pika_200_p50"),
        at_most(1, "ordermq_200_first_p99", "celery_200_first_p99", "dramatiq_200_first_p99"),
        at_most(1.5, "ordermq_200_terminal_p50", "celery_200_terminal_p50", "dramatiq_200_terminal_p50"),
        at_most(1.5, "ordermq_half_terminal_p50", "celery_half_terminal_p50", "dramatiq_half_terminal_p50"),
    ],
)
