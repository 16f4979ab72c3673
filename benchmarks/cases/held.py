"""The relay while a session holds an old snapshot, as a backup or a report does, and without one."""

from collections.abc import Callable, Mapping

from benchmarks.case import Case, Contender, Wrong, at_least, at_most
from benchmarks.ground import Ground
from benchmarks.processes import Processes
from benchmarks.queues import declare
from benchmarks.tables import count
from benchmarks.working import migrate


def _sample_of(*, held: bool) -> Callable[[Ground, int], Mapping[str, float]]:
    def sample(ground: Ground, n: int) -> Mapping[str, float]:
        declare(ground)
        migrate(ground)
        with Processes(ground) as processes:
            ran = processes.run("relay_held", n=n, held=held)
        if left := count(ground, "ordermq.outbox"):
            raise Wrong(f"{left} rows are left")
        return {"": ran["relayed"] / ran["seconds"], "claim": 1000 * ran["claim_s"]}

    return sample


CASE = Case(
    name="held",
    what="the relay, then a claim that finds nothing, while an old snapshot is held and while none is",
    unit="msg/s",
    units={"_claim": "ms"},
    n=100_000,
    smoke_n=1_000,
    rounds=3,
    by_name_only=True,
    contenders=(
        Contender("ordermq_held", _sample_of(held=True), "another session is idle in a REPEATABLE READ"),
        Contender("ordermq_free", _sample_of(held=False), "no such session"),
    ),
    targets=(
        at_least(0.95, "ordermq_held", "ordermq_free"),
        at_most(2, "ordermq_held_claim", "ordermq_free_claim"),
    ),
)
