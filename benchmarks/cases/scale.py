"""More processes on one queue, and more threads that call a service of 20 ms.

Everybody is up and holds messages before the clock starts.
"""

from collections.abc import Callable, Mapping

from benchmarks.case import Case, Contender, Target, Wrong
from benchmarks.gated import gated
from benchmarks.ground import Ground
from benchmarks.programs.gated import CALL_S

PROCESSES = (1, 2, 4)
THREADS = (1, 4, 16)


def _sample_of(queue: str, *, processes: int, threads: int) -> Callable[[Ground, int], Mapping[str, float]]:
    def sample(ground: Ground, n: int) -> Mapping[str, float]:
        # As many seconds for each number of threads, as long as the machine keeps up.
        count = n if queue == "plain" else max(20, n // 8) * threads // THREADS[-1]
        with gated(ground) as run:
            run.fill(queue, count)
            run.consume(queue, processes, threads)
            opened = run.open()
            run.wait_effects(count)
            rate = count / (run.effect_at(count) - opened)
            if (settled := run.value("SELECT count(*) FROM ordermq.inbox WHERE outcome = 'done'")) != count:
                raise Wrong(f"{settled} of {count} messages are settled")
            return {"": rate}

    return sample


CASE = Case(
    name="scale",
    what=f"orders/s by consumer processes, and by threads that call a service of {CALL_S * 1000:g} ms",
    unit="orders/s",
    n=20_000,
    smoke_n=400,
    rounds=3,
    contenders=[
        *(
            Contender(
                f"ordermq_{n}_process{'es' if n > 1 else ''}",
                _sample_of("plain", processes=n, threads=1),
                f"{n} ordermq-consumer --threads 1, batches of 200, inbox and one row an order",
            )
            for n in PROCESSES
        ),
        *(
            Contender(
                f"ordermq_{n}_thread{'s' if n > 1 else ''}",
                _sample_of("outside", processes=1, threads=n),
                f"ordermq-consumer --threads {n}, external handler",
            )
            for n in THREADS
        ),
    ],
    targets=[
        Target(
            f"{n} threads >= 0.85 x {n} x one",
            lambda medians, n=n: medians[f"ordermq_{n}_threads"] / (n * medians["ordermq_1_thread"]),  # type: ignore[misc] # of a lambda
            0.85,
        )
        for n in THREADS[1:]
    ],
)
