"""Which thread runs a handler, on which messages, since when.

Workers write it around every call into a handler's code; the loop reads it, so that
a handler that never returns is seen although its thread can say nothing. Thread-safe.
"""

import sys
import threading
import traceback
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

from ordermq.clock import monotonic_s
from ordermq.consumer.received import Work


@dataclass(frozen=True)
class HandlerRun:
    """A call into a handler that has not returned."""

    works: Sequence[Work]
    thread: str
    ident: int
    since_s: float  # monotonic

    @property
    def lasted_s(self) -> float:
        return monotonic_s() - self.since_s

    @property
    def stack(self) -> str:
        """Where the thread is now: files, lines and names, no values."""
        frame = sys._current_frames().get(self.ident)
        return "".join(traceback.format_stack(frame)) if frame else ""


class RunningHandlers:
    """The calls into handlers that run now, one a thread."""

    def __init__(self) -> None:
        self._runs: dict[int, HandlerRun] = {}
        self._lock = threading.Lock()

    @contextmanager
    def over(self, works: Sequence[Work]) -> Iterator[None]:
        """The block calls into the handler of ``works``."""
        ident = threading.get_ident()
        run = HandlerRun(works, threading.current_thread().name, ident, monotonic_s())
        with self._lock:
            self._runs[ident] = run
        try:
            yield
        finally:
            with self._lock:
                self._runs.pop(ident, None)

    def runs(self) -> list[HandlerRun]:
        with self._lock:
            return list(self._runs.values())
