"""What a process says of itself in the table of processes: counts of its messages, and its names."""

import os
import socket

from ordermq import __version__
from ordermq.clock import monotonic_s
from ordermq.store.processes import ProcessReport


class SelfReport:
    """Counts deliveries on the loop's thread; another thread asks for the report."""

    def __init__(self, role: str, queue: str, name: str, connections: int) -> None:
        self._role = role
        self._queue = queue
        self._name = name
        self._connections = connections
        self._host = socket.gethostname()[:200]
        self._delivered = 0
        self._delivered_s: float | None = None  # monotonic
        self._settled_before = 0
        self._asked_s = monotonic_s()

    def delivered(self, count: int) -> None:
        """Note that the broker delivered messages."""
        self._delivered += count
        self._delivered_s = monotonic_s()

    def now(self, state: str, reason: str, unacked: int) -> ProcessReport:
        """Return the report; its rate is that since the last one."""
        now_s = monotonic_s()
        settled = self._delivered - unacked
        rate = max(0.0, settled - self._settled_before) / max(0.1, now_s - self._asked_s)
        self._settled_before, self._asked_s = settled, now_s
        return ProcessReport(
            self._name, self._role, self._queue, self._host, os.getpid(), __version__, self._connections,
            state, reason, unacked, round(rate, 2),
            None if self._delivered_s is None else now_s - self._delivered_s,
        )  # fmt: skip
