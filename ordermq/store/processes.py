"""The ``processes`` table: what each process says of itself every few seconds.

A process deletes its row as it stops. The row of one that was killed stays, grows old, and is
deleted by the next process that starts, a day later.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

from ordermq.store.transaction import StoreTransaction

REPORT_EVERY_S = 5.0
LOST_AFTER_S = 20.0  # a process that has said nothing for longer has died, or has lost the database

_REPORT = """
    INSERT INTO ordermq.processes AS p (name, role, queue, host, pid, version, connections, state, reason,
                                        unacked, rate, delivered_at)
    VALUES (%(name)s, %(role)s, %(queue)s, %(host)s, %(pid)s, %(version)s, %(connections)s, %(state)s,
            %(reason)s, %(unacked)s, %(rate)s, now() - %(delivered_s)s * interval '1 second')
    ON CONFLICT (name) DO UPDATE
       SET seen_at = now(), state = excluded.state, reason = excluded.reason, unacked = excluded.unacked,
           rate = excluded.rate, delivered_at = excluded.delivered_at,
           since = CASE WHEN p.state = excluded.state THEN p.since ELSE now() END
"""

_FORGET_OLD = "DELETE FROM ordermq.processes WHERE seen_at < now() - interval '1 day'"

_COLUMNS = """name, role, queue, host, pid, version, connections, state, reason, unacked, rate,
           extract(epoch FROM now() - started_at)::float8, extract(epoch FROM now() - seen_at)::float8,
           extract(epoch FROM now() - since)::float8, extract(epoch FROM now() - delivered_at)::float8"""

_LIST = f"SELECT {_COLUMNS} FROM ordermq.processes ORDER BY role, queue, name"  # noqa: S608 # a constant


_TAKEN = """
    SELECT queue, min(extract(epoch FROM now() - delivered_at))::float8 FROM ordermq.processes
     WHERE delivered_at IS NOT NULL GROUP BY queue
"""

_COUNT_LOST = """
    SELECT count(*) FROM ordermq.processes WHERE seen_at < now() - %s * interval '1 second'
"""


@dataclass(frozen=True)
class ProcessReport:
    """What a process says of itself. ``rate`` is messages settled a second, lately.

    ``connections`` are those to PostgreSQL that it may have open at once. ``delivered_s`` is how long
    ago it was given a message; None if it never was.
    """

    name: str
    role: str
    queue: str
    host: str
    pid: int
    version: str
    connections: int
    state: str
    reason: str = ""
    unacked: int = 0
    rate: float = 0.0
    delivered_s: float | None = None


class ProcessRow(NamedTuple):
    """A row of the table; times are seconds ago, by the database's clock."""

    name: str
    role: str
    queue: str
    host: str
    pid: int
    version: str
    connections: int
    state: str
    reason: str
    unacked: int
    rate: float
    started_s: float
    seen_s: float
    since_s: float
    delivered_s: float | None

    @property
    def is_lost(self) -> bool:
        """Whether it has said nothing for so long that it may be dead."""
        return self.seen_s > LOST_AFTER_S


def write_report(tx: StoreTransaction, report: ProcessReport) -> None:
    """Write what a process says of itself."""
    params: dict[str, Any] = vars(report)
    tx.write(_REPORT, params)


def forget_process(tx: StoreTransaction, name: str) -> None:
    """Delete the row of a process that stops."""
    tx.write("DELETE FROM ordermq.processes WHERE name = %s", (name,))


def forget_old_processes(tx: StoreTransaction) -> None:
    """Delete the rows of processes that were killed a day ago or earlier."""
    tx.write(_FORGET_OLD)


def processes_now(tx: StoreTransaction) -> Sequence[ProcessRow]:
    """Return all rows, by role and queue."""
    return [ProcessRow(*row) for row in tx.fetch_all(_LIST)]


def taken_s(tx: StoreTransaction) -> dict[str, float]:
    """Return how long ago each queue's processes were given a message, where one ever was."""
    return dict(tx.fetch_all(_TAKEN))


def count_lost(tx: StoreTransaction) -> int:
    """Return how many processes have said nothing for LOST_AFTER_S and did not stop."""
    row = tx.fetch_one(_COUNT_LOST, (LOST_AFTER_S,))
    return int(row[0]) if row else 0
