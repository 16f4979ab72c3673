"""Metrics of connections and publishings, and of the rows that wait for a person."""

import logging
import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import partial
from typing import Any

from prometheus_client import Gauge

from ordermq.amqp import ConnectionState, PublishOutcome
from ordermq.cli.processes.queue_watch import QueueWatch
from ordermq.cli.processes.table_gauges import READS
from ordermq.cli.program import ReadGauges, Reading
from ordermq.clock import monotonic_s, utc_now
from ordermq.consumer.selfreport import SelfReport
from ordermq.errors import StoreError, StoreUnavailable
from ordermq.events.publishing import EventPublishing
from ordermq.log_events import METERING_FAILED, NUMBERING_FAILED, REPORT_FAILED
from ordermq.observe import metrics
from ordermq.observe.health import Health
from ordermq.store import Session, StoreTransaction
from ordermq.store.numbering import Sequencer, waits_s
from ordermq.store.processes import REPORT_EVERY_S, forget_process, taken_s, write_report

log = logging.getLogger(__name__)

_COUNTERS = {
    PublishOutcome.CONFIRMED: metrics.confirmed,
    PublishOutcome.RETURNED: metrics.returned,
    PublishOutcome.NACKED: metrics.nacked,
    PublishOutcome.UNKNOWN: metrics.unknown,
}


class ConnectionMeter:
    """Exports the states of one connection and counts its reconnects; an observer for its manager.

    With ``health`` the process is ready only while the connection is open.
    """

    def __init__(self, role: str, health: Health | None = None) -> None:
        self._role = role
        self._health = health
        self._previous = ConnectionState.NEW
        self._opened = 0

    def __call__(self, state: ConnectionState) -> None:
        metrics.connection_entered(self._role, state.value, utc_now())
        if state is ConnectionState.OPEN and self._previous is not ConnectionState.BLOCKED:
            self._opened += 1
            if self._opened > 1:
                metrics.reconnects.labels(self._role).inc()
        self._previous = state
        if self._health is not None:
            self._health.set_ready(state is ConnectionState.OPEN, f"connection {state.value}", name="broker")


class PublishMeter:
    """Counts publishings and their outcomes; an observer for ``Publisher``."""

    def published(self, count: int) -> None:
        metrics.published.inc(count)

    def resolved(self, outcome: PublishOutcome, count: int, latency_s: float) -> None:
        if outcome in _COUNTERS:
            _COUNTERS[outcome].inc(count)
        if outcome is PublishOutcome.CONFIRMED:
            metrics.confirm_seconds.observe(latency_s)


class RelayReporter:
    """Says in the table of processes every few seconds what a relay does; called after each turn.

    A process that cannot say it goes on. Raises StoreUnavailable if the database is away.
    """

    def __init__(self, name: str) -> None:
        self._name = name
        self._report = SelfReport("relay", "", name, 2)
        self._next_s = -math.inf
        self._state = ""

    def __call__(self, session: Session, *, is_active: bool) -> None:
        self._say(session, "active" if is_active else "standby")

    def without_broker(self, session: Session) -> None:
        """Say that the relay waits for a broker."""
        self._say(session, "waiting", "no broker takes messages from it")

    def _say(self, session: Session, state: str, reason: str = "") -> None:
        now_s = monotonic_s()
        if now_s < self._next_s and state == self._state:
            return
        self._next_s, self._state = now_s + REPORT_EVERY_S, state
        try:
            with session.transaction() as tx:
                write_report(tx, self._report.now(state, reason, 0))
        except StoreUnavailable:
            raise
        except StoreError as exc:
            log.warning("the relay cannot say what it does: %s", exc, extra=REPORT_FAILED)

    def forget(self, session: Session) -> None:
        """Delete what was said last: the relay stops."""
        try:
            with session.transaction() as tx:
                forget_process(tx, self._name)
        except StoreError as exc:
            log.debug("the relay cannot say that it stops: %s", exc, extra=REPORT_FAILED)


