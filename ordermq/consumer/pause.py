"""Work stands still while what it needs cannot answer, and goes on when it can.

Causes are the database (its disk among them) and the services that calls go to
(``breaker``). Nothing is started or counted meanwhile: prefetch stops the broker from
sending more, and the connection stays alive because its thread is another one.
"""

import logging
import math
import threading
from collections.abc import Callable
from dataclasses import dataclass, field
from random import Random
from typing import TypeVar

from ordermq.backoff import Backoff
from ordermq.clock import monotonic_s
from ordermq.consumer.settle import CANNOT_ANSWER
from ordermq.errors import Contention, DiskFull
from ordermq.observe import metrics
from ordermq.store import Session

log = logging.getLogger(__name__)

T = TypeVar("T")

_MOST_REASONS = 3  # that one pause is logged with
_PROBE = Backoff(base_s=0.2, cap_s=2.0)
_random = Random()


class Abandoned(Exception):
    """The process is to stop while work stands still: leave it to the next consumer."""


@dataclass(frozen=True)
class Cause:
    """Why work stands still: ``name`` is a metric's label, ``until`` what ends it."""

    name: str
    until: str


DATABASE = Cause("database", "the database answers")
DISK_FULL = Cause("disk full", "the database has room on its disk")


@dataclass
class _Stall:
    since_s: float
    until_s: float
    who: set[str] = field(default_factory=set)
    told: set[str] = field(default_factory=set)  # reasons that were logged


class Pause:
    """What stands still for which cause, and since when. Thread-safe."""

    def __init__(self, queue: str) -> None:
        self._queue = queue
        self._causes: dict[Cause, _Stall] = {}
        self._lock = threading.Lock()

    @property
    def lasted_s(self) -> float:
        """Seconds since the first of what now stands still did; 0 if nothing does."""
        with self._lock:
            since_s = [each.since_s for each in self._causes.values()]
        return monotonic_s() - min(since_s) if since_s else 0.0

    @property
    def may_try(self) -> bool:
        """Whether a message is wanted all the same: to find out whether the pause is over."""
        now_s = monotonic_s()
        with self._lock:
            return all(now_s >= each.until_s for each in self._causes.values())

    @property
    def why(self) -> str:
        """What is waited for, in words; empty while nothing stands still."""
        with self._lock:
            return " and ".join(sorted(cause.until for cause in self._causes))

    def begin(self, who: str, cause: Cause, reason: object, *, until_s: float = math.inf) -> None:
        """Let ``who`` stand still; ``until_s`` (monotonic) is when it will need a message to go on."""
        with self._lock:
            standing = self._causes.get(cause)
            if standing is not None:
                standing.who.add(who)
                standing.until_s = until_s
            else:
                self._causes[cause] = standing = _Stall(monotonic_s(), until_s, {who})
            # The first reason is often only that the connection broke; a later one says why.
            is_news = len(standing.told) < _MOST_REASONS and str(reason) not in standing.told
            if not is_news:
                return
            standing.told.add(str(reason))
        metrics.paused.labels(queue=self._queue, reason=cause.name).set(1)
        log.error("paused until %s: %s", cause.until, reason)

    def end(self, who: str, *causes: Cause) -> None:
        """Let ``who`` go on, as far as it stood still for one of ``causes``."""
        for cause in causes:
            with self._lock:
                standing = self._causes.get(cause)
                if standing is None or who not in standing.who:
                    continue
                standing.who.discard(who)
                if standing.who:
                    continue
                del self._causes[cause]
            metrics.paused.labels(queue=self._queue, reason=cause.name).set(0)
            log.warning("resumed: %s", cause.until)


def persist(action: Callable[[], T], session: Session, pause: Pause, stop: threading.Event) -> T:
    """Run ``action`` until it does not fail for want of the database or a lock; return its result.

    Waits between tries with full jitter, up to 2 s. Raises Abandoned when ``stop`` is
    set while it waits. What else ``action`` raises passes through.
    """
    worker = threading.current_thread().name
    attempt = 0
    while True:
        try:
            result = action()
        except (*CANNOT_ANSWER, Contention) as exc:
            session.close()  # the next try connects anew, with the password of that moment
            pause.begin(worker, DISK_FULL if isinstance(exc, DiskFull) else DATABASE, exc)
            if stop.wait(_PROBE.delay_s(attempt, _random)):
                pause.end(worker, DATABASE, DISK_FULL)
                raise Abandoned from exc
            attempt += 1
        else:
            pause.end(worker, DATABASE, DISK_FULL)
            return result
