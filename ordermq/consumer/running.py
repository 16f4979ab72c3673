"""Which thread runs a handler, on which messages, since when.

A worker notes every call into a handler's code here, and the loop reads it: so a handler
that never returns is seen although its thread can say nothing. Thread-safe.
"""

import math
import sys
import threading
import traceback
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

from ordermq.clock import monotonic_s
from ordermq.consumer.received import Readable, Received
from ordermq.lifecycle import MessageInHand


@dataclass(frozen=True, slots=True)
class HandlerRun:
    """A call into a handler of ``queue`` that has not returned."""

    queue: str
    messages: Sequence[Received]
    thread: str
    ident: int
    since_s: float  # monotonic

    @property
    def lasted_s(self) -> float:
        """Seconds since the call began."""
        return monotonic_s() - self.since_s

    @property
    def stack(self) -> str:
        """Where the thread is now: files, lines and names, no values."""
        frame = sys._current_frames().get(self.ident)
        return "".join(traceback.format_stack(frame)) if frame else ""


class RunningHandlers:
    """The calls into handlers that run now, one a thread; one that lasts past ``deadline_s`` is overdue."""

    def __init__(self, deadline_s: float = math.inf) -> None:
        self.deadline_s = deadline_s
        self._runs: dict[int, HandlerRun] = {}
        self._ended_s: dict[int, float] = {}  # when the last call of a thread returned (monotonic)
        self._lock = threading.Lock()

    @contextmanager
    def noted(self, queue: str, messages: Sequence[Received]) -> Iterator[None]:
        """Note, for the length of the block, that it calls into the handler of ``messages``."""
        ident = threading.get_ident()
        run = HandlerRun(queue, messages, threading.current_thread().name, ident, monotonic_s())
        with self._lock:
            self._runs[ident] = run
        try:
            yield
        finally:
            with self._lock:
                self._runs.pop(ident, None)
                self._ended_s[ident] = monotonic_s()

    def runs(self) -> list[HandlerRun]:
        """Return the calls that have not returned."""
        with self._lock:
            return list(self._runs.values())

    def in_flight(self) -> list[MessageInHand]:
        """Return the messages of the calls that have not returned."""
        return [
            MessageInHand(run.queue, each.message_id, each.envelope.type, _handler_of(each), run.since_s)
            for run in self.runs()
            for each in run.messages
        ]

    def silent_since_s(self, ident: int | None) -> float:
        """Return when the thread last left a handler (monotonic); infinity while it is in one."""
        with self._lock:
            return math.inf if ident in self._runs else self._ended_s.get(ident or 0, 0.0)

    def overdue(self) -> list[HandlerRun]:
        """Return the calls that have lasted past the deadline."""
        return [run for run in self.runs() if run.lasted_s > self.deadline_s]


def _handler_of(message: Received) -> str:
    return message.handler.call.__qualname__ if isinstance(message, Readable) else ""
