"""How many lines a process writes about what happens often and means no trouble. Pure but for its lock.

Ten lines at once, then so many a second; what has no line is counted, and the next line says how
many. Trouble is not sampled: a warning or an error is always written.

Invariants
    SMP1  Each event has a line or is counted by a line that follows.
"""

import threading
from collections.abc import Callable

from ordermq.clock import monotonic_s

BURST = 10


class LineBudget:
    """The lines that may be written: ``per_s`` a second, 0 for none. Thread-safe."""

    def __init__(self, per_s: float, *, now: Callable[[], float] = monotonic_s) -> None:
        self._per_s = per_s
        self._now = now
        self._left = float(BURST)
        self._unsaid = 0
        self._at_s = now()
        self._lock = threading.Lock()

    def set_rate(self, per_s: float) -> None:
        """Allow ``per_s`` lines a second from now on."""
        with self._lock:
            self._per_s = per_s

    def take(self, count: int) -> tuple[int, int]:
        """Count ``count`` events; return how many of them have a line, and how many before had none."""
        if not self._per_s:
            return 0, 0
        with self._lock:
            now_s = self._now()
            self._left = min(BURST, self._left + (now_s - self._at_s) * self._per_s)
            self._at_s = now_s
            lines = min(count, int(self._left))
            unsaid = self._unsaid
            self._left -= lines
            self._unsaid = count - lines if lines else unsaid + count
            return lines, unsaid if lines else 0
