"""From the end of one of two consumers by SIGKILL to the last of the messages that it held.

A second consumer of the first step's queue is stopped (SIGSTOP) in the midst of a burst, so it holds
what it has taken. Once all other orders are finished it is killed, and the clock runs until those that
it held are finished too. A contender that needs longer than LIMIT_S has that as its figure. One that
was stopped within a transaction holds up what waits for its locks too: see ``held``.
"""

from collections.abc import Callable, Mapping
from time import monotonic, sleep

from benchmarks.case import Case, Contender, Wrong, at_most
from benchmarks.ground import Ground, ProgramFailed
from benchmarks.processes import MeasuredProcess
from benchmarks.shops import SHOPS, WITHOUT_BROKER, Shop, another_consumer

LIMIT_S = 30.0
READY_S = 3.0  # the slowest of them has started by then
STILL_S = 3.0  # without a step of any order: the rest waits for the consumer that is stopped

_FINISHED = "SELECT count(*) FROM shop.orders WHERE terminal_at IS NOT NULL"
_BEGUN = "SELECT count(*) FROM shop.orders WHERE status <> 'placed'"
_STEPS = "SELECT sum(version)::bigint FROM shop.orders"

CONTENDERS = ("ordermq", "dramatiq", "pgmq", "dbos")


def _sample_of(name: str) -> Callable[[Ground, int], Mapping[str, float]]:
    opened, _ = (SHOPS | WITHOUT_BROKER)[name]

    def sample(ground: Ground, n: int) -> Mapping[str, float]:
        with opened(ground) as shop:
            another = another_consumer(shop, name)
            sleep(READY_S)
            before = shop.value(_FINISHED)
            held = _burst(shop, another, n)
            shop.processes.kill(another)
            began_s = monotonic()
            try:
                shop.processes.wait(lambda: shop.value(_FINISHED) == before + n, LIMIT_S, "all orders", 0.02)
            except ProgramFailed as exc:
                if name == "ordermq":
                    raise Wrong(
                        f"orders are not finished {LIMIT_S:.0f} s after a consumer was killed"
                    ) from exc
                return {"": LIMIT_S, "held": held}
            seconds = monotonic() - began_s
            shop.check()
            return {"": seconds, "held": held}

    return sample


def _burst(shop: Shop, another: MeasuredProcess, n: int) -> int:
    """Place orders, stop one consumer in their midst; return how many orders it holds up."""
    before = shop.value(_FINISHED)
    placing = shop.processes.start_module(
        "place_all", "benchmarks.programs.place_all", is_lasting=False, peer=shop.peer, count=n, seed=2
    )
    shop.processes.wait(lambda: shop.value(_BEGUN) > before + n // 20, 120.0, "the first orders", 0.005)
    another.freeze()
    shop.processes.wait_ended(placing, 300.0)
    steps, since_s = 0, monotonic()
    while monotonic() - since_s < STILL_S:
        if (now := shop.value(_STEPS)) != steps:
            steps, since_s = now, monotonic()
        sleep(0.1)
    return int(before + n - shop.value(_FINISHED))


CASE = Case(
    name="recovery",
    what="one of two consumers of a queue is killed: seconds until the messages that it held are handled",
    unit="s",
    units={"_held": "orders"},
    n=1_000,
    smoke_n=100,
    rounds=3,
    by_name_only=True,
    contenders=[
        Contender(
            name, _sample_of(name), f"{(SHOPS | WITHOUT_BROKER)[name][1]}; and one more, which is killed"
        )
        for name in CONTENDERS
    ],
    targets=[at_most(1, "ordermq", "dramatiq", "dbos")],  # PGMQ's holds messages only within a transaction
)
