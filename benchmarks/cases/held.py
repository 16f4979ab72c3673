"""The relay while other sessions hold old snapshots, are many or are ended, and while none does anything.

Rows come at RATE a second, so 1,200,000 of them (``--messages``) take ten minutes.
"""

import math
from collections.abc import Callable, Mapping, Sequence

from benchmarks.case import Case, Contender, Missing, Wrong, at_least, at_most
from benchmarks.ground import Ground
from benchmarks.processes import Processes
from benchmarks.queues import declare
from benchmarks.tables import count
from benchmarks.working import migrate
from ordermq.testing.stack.programs import postgres_bin

RATE = 2_000.0


def _sample_of(held: str) -> Callable[[Ground, int], Mapping[str, float]]:
    def sample(ground: Ground, n: int) -> Mapping[str, float]:
        pg_dump = postgres_bin() / "pg_dump"
        if held == "dump" and not pg_dump.exists():
            raise Missing(f"{pg_dump} is not there")
        declare(ground)
        migrate(ground)
        with Processes(ground) as processes:
            ran = processes.run(
                "relay_held", timeout_s=120.0 + 2 * n / RATE, n=n, held=held, rate=RATE, pg_dump=str(pg_dump)
            )
        if left := count(ground, "ordermq.outbox"):
            raise Wrong(f"{left} rows are left")
        return {
            "": ran["relayed"] / ran["seconds"],
            "offered": n / ran["lasted_s"],
            "claim_p50": 1000 * _quantile(ran["idle_s"], 0.5),
            "claim_p99": 1000 * _quantile(ran["idle_s"], 0.99),
            "vacuum": 1000 * ran["vacuum_s"],
            "left": ran["left_mb"],
            "failed": ran["failed"],
        }

    return sample


def _quantile(values: Sequence[float], part: float) -> float:
    return sorted(values)[math.ceil(part * len(values)) - 1]


CASE = Case(
    name="held",
    what="the relay at 2,000 rows/s, and claims that find nothing, while an old snapshot is held and while"
    " none is; then, without it, a VACUUM and what it leaves of the table",
    unit="msg/s",
    units={"_p50": "ms", "_p99": "ms", "_vacuum": "ms", "_left": "MB", "_failed": "times"},
    n=100_000,
    smoke_n=1_000,
    rounds=3,
    by_name_only=True,
    contenders=(
        Contender("ordermq_held", _sample_of("reader"), "another session is idle in a REPEATABLE READ"),
        Contender("ordermq_dump", _sample_of("dump"), "a pg_dump is under way all the time"),
        Contender(
            "ordermq_readers", _sample_of("readers"), "four sessions read in a REPEATABLE READ of 20 s each"
        ),
        Contender("ordermq_idle", _sample_of("idle"), "300 other sessions are idle"),
        Contender("ordermq_ended", _sample_of("ended"), "a session of relay or writer is ended each second"),
        Contender("ordermq_free", _sample_of(""), "no such session"),
    ),
    targets=tuple(
        target
        for what in ("held", "dump", "readers", "idle", "ended")
        for target in (
            at_least(0.95, f"ordermq_{what}_offered", "ordermq_free_offered"),
            at_most(2, f"ordermq_{what}_claim_p99", "ordermq_free_claim_p99"),
        )
    ),
)
