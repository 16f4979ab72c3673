"""What every worker thread of a process shares."""

import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from random import Random

from ordermq.config.settings import DatabaseSettings
from ordermq.consumer.intake import Intake
from ordermq.consumer.pause import Pause
from ordermq.consumer.received import Received
from ordermq.consumer.running import RunningHandlers
from ordermq.consumer.settle import Settler
from ordermq.consumer.shared_lock import SharedExclusiveLock
from ordermq.store import Session
from ordermq.task.registry import Registry
from ordermq.task.retry import RetryPolicy


@dataclass(frozen=True)
class WorkerContext:
    """See the module. ``report`` takes the messages that were settled, to have them acked."""

    queue: str
    registry: Registry
    intake: Intake
    pause: Pause
    stopping: threading.Event
    policy: RetryPolicy
    database: DatabaseSettings
    report: Callable[[Sequence[Received]], None]
    running: RunningHandlers
    prefix: str = ""
    other_queues: tuple[str, ...] = ()  # queues that exist without a handler
    lock: SharedExclusiveLock = field(default_factory=SharedExclusiveLock)

    @cached_property
    def queues(self) -> frozenset[str]:
        """The queues that exist, by their short names."""
        return frozenset((*self.registry.queues, *self.other_queues))

    def settler(self, name: str) -> Settler:
        """Return a settler of this queue's messages on a session of its own."""
        session = Session(self.database, name=f"ordermq-consumer {self.queue} {name}", queues=self.queues)
        return self.settler_on(session, self.queue)

    def settler_on(self, session: Session, queue: str) -> Settler:
        """Return a settler of messages of ``queue``."""
        return Settler(
            session, queue, self.policy, Random(), self.running, on_unreadable=self.registry.on_unreadable
        )
