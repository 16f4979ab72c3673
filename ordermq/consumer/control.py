"""What people have decided about this process's queue, read from the database once a second.

Invariants
    CTL1  Nothing is begun before the first look, and nothing new while the queue is paused: the
        intake hands out nothing, and what was prepared is not called. What runs is finished.
    CTL2  While the database cannot be asked, what the last look found stays in force.
"""

import logging
import threading
from collections.abc import Callable

from ordermq.config.settings import DatabaseSettings
from ordermq.consumer.intake import Intake
from ordermq.consumer.pause import Cause, Pause
from ordermq.consumer.spans import HeldSpans, Span
from ordermq.errors import StoreError
from ordermq.store import Session, StoreTransaction, pauses
from ordermq.store.pauses import QueuePause

log = logging.getLogger(__name__)

LOOK_EVERY_S = 1.0
OPERATOR = "operator"  # the reason in metrics


class Control:
    """A thread that looks once a second, on a session of its own. ``on_change`` is called by it."""

    def __init__(
        self, queue: str, database: DatabaseSettings, intake: Intake, pause: Pause, held: HeldSpans
    ) -> None:
        self.failure: StoreError | None = None  # why the first look failed, if only a person can mend it
        self._queue = queue
        self._session = Session(database, name=f"ordermq-consumer {queue} control")
        self._intake = intake
        self._pause = pause
        self._held = held
        self._ended: list[QueuePause] = []
        self._cause: Cause | None = None  # while the queue is paused
        self._has_looked = False
        self._is_blind = False  # the last look failed, which was logged
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._main, name=f"ordermq-{queue}-control", daemon=True)

    def start(self) -> None:
        """Begin to look."""
        self._thread.start()

    def stop(self) -> None:
        """Look no more. Does not wait."""
        self._stopping.set()

    @property
    def may_begin(self) -> bool:
        """Whether messages may be taken: a first look was had, and the queue is not paused."""
        return self._has_looked and self._cause is None

    @property
    def is_paused(self) -> bool:
        """Whether a person has paused the queue."""
        return self._cause is not None

    def _main(self) -> None:
        try:
            while not self._stopping.is_set():
                self._try(self._look)
                self._stopping.wait(LOOK_EVERY_S)
        finally:
            self._session.close()

    def _try(self, look: Callable[[StoreTransaction], None]) -> None:
        try:
            with self._session.transaction() as tx:
                look(tx)
            self._is_blind = False
        except StoreError as exc:
            if not self._is_blind:
                log.warning("cannot read whether the queue is paused, so nothing is changed: %s", exc)
            self._is_blind = True
            if not (self._has_looked or exc.retryable):
                self.failure = exc

    def _look(self, tx: StoreTransaction) -> None:
        last = self._ended[-1].pause_id if self._ended else 0
        found = pauses.pauses_after(tx, self._queue, last)
        if found or self._cause is not None or not self._has_looked:
            self._take(found)
        self._has_looked = True

    def _take(self, found: list[QueuePause]) -> None:
        self._ended += [each for each in found if each.resumed_at is not None]
        lasting = [each for each in found if each.resumed_at is None]
        self._held.replace(Span(each.paused_at, each.resumed_at) for each in (*self._ended, *lasting))
        cause = _cause(lasting[0]) if lasting else None
        if cause == self._cause:
            return
        if cause is not None:
            self._intake.hold()
            self._pause.begin(OPERATOR, cause, "nothing new is begun; what runs is finished")
        previous, self._cause = self._cause, cause
        if previous is not None:
            self._pause.end(OPERATOR, previous)
        if cause is None:
            self._intake.release()


def _cause(paused: QueuePause) -> Cause:
    until = f"'ordermq resume {paused.queue}' ({paused.paused_by} paused it: {paused.pause_reason})"
    return Cause(OPERATOR, until, is_fault=False)
