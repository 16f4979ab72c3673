"""What a customer waits for: ``place_order`` and the commit, beside the bare order and the commit.

``fsync_2ms`` is a disk that takes 2 ms: PostgreSQL's own ``commit_delay``, which waits before
each flush of its log.
"""

from collections.abc import Callable, Mapping
from contextlib import closing

from benchmarks.case import Case, Contender, Wrong, at_least, at_most
from benchmarks.ground import Ground
from benchmarks.processes import Processes
from ordermq.store import Session

WRITERS = (1, 16)
FSYNC_MS = 2.0


def _sample_of(how: str) -> Callable[[Ground, int], Mapping[str, float]]:
    def sample(ground: Ground, n: int) -> Mapping[str, float]:
        ground.command("ordermq", "db", "migrate")
        figures: dict[str, float] = {}
        placed = 0
        with Processes(ground) as processes:
            for disk in ("", "_fsync_2ms"):
                _slow_down(ground, FSYNC_MS if disk else 0.0)
                for writers in WRITERS:
                    count = n * (4 if writers > 1 else 1)  # a second at the least
                    seed = 1000 * (1 + len(figures))
                    ran = processes.run("take_orders", how=how, writers=writers, count=count, seed=seed)
                    figures[f"{writers}{disk}_p50"] = 1000 * ran["p50"]
                    figures[f"{writers}{disk}_per_s"] = ran["per_s"]
                    placed += ran["placed"]
        _check(ground, placed, has_messages=how == "ordermq")
        has_disk = ground.stack.postgres.sql("SHOW fsync") == "on"  # else there is no flush to wait before
        if has_disk and figures["1_fsync_2ms_p50"] < 0.9 * FSYNC_MS:
            raise Wrong(f"a commit took {figures['1_fsync_2ms_p50']:.2f} ms on a disk of {FSYNC_MS:g} ms")
        return figures

    return sample


def _slow_down(ground: Ground, fsync_ms: float) -> None:
    for setting in (f"commit_delay = {fsync_ms * 1000:.0f}", "commit_siblings = 0"):
        ground.stack.postgres.sql(f'ALTER DATABASE "{ground.name}" SET {setting}', superuser=True)


def _check(ground: Ground, placed: int, *, has_messages: bool) -> None:
    expected = (placed, placed if has_messages else 0)
    with closing(Session(ground.database, name="benchmark")) as session, session.transaction() as tx:
        found = tx.fetch_one("SELECT count(*), (SELECT count(*) FROM ordermq.outbox) FROM shop.orders")
        if found != expected:
            raise Wrong(f"{found} orders and messages, not {expected}")


_SETTINGS = "one order a transaction, synchronous_commit on, fsync on; 1 and 16 processes"

CASE = Case(
    name="place_order",
    what="one order in the caller's own transaction, to the end of the commit",
    unit="ms",
    units={"_per_s": "orders/s"},
    n=800,
    smoke_n=32,
    contenders=[
        Contender("ordermq", _sample_of("ordermq"), f"place_order, {_SETTINGS}"),
        Contender("bare", _sample_of("bare"), f"the rows of order and items alone, {_SETTINGS}"),
    ],
    targets=[
        *(
            at_most(2, f"ordermq_{each}_p50", f"bare_{each}_p50")
            for each in ("1", "16", "1_fsync_2ms", "16_fsync_2ms")
        ),
        at_least(0.8, "ordermq_16_per_s", "bare_16_per_s"),
        at_least(0.8, "ordermq_16_fsync_2ms_per_s", "bare_16_fsync_2ms_per_s"),
    ],
)
