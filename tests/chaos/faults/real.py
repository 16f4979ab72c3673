"""F33: the orders of a file, and a projection that reads the stream and is killed all the time."""

import json
import shutil
import sqlite3
import subprocess
import sys
import tempfile
import threading
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

from ordermq.shop.demo.orders import OrderSource
from ordermq.shop.stock import load_stock
from tests.chaos.arena import Arena, Broken
from tests.chaos.fault import Fault
from tests.support.events_page import write_example

PLACED_WITHIN_S = 1800.0
COUNTED_WITHIN_S = 600.0
_LAST = """
    SELECT max(first_position + records) - 1, (SELECT count(*) FROM ordermq.unnumbered)
      FROM ordermq.positions WHERE source = 'shop.order_events'
"""
_PLACED = "SELECT order_id FROM shop.orders WHERE order_id NOT LIKE 'gen-%%'"
_SOLD = """
    SELECT to_char(e.occurred_at AT TIME ZONE 'UTC', 'YYYY-MM-DD HH24'), i.product_id, o.currency,
           sum(i.quantity)::bigint, sum(i.quantity * i.unit_price_minor)::bigint
      FROM shop.order_items AS i
      JOIN shop.orders AS o USING (order_id)
      JOIN shop.order_events AS e ON e.order_id = o.order_id AND e.version = 1
     GROUP BY 1, 2, 3
"""


class RealOrders(Fault):
    """Not in the list of faults: ``make real-orders`` runs it."""

    name = "F33"
    title = "orders of a file; a projection is killed"
    expect = "the stream, the tables and the projection say the same of each order"
    rate = 20.0
    recovers_within_s = 30.0

    def __init__(self, source: OrderSource) -> None:
        self._source = source
        self._sales: SalesProjection | None = None

    def prepare(self, arena: Arena) -> None:
        with arena.session.transaction() as tx:
            load_stock(self._source.stock(), tx)

    def strike(self, arena: Arena) -> None:
        self._sales = sales = SalesProjection(arena)
        arena.ends.callback(sales.kill)
        said: dict[str, Any] = {}
        placing = threading.Thread(target=self._place, args=(arena, said), daemon=True)
        placing.start()
        while placing.is_alive():
            sales.start()
            arena.pause_between(1.0, 4.0)
            sales.kill()
        if "accepted" not in said:
            raise Broken(f"ordermq-publish did not place the orders: {said}")
        sales.start()
        placed = [order_id for (order_id,) in arena.rows(_PLACED)]
        arena.expect(len(placed) == said["accepted"], f"{len(placed)} orders are there, and {said}")
        arena.customers.accepted += placed
        arena.healed()

    def verify(self, arena: Arena) -> None:
        assert self._sales is not None  # strike has made it
        sales = self._sales
        arena.wait_until(
            lambda: [(sales.position(), 0)] == arena.rows(_LAST),
            COUNTED_WITHIN_S,
            "the projection has counted the last event",
        )
        wanted, found = sorted(arena.rows(_SOLD)), sales.rows()
        wrong = set(wanted) ^ set(found)
        arena.expect(
            not wrong, f"the projection differs from the tables in {len(wrong)} rows: {sorted(wrong)[:4]}"
        )
        units = sum(row[3] for row in found)
        arena.notes.append(
            f"{units:,} units in {len(found):,} rows of a projection killed {sales.killed} times"
        )

    def _place(self, arena: Arena, said: dict[str, Any]) -> None:
        argv = ("ordermq-publish", "orders", "-", "--format", self._source.format, "--json")
        done = arena.run(*argv, stdin=b"".join(self._source.lines()), timeout_s=PLACED_WITHIN_S)
        said |= {"code": done.returncode, "stderr": done.stderr[-300:]}
        if done.returncode == 0:
            said |= json.loads(done.stdout)


class SalesProjection:
    """``sales.py`` of docs/events.md in a process, with a database of its own."""

    def __init__(self, arena: Arena) -> None:
        self.killed = 0
        self._arena = arena
        # It commits each event: in memory, where there is a disk of that kind, because no machine is cut off.
        memory = Path("/dev/shm")  # noqa: S108 # the folder in it is made by mkdtemp
        folder = Path(tempfile.mkdtemp(prefix="ordermq-", dir=memory if memory.is_dir() else None))
        arena.ends.callback(shutil.rmtree, folder, ignore_errors=True)
        self._path = folder / "sales.sqlite"
        self._process: subprocess.Popen[bytes] | None = None
        write_example(arena.place.state, "sales.py")

    def start(self) -> None:
        with (self._arena.place.state / "sales.log").open("ab") as log:
            self._process = subprocess.Popen(
                [sys.executable, "sales.py", str(self._path)], env=self._arena.env,
                cwd=self._arena.place.state, stdout=log, stderr=log,
            )  # fmt: skip

    def kill(self) -> None:
        """SIGKILL. Raises Broken if it had ended by itself."""
        process, self._process = self._process, None
        if process is None:
            return
        if process.poll() is not None:
            raise Broken(f"sales.py ended with {process.returncode}: see sales.log")
        process.kill()
        process.wait()
        self.killed += 1

    def position(self) -> int | None:
        """Return the position of the event that was counted last."""
        for (position,) in self._select("SELECT position FROM progress"):
            return int(position)
        return None

    def rows(self) -> list[tuple[Any, ...]]:
        """Return hour, product, currency, units and amount of each row."""
        return list(self._select("SELECT hour, product_id, currency, units, amount_minor FROM sales"))

    def _select(self, sql: str) -> Iterator[tuple[Any, ...]]:
        if not self._path.exists():
            return
        with closing(sqlite3.connect(self._path)) as database:
            try:
                yield from database.execute(sql)
            except sqlite3.OperationalError:  # it has not made its tables
                return
