"""Work stands still while something it needs does not answer, and goes on when that does.

Causes are the database (its disk among them), the services that calls go to (``breaker``), and a
person (``control``). Nothing is started or counted meanwhile: prefetch stops the broker from
sending more, and the connection stays alive because another thread owns it.
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
from ordermq.log_events import CONSUMER_PAUSED, CONSUMER_RESUMED
from ordermq.observe import metrics
from ordermq.store import Session

log = logging.getLogger(__name__)

T = TypeVar("T")

_MOST_REASONS = 3  # reasons logged for one pause
_PROBE = Backoff(base_s=0.2, cap_s=2.0)
_random = Random()


class Abandoned(Exception):
    """The process is to stop while work stands still: the next consumer does the work."""


@dataclass(frozen=True)
class Cause:
    """Why work stands still: ``name`` is a metric's label, ``until`` what ends it.

    ``is_fault`` is False if it was meant.
    """

    name: str
    until: str
    is_fault: bool = True


DATABASE = Cause("database", "the database answers")
DISK_FULL = Cause("disk full", "the database has room on its disk")


@dataclass
class _Stall:
    since_s: float
    until_s: float
    who: set[str] = field(default_factory=set)  # threads and dependencies
    logged: set[str] = field(default_factory=set)  # reasons


class Pause:
    """The causes for which work stands still now, and since when. Thread-safe."""

    def __init__(self, queue: str) -> None:
        self.queue = queue
        self._causes: dict[Cause, _Stall] = {}
        self._lock = threading.Lock()

    @property
    def lasted_s(self) -> float:
        """Seconds since the oldest present cause; 0 if nothing stands still."""
        with self._lock:
            since_s = [each.since_s for each in self._causes.values()]
        return monotonic_s() - min(since_s) if since_s else 0.0

    @property
    def may_try(self) -> bool:
        """Whether a message is needed now, to find out whether the pause is over."""
        now_s = monotonic_s()
        with self._lock:
            return all(now_s >= each.until_s for each in self._causes.values())

    @property
    def why(self) -> str:
        """What ends the pause, in words; empty while nothing stands still."""
        with self._lock:
            return " and ".join(sorted(cause.until for cause in self._causes))

    def begin(self, who: str, cause: Cause, reason: object, *, until_s: float = math.inf) -> None:
        """Let ``who`` stand still; ``until_s`` (monotonic) is when it will need a message to go on."""
        with self._lock:
            stall = self._causes.get(cause)
            if stall is not None:
                stall.who.add(who)
                stall.until_s = until_s
            else:
                self._causes[cause] = stall = _Stall(monotonic_s(), until_s, {who})
            # The first reason is often only that the connection broke; a later one says why.
            is_news = len(stall.logged) < _MOST_REASONS and str(reason) not in stall.logged
            if not is_news:
                return
            stall.logged.add(str(reason))
        metrics.paused.labels(queue=self.queue, reason=cause.name).set(1)
        log.log(
            logging.ERROR if cause.is_fault else logging.WARNING,
            "paused until %s: %s",
            cause.until,
            reason,
            extra=CONSUMER_PAUSED,
        )

    def end(self, who: str, *causes: Cause) -> None:
        """Let ``who`` go on, if it stood still for one of ``causes``."""
        for cause in causes:
            with self._lock:
                stall = self._causes.get(cause)
                if stall is None or who not in stall.who:
                    continue
                stall.who.discard(who)
                if stall.who:
                    continue
                del self._causes[cause]
            metrics.paused.labels(queue=self.queue, reason=cause.name).set(0)
            log.warning("resumed: %s", cause.until, extra=CONSUMER_RESUMED)


def persist(action: Callable[[], T], session: Session, pause: Pause, stop: threading.Event) -> T:
    """Run ``action`` until neither the database nor a lock keeps it from ending; return its result.

    Waits between tries with full jitter, up to 2 s. Raises Abandoned when ``stop`` is
    set while it waits. Any other error of ``action`` passes through.
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
