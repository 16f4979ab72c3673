"""What ``ordermq status`` shows: one look at database and broker. What cannot be learnt is said."""

from collections import defaultdict
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field, replace
from datetime import datetime
from threading import Event
from typing import Any, NamedTuple

from ordermq.amqp import (
    ConnectionManager,
    ConnectionState,
    QueueNumbers,
    alarms_of,
    queue_depth,
    read_nodes,
    read_queues,
)
from ordermq.cli.program import Program
from ordermq.clock import utc_now
from ordermq.errors import BrokerError, OrderMQError, StoreError
from ordermq.module import StatusLine
from ordermq.store import StoreTransaction, dead_letters, limits, outbox, pauses, processes
from ordermq.store.dead_letters import DeathCause
from ordermq.store.feed_lag import FeedStatus, feeds_now
from ordermq.store.limits import LimitStatus
from ordermq.store.pauses import QueuePause
from ordermq.store.processes import ProcessRow
from ordermq.topology.names import DEAD, queue_name

GIVE_UP_AFTER_S = 3.0
MOST_CAUSES = 10


@dataclass(frozen=True)
class QueueStatus:
    """A queue; None where nobody says it. ``delivered_s`` is how long ago a consumer was given a message.

    ``idle_s`` is for how long a queue with messages that are ready has delivered none: a quorum queue
    does not say how old its oldest message is.
    """

    queue: str
    ready: int | None
    unacked: int
    consumers: int
    rate_in: float | None
    rate_out: float
    delivered_s: float | None
    is_missing: bool = False

    @property
    def idle_s(self) -> float | None:
        return self.delivered_s if self.ready else None


class OutboxStatus(NamedTuple):
    """Rows that are due, and how late the oldest is; rows for later, and rows that were refused."""

    due: int
    oldest_s: float
    later: int
    refused: int


@dataclass(frozen=True)
class Snapshot:
    """One look. ``notes`` say what could not be learnt."""

    at: datetime
    queues: Sequence[QueueStatus] = ()
    processes: Sequence[ProcessRow] = ()
    outbox: OutboxStatus = field(default_factory=lambda: OutboxStatus(0, 0.0, 0, 0))
    paused: Sequence[QueuePause] = ()
    limits: Sequence[LimitStatus] = ()
    dead: Sequence[DeathCause] = ()
    feeds: Sequence[FeedStatus] = ()
    modules: Sequence[tuple[str, StatusLine]] = ()
    alarms: Sequence[str] = ()
    notes: Sequence[str] = field(default_factory=list)

    def document(self) -> dict[str, Any]:
        """Return what ``--json`` prints."""
        return {
            "at": self.at,
            "queues": [{**asdict(each), "idle_s": each.idle_s} for each in self.queues],
            "processes": [{**each._asdict(), "is_lost": each.is_lost} for each in self.processes],
            "outbox": self.outbox._asdict(),
            "paused": [each._asdict() for each in self.paused],
            "limits": [each._asdict() for each in self.limits],
            "dead_letters": [each._asdict() for each in self.dead],
            "feeds": [each._asdict() for each in self.feeds],
            "modules": [{"module": module, **asdict(line)} for module, line in self.modules],
            "alarms": list(self.alarms),
            "notes": list(self.notes),
        }


