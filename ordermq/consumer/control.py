"""What people have decided about this process's queue and the services it calls, read once a second.

The same thread says every few seconds what the process does, for 'ordermq status'.

Invariants
    CTL1  Nothing is begun before the first look (unless the database is away, and no handler of
        the queue needs it), and nothing new while the queue is paused: the
        intake hands out nothing, and what was prepared is not called. What runs is finished.
    CTL2  While the database cannot be asked, what the last look found stays in force.
"""

import logging
import threading
from collections.abc import Callable

from ordermq.clock import monotonic_s, utc_now
from ordermq.consumer.context import WorkerContext
from ordermq.consumer.pause import DATABASE, Cause
from ordermq.consumer.spans import Span
from ordermq.errors import StoreError
from ordermq.log_events import CONSUMER_PAUSE_UNKNOWN
from ordermq.store import Session, StoreTransaction
from ordermq.store.control import Decided, Metered, read_decided
from ordermq.store.pauses import QueuePause
from ordermq.store.processes import (
    REPORT_EVERY_S,
    ProcessReport,
    forget_old_processes,
    forget_process,
    write_report,
)
from ordermq.store.tail import add_settled
from ordermq.topology.names import DEAD

log = logging.getLogger(__name__)

LOOK_EVERY_S = 1.0
OPERATOR = "operator"  # the reason in metrics
_WHO = "control"  # among those that stand still
_NOTHING = Decided([], {}, [])


class Control:
    """A thread that looks once a second, on a session of its own. ``on_change`` is called by it."""

    def __init__(self, context: WorkerContext, report: Callable[[], ProcessReport]) -> None:
        """``report`` says what the process does; it is called by the control's thread."""
        self.failure: StoreError | None = None  # why the first look failed, if only a person can mend it
        self._context = context
        self._queue = queue = context.queue
        self._dependencies = sorted(_dependencies(context))
        self._session = Session(context.settings.database, name=f"ordermq-consumer {queue} control")
        self._ended: list[QueuePause] = []
        self._metered: list[Metered] = []
        self._cause: Cause | None = None  # while the queue is paused
        self._needs_database = _needs_database(context)
        self._has_looked = False
        self._is_blind = False  # the last look failed, which was logged
        self._report = report
        self._reported_s = 0.0  # monotonic
        self._is_starting = True  # then it says at each look how it is
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
            self._try(lambda tx: forget_process(tx, self._context.owner))
        finally:
            self._session.close()

    def _try(self, look: Callable[[StoreTransaction], None]) -> None:
        try:
            with self._session.transaction() as tx:
                look(tx)
            self._is_blind = False
        except StoreError as exc:
            if not self._is_blind:
                log.warning(
                    "cannot read whether the queue is paused, so nothing is changed: %s",
                    exc,
                    extra=CONSUMER_PAUSE_UNKNOWN,
                )
            self._is_blind = True
            if not self._needs_database:
                self._has_looked = True  # its handlers work without, so an outage does not keep them from it
            elif not self._has_looked:
                self._context.pause.begin(_WHO, DATABASE, exc)
                self.failure = None if exc.retryable else exc

    def _look(self, tx: StoreTransaction) -> None:
        """Read what is decided; every few seconds the statement that says how the process is goes with it."""
        if not self._has_looked:
            forget_old_processes(tx)
        if self._is_starting or monotonic_s() - self._reported_s >= REPORT_EVERY_S:
            self._reported_s = monotonic_s()
            report = self._report()
            self._is_starting = report.state == "starting"
            write_report(tx, report)
        before = utc_now()
        found = read_decided(
            tx, self._queue, self._dependencies,
            after_pause=self._ended[-1].pause_id if self._ended else 0,
            after_metered=self._metered[-1].metered_id if self._metered else 0,
        )  # fmt: skip
        if found.database_at is not None:
            self._context.database_clock.compared(found.database_at, before, utc_now())
            found = found._replace(database_at=None)
        self._write_settled(tx, is_tapped=found.is_tapped)
        self._context.holds.are_any = found.has_holds
        if found != _NOTHING or self._cause is not None or self._context.limits.by_dependency:
            self._take(found)
        self._has_looked = True
        self._context.pause.end(_WHO, DATABASE)

    def _write_settled(self, tx: StoreTransaction, *, is_tapped: bool) -> None:
        """Write down what was settled since the last look, if somebody still looks."""
        tap = self._context.tap
        if (noted := tap.take(self._context.owner)) and is_tapped:
            add_settled(tx, noted)
        tap.is_open = is_tapped

    def _take(self, found: Decided) -> None:
        if found.limits != self._context.limits.by_dependency:
            self._context.limits.by_dependency = found.limits
            # A worker that waits for messages already would take the next ones without a token.
            self._context.intake.wake()
        self._metered += [each for each in found.metered if each.metered_id]
        self._ended += [each for each in found.pauses if each.resumed_at is not None]
        lasting = [each for each in found.pauses if each.resumed_at is None]
        latest = [each for each in found.metered if not each.metered_id]
        self._context.held.replace([
            *(Span(each.paused_at, each.resumed_at) for each in (*self._ended, *lasting)),
            *(Span(each.since, each.until) for each in (*self._metered, *latest)),
        ])  # fmt: skip
        self._set_cause(_cause(lasting[0]) if lasting else None)

    def _set_cause(self, cause: Cause | None) -> None:
        """Pause for another cause, or for none any more (CTL1)."""
        intake, pause, previous = self._context.intake, self._context.pause, self._cause
        if cause == previous:
            return
        if cause is not None:
            intake.hold()
            pause.begin(OPERATOR, cause, "nothing new is begun; what runs is finished")
        self._cause = cause
        if previous is not None:
            pause.end(OPERATOR, previous)
        if cause is None:
            intake.release()


def _dependencies(context: WorkerContext) -> set[str]:
    """Return the services that the queue's handlers call."""
    handlers = [] if context.queue == DEAD else context.registry.of_queue(context.queue)
    return {each.dependency for each in handlers if each.is_external}


def _needs_database(context: WorkerContext) -> bool:
    """Whether a handler of the queue gets a transaction."""
    return context.queue == DEAD or any(each.inbox for each in context.registry.of_queue(context.queue))


def _cause(paused: QueuePause) -> Cause:
    until = f"'ordermq resume {paused.queue}' ({paused.paused_by} paused it: {paused.pause_reason})"
    return Cause(OPERATOR, until, is_fault=False)
