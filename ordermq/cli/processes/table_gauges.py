"""What the framework's tables say, as gauges. Each query is bounded: none grows with the history."""

from collections.abc import Collection, Mapping
from typing import Any

from prometheus_client import Gauge

from ordermq.cli.program import ReadGauges, Reading
from ordermq.observe import metrics
from ordermq.store import (
    StoreTransaction,
    dead_letters,
    feed_lag,
    leases,
    numbering,
    outbox,
    processes,
    server,
)
from ordermq.store.runs import OVERDUE, runs

HOT_TABLES = tuple(
    f"ordermq.{name}" for name in ("buckets", "inbox", "leases", "outbox", "processes", "slots", "starts")
)


def _letters(tx: StoreTransaction, _: Any) -> Mapping[Gauge, Reading]:
    return {metrics.dead_letters_open: dead_letters.count_open(tx)}


def _causes(tx: StoreTransaction, _: Any) -> Mapping[Gauge, Reading]:
    found = dead_letters.causes(tx, limit=metrics.MOST_FINGERPRINTS)
    return {metrics.dead_letters_by_cause: {(each.queue, each.fingerprint): each.letters for each in found}}


def _outbox(tx: StoreTransaction, _: Any) -> Mapping[Gauge, Reading]:
    return {metrics.outbox_refused: outbox.count_refused(tx)}


def _processes(tx: StoreTransaction, _: Any) -> Mapping[Gauge, Reading]:
    return {metrics.processes_lost: processes.count_lost(tx)}


def _leases(tx: StoreTransaction, _: Any) -> Mapping[Gauge, Reading]:
    found = leases.count(tx)
    return {
        metrics.leases: {(queue,): count for queue, count, _ in found},
        metrics.leases_expired: {(queue,): expired for queue, _, expired in found},
    }


def _runs(tx: StoreTransaction, _: Any) -> Mapping[Gauge, Reading]:
    found = runs(tx)
    return {
        metrics.last_run: {(task,): last_at for task, _, _, last_at in found if task != OVERDUE},
        metrics.handlers_overdue: {(queue,): total for task, queue, total, _ in found if task == OVERDUE},
    }


def _server(tx: StoreTransaction, _: Any) -> Mapping[Gauge, Reading]:
    oldest_s, queue_ratio = server.strain(tx)
    dead = server.dead_rows(tx, HOT_TABLES)
    return {
        metrics.transaction_oldest_seconds: oldest_s,
        metrics.notification_queue: queue_ratio,
        metrics.table_dead_rows: {(name,): count for name, count in dead.items()},
    }


def numbering_of(sequencer: numbering.Sequencer) -> ReadGauges:
    """Return what reads for how long records have waited for their positions."""
    return lambda tx, _: {metrics.numbering_waits: numbering.waits_s(tx, sequencer.low)}


def feeds_of(names: Collection[str]) -> ReadGauges:
    """Return what reads how far each feed is behind; records of these sources are events."""

    def read(tx: StoreTransaction, _: Any) -> Mapping[Gauge, Reading]:
        found = feed_lag.feeds_now(tx, names)
        return {
            metrics.feed_behind: {(each.feed,): each.behind for each in found},
            metrics.feed_behind_seconds: {(each.feed,): each.behind_s for each in found},
        }

    return read


READS: tuple[ReadGauges, ...] = (_letters, _causes, _outbox, _processes, _leases, _runs, _server)
"""Each is read in a transaction of its own: a missing privilege costs only what needs it."""
