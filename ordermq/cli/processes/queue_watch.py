"""What the broker says of the queues, asked by one process: the active relay.

On a thread and a connection of its own, so that a broker that answers slowly holds up no relaying.
"""

import logging
import math
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace

from ordermq.amqp import (
    ConnectionManager,
    ConnectionState,
    QueueDepth,
    alarms_of,
    queue_depth,
    read_deprecated,
    read_nodes,
    read_replicas,
)
from ordermq.cli.doctor.tls import certificates
from ordermq.cli.program import Program
from ordermq.clock import Deadline, monotonic_s
from ordermq.errors import BrokerError, OrderMQError
from ordermq.log_events import QUEUES_UNSEEN
from ordermq.observe import metrics
from ordermq.topology.names import DEAD, queue_name

log = logging.getLogger(__name__)

_API_EVERY_S = 60.0
_CERTIFICATES_EVERY_S = 3600.0
_GIVE_UP_AFTER_S = 10.0
_TICK_S = 1.0


class WaitingTimes:
    """For how long each queue has had messages and given none. Pure: the caller says what time it is."""

    def __init__(self) -> None:
        self._since_s: dict[str, float] = {}

    def note(self, queue: str, ready: int, taken_s: float | None, now_s: float) -> float:
        """Return it, now that ``ready`` messages wait and one was last taken ``taken_s`` seconds ago."""
        if not ready:
            self._since_s.pop(queue, None)
            return 0.0
        since_s = self._since_s.setdefault(queue, now_s)
        return min(now_s - since_s, math.inf if taken_s is None else taken_s)


class QueueWatch:
    """Shows depth, consumers and age of each queue, alarms of the broker, and ends of certificates.

    ``is_active`` and ``taken_s`` are set by the relay's thread: how long ago each queue's processes were
    given a message.
    """

    def __init__(self, program: Program) -> None:
        self.is_active = False
        self.taken_s: Mapping[str, float] = {}
        self._program = program
        self._queues = [*sorted({*program.registry.queues, *program.settings.topology.queues}), DEAD]
        self._consumed = {*program.registry.queues, DEAD}  # of the others no process says when it took one
        self._times = WaitingTimes()
        self._next_api_s = self._next_certificates_s = 0.0
        self._is_blind = False

    def look(self, connection: ConnectionManager, stopping: threading.Event) -> None:
        """Look once. What goes wrong with the queues is logged once until it goes well again."""
        try:
            self._look_at_queues(connection, stopping)
            self._is_blind = False
        except BrokerError as exc:
            connection.drop(exc)
            self.forget()
            if not self._is_blind:
                log.warning("metrics of the queues cannot be read: %s", exc, extra=QUEUES_UNSEEN)
            self._is_blind = True
        if not stopping.is_set():
            self._look_beside(monotonic_s())

    def forget(self) -> None:
        """Show nothing of the queues: the broker does not answer."""
        for each in (metrics.queue_ready, metrics.queue_consumers, metrics.queue_waiting_seconds):
            each.clear()

    def stand_by(self) -> None:
        """Show nothing at all, and begin anew when asked again: another relay is active."""
        self.forget()
        self._forget_api()
        metrics.certificate_expires.clear()
        self._times = WaitingTimes()
        self._next_api_s = self._next_certificates_s = 0.0

    def _look_at_queues(self, connection: ConnectionManager, stopping: threading.Event) -> None:
        """Raise what the broker answers, or why it does not."""
        if connection.state is not ConnectionState.OPEN:
            self.forget()  # what was seen last would be shown as if it were so still
            if not connection.connect(stopping):
                return
        prefix = self._program.settings.topology.prefix
        for name in self._queues:
            depth = queue_depth(connection, queue_name(prefix, name))
            self._show(name, depth or QueueDepth(0, 0))

    def _look_beside(self, now_s: float) -> None:
        """Look at what is asked over connections of its own, also while the broker takes none."""
        if now_s >= self._next_api_s:
            self._next_api_s = now_s + _API_EVERY_S
            self._ask_api()
        if now_s >= self._next_certificates_s:
            self._next_certificates_s = now_s + _CERTIFICATES_EVERY_S
            for server, until in certificates(self._program):
                metrics.certificate_expires.labels(server).set(until.timestamp())

    def _show(self, name: str, depth: QueueDepth) -> None:
        metrics.queue_ready.labels(name).set(depth.ready)
        metrics.queue_consumers.labels(name).set(depth.consumers)
        if name in self._consumed:
            waiting_s = self._times.note(name, depth.ready, self.taken_s.get(name), monotonic_s())
            metrics.queue_waiting_seconds.labels(name).set(waiting_s)

    def _ask_api(self) -> None:
        url = self._program.settings.topology.management_url
        if not url:
            return
        try:
            self._show_broker(url)
        except OrderMQError as exc:
            self._forget_api()
            # At this level only: the check of the topology warns of the same.
            log.debug("the management API cannot be asked: %s", exc, extra=QUEUES_UNSEEN)

    def _forget_api(self) -> None:
        """Show nothing of what the management API says."""
        metrics.broker_alarms.set(0)
        metrics.broker_deprecated.set(0)
        metrics.queue_replicas_missing.clear()
        metrics.queue_without_majority.clear()

    def _show_broker(self, url: str) -> None:
        settings = self._program.settings
        metrics.broker_alarms.set(len(alarms_of(read_nodes(settings.broker, url))))
        metrics.broker_deprecated.set(len(read_deprecated(settings.broker, url) or ()))
        self._show_replicas(read_replicas(settings.broker, url))

    def _show_replicas(self, replicas: Mapping[str, tuple[int, int]]) -> None:
        prefix = self._program.settings.topology.prefix
        for name in self._queues:
            if found := replicas.get(queue_name(prefix, name)):
                members, online = found
                metrics.queue_replicas_missing.labels(name).set(members - online)
                metrics.queue_without_majority.labels(name).set(online * 2 <= members)


@contextmanager
def watching_queues(program: Program) -> Iterator[QueueWatch]:
    """Look every ``observe.tables_every_s`` in a thread of its own while the relay is active."""
    watch, stopping = QueueWatch(program), threading.Event()
    settings = replace(program.settings.broker, give_up_after_s=_GIVE_UP_AFTER_S)
    connection = ConnectionManager(settings, name="ordermq-relay metrics")

    def main() -> None:
        while not stopping.is_set():
            _idle(connection, stopping, Deadline(program.settings.observe.tables_every_s))
            if watch.is_active:
                watch.look(connection, stopping)
            else:
                watch.stand_by()
                connection.close()
        connection.close()

    thread = threading.Thread(target=main, name="ordermq-queues", daemon=True)
    thread.start()
    try:
        yield watch
    finally:
        stopping.set()
        thread.join(2.0)


def _idle(connection: ConnectionManager, stopping: threading.Event, until: Deadline) -> None:
    """Wait, and keep the connection's heartbeats going meanwhile."""
    while not (until.has_passed or stopping.is_set()):
        tick_s = min(_TICK_S, until.left_s)
        if connection.state is not ConnectionState.OPEN:
            stopping.wait(tick_s)
            continue
        try:
            connection.tick(tick_s)
        except BrokerError as exc:
            connection.drop(exc)