class Looker:
    """Looks again and again on one session and one connection. Owned by one thread."""

    def __init__(self, program: Program, connection: ConnectionManager) -> None:
        self._program = program
        self._session = program.session("ordermq status")
        self._connection = connection
        self._topology = program.settings.topology
        self._queues = [*sorted({*program.registry.queues, *self._topology.queues}), DEAD]

    def look(self) -> Snapshot:
        """Return what there is now. Blocks for seconds while the broker is away. Raises StoreError."""
        notes: list[str] = []
        with self._session.transaction() as tx:
            found = self._read(tx)
        feeds = self._feeds(notes)
        modules = list(self._modules(notes))
        numbers, alarms = self._managed(notes)
        depths = self._depths(notes)
        queues = [self._queue(name, found.processes, numbers, depths) for name in self._queues]
        return replace(found, queues=queues, feeds=feeds, modules=modules, alarms=alarms, notes=notes)

    def _read(self, tx: StoreTransaction) -> Snapshot:
        callers: defaultdict[str, set[str]] = defaultdict(set)
        for queue in self._program.registry.queues:
            for handler in self._program.registry.of_queue(queue):
                callers[handler.dependency].add(queue)
        due, oldest_s = outbox.pending(tx)
        return Snapshot(
            utc_now(),
            processes=processes.processes_now(tx),
            outbox=OutboxStatus(due, oldest_s, outbox.count_later(tx), outbox.count_refused(tx)),
            paused=pauses.paused_now(tx),
            limits=limits.limits_now(tx, {name: sorted(queues) for name, queues in callers.items()}),
            dead=dead_letters.causes(tx, limit=MOST_CAUSES),
        )

    def _feeds(self, notes: list[str]) -> Sequence[FeedStatus]:
        try:
            with self._session.transaction() as tx:
                return feeds_now(tx, self._program.outward.names)
        except StoreError as exc:
            notes.append(f"how far the events were sent is not known: {exc}")
            return ()

    def _modules(self, notes: list[str]) -> Iterator[tuple[str, StatusLine]]:
        for name, read in self._program.status:
            try:
                with self._session.transaction() as tx:
                    lines = list(read(tx, self._program.loaded))
            except StoreError as exc:
                notes.append(f"module {name} cannot say how it is: {exc}")
            else:
                yield from ((name, line) for line in lines)

    def _managed(self, notes: list[str]) -> tuple[dict[str, QueueNumbers], list[str]]:
        """Return what the management API says; nothing if there is none."""
        url = self._topology.management_url
        if not url:
            notes.append("no rates in and no alarms: topology.management_url is not set")
            return {}, []
        try:
            broker = self._program.settings.broker
            numbers = read_queues(broker, url, timeout_s=GIVE_UP_AFTER_S)
            return numbers, alarms_of(read_nodes(broker, url, timeout_s=GIVE_UP_AFTER_S))
        except OrderMQError as exc:
            notes.append(f"no rates in and no alarms: {exc}")
            return {}, []

    def _depths(self, notes: list[str]) -> dict[str, int | None]:
        """Return the messages that are ready, as the queues themselves say; None for one that is missing."""
        try:
            if self._connection.state is not ConnectionState.OPEN:
                self._connection.connect(Event())
            found = {
                name: queue_depth(self._connection, queue_name(self._topology.prefix, name))
                for name in self._queues
            }
        except BrokerError as exc:
            notes.append(f"the broker does not answer: {exc}")
            self._connection.drop(exc)
            return {}
        return {name: depth and depth.ready for name, depth in found.items()}

    def _queue(
        self,
        name: str,
        running: Sequence[ProcessRow],
        numbers: dict[str, QueueNumbers],
        depths: dict[str, int | None],
    ) -> QueueStatus:
        mine = [each for each in running if each.queue == name and not each.is_lost]
        taken = [each.delivered_s for each in mine if each.delivered_s is not None]
        managed = numbers.get(queue_name(self._topology.prefix, name))
        return QueueStatus(
            name,
            depths.get(name, managed.ready if managed else None),
            managed.unacked if managed else sum(each.unacked for each in mine),
            len(mine),
            managed.rate_in if managed else None,
            sum(each.rate for each in mine),
            min(taken, default=None),
            is_missing=name in depths and depths[name] is None,
        )


@contextmanager
def looking(program: Program) -> Iterator[Looker]:
    """Yield a Looker, and close its connection to the broker at the end."""
    # A person waits for each look, so it gives up sooner than a process that serves.
    settings = replace(
        program.settings.broker, give_up_after_s=GIVE_UP_AFTER_S, connect_timeout_s=GIVE_UP_AFTER_S
    )
    connection = ConnectionManager(settings, name="ordermq status")
    try:
        yield Looker(program, connection)
    finally:
        connection.close()
