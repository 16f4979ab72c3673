"""What an order costs beside time: processors, WAL, and transactions that write."""

import resource

from benchmarks.shops import Shop

UNITS = {"_cpu": "ms", "_wal": "kB", "_commits": "each"}

# Each transaction that writes has an xid, also those of tools and of vacuum.
_READ = """
    SELECT (pg_current_wal_insert_lsn() - '0/0')::float8,
           pg_snapshot_xmax(pg_current_snapshot())::text::float8
"""


class Costs:
    """What all processes of a shop, its broker and its database use from now on.

    Without ``with_programs`` the processor time of programs that end meanwhile, such as the one that places
    the orders, does not count: of few orders, to start it is a good part.
    """

    def __init__(self, shop: Shop, *, with_programs: bool = True) -> None:
        self._shop = shop
        self._with_programs = with_programs
        self._before = self._read()

    def of_each(self, count: int) -> dict[str, float]:
        """Return the costs since then, shared out among ``count`` orders."""
        wal, commits, cpu_s = (
            (now - then) / count for now, then in zip(self._read(), self._before, strict=True)
        )
        return {"wal": wal / 1000, "commits": commits, "cpu": 1000 * cpu_s}

    def _read(self) -> tuple[float, float, float]:
        with self._shop.session.transaction() as tx:
            row = tx.fetch_one(_READ)
        assert row is not None
        cpu_s = self._shop.processes.cpu_s()
        if self._with_programs:
            ended = resource.getrusage(resource.RUSAGE_CHILDREN)  # those that have done their part
            cpu_s += ended.ru_utime + ended.ru_stime
        return row[0], row[1], cpu_s