class TableMeter:
    """Exports the gauges of framework and modules. The relay calls it often; it reads every ``every_s``.

    A standby exports zeros, and nothing of gauges with labels. A gauge that cannot be read (a missing
    privilege, a slow query, a bug) is logged, and the relay goes on. Raises StoreUnavailable if the
    database is away.
    """

    def __init__(
        self,
        reads: Sequence[ReadGauges],
        config: Any,
        reporter: RelayReporter | None = None,
        watch: QueueWatch | None = None,
        *,
        every_s: float = 15.0,
    ) -> None:
        self._reads = (*READS, *reads)
        self._reporter = reporter
        self._watch = watch
        self._config = config
        self._every_s = every_s
        self._next_s = 0.0
        self._shown: dict[ReadGauges, set[Shown]] = {}
        self._failed: set[ReadGauges] = set()

    def __call__(self, session: Session, *, is_active: bool) -> None:
        if self._reporter is not None:
            self._reporter(session, is_active=is_active)
        if self._watch is not None:
            self._watch.is_active = is_active
        if not is_active:
            for shown in self._shown.values():
                _hide(shown)
            self._shown.clear()
            self._next_s = 0.0
        elif monotonic_s() >= self._next_s:
            for read in (*self._reads, self._read_taken):
                self._show(read, session)
            # From here on, or a slow read would be followed by the next one at once.
            self._next_s = monotonic_s() + self._every_s

    def without_broker(self, session: Session) -> None:
        """Have the reporter say so. The gauges stay as they were read last."""
        if self._reporter is not None:
            self._reporter.without_broker(session)

    def _show(self, read: ReadGauges, session: Session) -> None:
        try:
            with session.transaction() as tx:
                tx.write("SET LOCAL statement_timeout = %s", (_READ_WITHIN_MS,))
                tx.write("SET LOCAL lock_timeout = %s", (_LOCK_WITHIN_MS,))
                values = read(tx, self._config)
            self._set(read, values)
        except StoreUnavailable:
            raise
        except Exception as exc:  # a fault in a module's gauges must not stop the relay
            if read not in self._failed:
                log.warning(
                    "metrics of the tables cannot be read: %s: %s",
                    type(exc).__name__, exc,
                    extra=METERING_FAILED,
                )  # fmt: skip
            self._failed.add(read)
            return
        self._failed.discard(read)

    def _read_taken(self, tx: StoreTransaction, _: Any) -> Mapping[Gauge, Reading]:
        if self._watch is not None:
            self._watch.taken_s = taken_s(tx)
        return {}

    def _set(self, read: ReadGauges, values: Mapping[Gauge, Reading]) -> None:
        now = set[Shown]()
        for gauge, value in values.items():
            for labels, number in value.items() if isinstance(value, Mapping) else (((), value),):
                (gauge.labels(*labels) if labels else gauge).set(number)
                now.add((gauge, labels))
        _hide(self._shown.get(read, set()) - now)
        self._shown[read] = now


class NumberingMeter:
    """Gives positions to records that have committed, wakes ``events``, then shows what ``meter`` shows.

    It is called after each turn, and often while the broker lets none be. If numbering fails (a missing
    privilege), that is logged once and the relay goes on. Raises StoreUnavailable if the database is away.
    """

    def __init__(
        self, meter: TableMeter, sequencer: Sequencer, events: EventPublishing | None = None
    ) -> None:
        self._meter = meter
        self._sequencer = sequencer
        self._events = events
        self._has_failed = False
        self._has_been_away = False  # it has shown what waits without being active
        self._show_at_s = -math.inf

    def __call__(self, session: Session, *, is_active: bool) -> None:
        numbered = self._number(partial(self._sequencer, session, is_active=is_active))
        self._tell(is_active=is_active, numbered=numbered)
        if self._has_been_away:
            self._has_been_away = False
            metrics.numbering_waits.set(0)  # the active relay shows it
        self._meter(session, is_active=is_active)

    def without_broker(self, session: Session) -> None:
        """Give positions to what no active relay has numbered, and show for how long records wait.

        Raises StoreUnavailable if the database is away.
        """
        self._number(partial(self._sequencer.number_left, session))
        now_s = monotonic_s()
        if now_s >= self._show_at_s:
            self._show_at_s, self._has_been_away = now_s + _SHOW_EVERY_S, True
            with session.transaction() as tx:
                metrics.numbering_waits.set(waits_s(tx, self._sequencer.low))
        self._meter.without_broker(session)

    def _number(self, work: Callable[[], int]) -> int:
        try:
            numbered = work()
        except StoreUnavailable:
            raise
        except StoreError as exc:
            if not self._has_failed:
                log.warning("records get no positions: %s", exc, extra=NUMBERING_FAILED)
            self._has_failed = True
            return 0
        self._has_failed = False
        return numbered

    def _tell(self, *, is_active: bool, numbered: int) -> None:
        """Have the events published that got positions, by the active relay."""
        events = self._events
        if events is not None and (numbered or is_active is not events.is_active):
            events.is_active = is_active
            events.wake()


_SHOW_EVERY_S = 5.0

# The relay waits for each of them.
_READ_WITHIN_MS = 2000
_LOCK_WITHIN_MS = 500

Shown = tuple[Gauge, tuple[str, ...]]


def _hide(shown: Iterable[Shown]) -> None:
    """Forget series with labels; the others become 0."""
    for gauge, labels in shown:
        if labels:
            gauge.remove(*labels)
        else:
            gauge.set(0)
