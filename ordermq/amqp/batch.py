"""Publishings handed to the publisher by one call, and the outcome of each.

Invariants
    PBA1  ``claimed`` and ``is_closed`` change only under the publisher's lock. The I/O
        thread claims before it writes, and never claims from a closed batch. So what is
        unclaimed when the caller closes the batch was certainly never sent.
    PBA2  The I/O thread resolves each publishing at most once. After the caller has closed
        the batch, what the I/O thread resolves is not read.
"""

import threading
from collections import Counter
from collections.abc import Hashable, Sequence
from contextlib import suppress

from ordermq.amqp.confirms import PublishOutcome
from ordermq.message.envelope import Publishing


class Latch:
    """One thread opens it, once, while another waits. A threading.Event costs ten times as much."""

    __slots__ = ("_lock",)

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._lock.acquire()

    def open(self) -> None:
        """Let the waiting thread go on, and every later wait return at once. May be called again."""
        with suppress(RuntimeError):  # it is open
            self._lock.release()

    def wait(self, timeout_s: float) -> bool:
        """Block until it is open, at most ``timeout_s``; True if it is. For one thread at a time."""
        if not self._lock.acquire(timeout=min(max(0.0, timeout_s), threading.TIMEOUT_MAX)):
            return False
        self.open()
        return True


class PublishBatch:
    """Shared by the thread that waits for it and the I/O thread."""

    __slots__ = ("_unresolved", "claimed", "done", "is_closed", "outcomes", "publishings", "reasons")

    def __init__(self, publishings: Sequence[Publishing]) -> None:
        self.publishings = publishings
        self.outcomes: list[PublishOutcome | None] = [None] * len(publishings)
        self.reasons: dict[int, str] = {}  # by index, why a publishing was not confirmed
        self.claimed = 0  # publishings the I/O thread has taken, from the front
        self.is_closed = False  # the caller no longer waits
        self.done = Latch()
        self._unresolved = len(publishings)

    @property
    def is_claimed(self) -> bool:
        """True once nothing is left to claim."""
        return self.claimed == len(self.publishings)

    def claim(self, limit: int) -> range:
        """Take up to ``limit`` publishings for writing; return their indexes. Call under the lock (PBA1)."""
        start = self.claimed
        self.claimed = start if self.is_closed else min(start + limit, len(self.publishings))
        return range(start, self.claimed)

    def resolve(self, index: int, outcome: PublishOutcome, reason: str) -> None:
        """Set the outcome of one publishing; the last one wakes the caller."""
        if reason:
            self.reasons[index] = reason
        self.outcomes[index] = outcome
        self._unresolved -= 1
        if not self._unresolved:
            self.done.open()

    def close(self, unsent: str, unknown: str) -> Counter[PublishOutcome]:
        """Set the outcome of the rest, for which the caller waits no longer; return the counts.

        Call under the lock (PBA1). ``unsent`` and ``unknown`` are the reasons to give.
        """
        self.is_closed = True
        closed: Counter[PublishOutcome] = Counter()
        for index, known in enumerate(self.outcomes):
            if known is None:
                was_sent = index < self.claimed
                self.outcomes[index] = outcome = PublishOutcome.UNKNOWN if was_sent else PublishOutcome.UNSENT
                self.reasons[index] = unknown if was_sent else unsent
                closed[outcome] += 1
        return closed


class SentSlice:
    """One publishing on the wire."""

    __slots__ = ("batch", "index", "publishing", "written_s")

    def __init__(self, batch: PublishBatch, index: int, publishing: Publishing, written_s: float) -> None:
        self.batch = batch
        self.index = index
        self.publishing = publishing
        self.written_s = written_s

    @property
    def key(self) -> Hashable:
        """The only fields by which a basic.return names its publishing."""
        publishing = self.publishing
        return publishing.properties.message_id, publishing.exchange, publishing.routing_key
