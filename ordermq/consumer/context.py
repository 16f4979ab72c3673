"""What every worker thread of a process shares."""

import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from random import Random

from ordermq.backoff import Backoff
from ordermq.config.settings import Settings
from ordermq.consumer.database_clock import DatabaseClock
from ordermq.consumer.holding import LiveHolds
from ordermq.consumer.intake import Intake
from ordermq.consumer.meter import LiveLimits
from ordermq.consumer.neighbours import Neighbours
from ordermq.consumer.pause import Pause
from ordermq.consumer.received import Received
from ordermq.consumer.running import RunningHandlers
from ordermq.consumer.settle import Settler
from ordermq.consumer.shared_lock import SharedExclusiveLock
from ordermq.consumer.spans import HeldSpans
from ordermq.consumer.tap import Tap
from ordermq.message.signing import Verifier
from ordermq.observe.sampling import LineBudget
from ordermq.store import Session
from ordermq.task.registry import Registry
from ordermq.task.retry import RetryPolicy


@dataclass(frozen=True)
class WorkerContext:
    """See the module. ``owner`` names the process in leases; ``report`` has settled messages acked."""

    queue: str
    registry: Registry
    settings: Settings
    owner: str
    intake: Intake
    pause: Pause
    stopping: threading.Event
    report: Callable[[Sequence[Received]], None]
    running: RunningHandlers
    lock: SharedExclusiveLock = field(default_factory=SharedExclusiveLock)
    neighbours: Neighbours = field(default_factory=Neighbours)
    deaths: Neighbours = field(default_factory=Neighbours)
    held: HeldSpans = field(default_factory=HeldSpans)
    limits: LiveLimits = field(default_factory=LiveLimits)
    holds: LiveHolds = field(default_factory=LiveHolds)
    tap: Tap = field(default_factory=Tap)
    database_clock: DatabaseClock = field(default_factory=DatabaseClock)

    verifier: Verifier | None = None

    @cached_property
    def queues(self) -> frozenset[str]:
        """The queues that exist, with a handler or without, by their short names."""
        return frozenset((*self.registry.queues, *self.settings.topology.queues))

    @cached_property
    def lines(self) -> LineBudget:
        """The log lines about messages that were settled without trouble."""
        return LineBudget(self.settings.observe.handled_lines_per_s)

    @cached_property
    def policy(self) -> RetryPolicy:
        """The retry policy of the settings, which a handler's own options change."""
        retry = self.settings.retry
        backoff = Backoff(retry.base_s, retry.cap_s)
        return RetryPolicy(retry.attempts, backoff, retry.postpone_s, retry.max_age_s, retry.immediate)

    def settler(self, name: str) -> Settler:
        """Return a settler of this queue's messages on a session of its own."""
        session = Session(
            self.settings.database,
            name=f"ordermq-consumer {self.queue} {name}",
            queues=self.queues,
            actor=self.queue,
        )
        return self.settler_on(session, self.queue)

    def settler_on(self, session: Session, queue: str) -> Settler:
        """Return a settler of messages of ``queue``."""
        return Settler(
            session, queue, self.policy, Random(), self.running,
            on_unreadable=self.registry.on_unreadable, neighbours=self.neighbours,
            deaths=self.deaths, held=self.held, tap=self.tap, lines=self.lines,
            database_clock=self.database_clock,
        )  # fmt: skip
