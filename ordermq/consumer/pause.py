"""Work stands still while the database cannot answer, and goes on when it can.

Nothing is settled, started or counted meanwhile: prefetch stops the broker from
sending more, and the connection stays alive because its thread is another one.
"""

import logging
import threading
from collections.abc import Callable
from random import Random
from typing import TypeVar

from ordermq.backoff import Backoff
from ordermq.clock import monotonic_s
from ordermq.consumer.settle import CANNOT_ANSWER
from ordermq.errors import Contention
from ordermq.observe import metrics
from ordermq.store import Session

log = logging.getLogger(__name__)

T = TypeVar("T")

_PROBE = Backoff(base_s=0.2, cap_s=5.0)


class Abandoned(Exception):
    """The process is to stop while work stands still: leave it to the next consumer."""


class Pause:
    """Which workers stand still, and since when. Thread-safe."""

    def __init__(self, queue: str) -> None:
        self._queue = queue
        self._standing: set[str] = set()
        self._since_s = 0.0
        self._lock = threading.Lock()

    @property
    def lasted_s(self) -> float:
        """Seconds since the first of the workers now standing still did; 0 if none does."""
        with self._lock:
            return monotonic_s() - self._since_s if self._standing else 0.0

    def begin(self, worker: str, reason: BaseException) -> None:
        with self._lock:
            if self._standing:
                self._standing.add(worker)
                return
            self._standing.add(worker)
            self._since_s = monotonic_s()
        metrics.paused.labels(queue=self._queue, reason="database").set(1)
        log.error("paused until the database answers: %s", reason)

    def end(self, worker: str) -> None:
        with self._lock:
            if worker not in self._standing:
                return
            self._standing.discard(worker)
            if self._standing:
                return
        metrics.paused.labels(queue=self._queue, reason="database").set(0)
        log.warning("resumed: the database answers")


def persist(action: Callable[[], T], session: Session, pause: Pause, stop: threading.Event) -> T:
    """Run ``action`` until it does not fail for want of the database or a lock; return its result.

    Waits between tries with full jitter, up to 5 s. Raises Abandoned when ``stop`` is
    set while it waits. What else ``action`` raises passes through.
    """
    worker = threading.current_thread().name
    random = Random()
    attempt = 0
    while True:
        try:
            result = action()
        except (*CANNOT_ANSWER, Contention) as exc:
            session.close()  # the next try connects anew, with the password of that moment
            pause.begin(worker, exc)
            if stop.wait(_PROBE.delay_s(attempt, random)):
                pause.end(worker)
                raise Abandoned from exc
            attempt += 1
        else:
            pause.end(worker)
            return result
