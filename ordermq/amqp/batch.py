"""Publishings handed to the publisher by one call, and what became of each.

Invariants
    PBA1  ``claimed`` and ``is_closed`` change only under the publisher's lock. The I/O
        thread claims before it writes and never claims from a closed batch, so that
        what is unclaimed when the caller closes the batch was certainly never sent.
    PBA2  The I/O thread resolves each publishing at most once; after the caller closed
        the batch, nobody reads what it resolves.
"""

import threading
from collections import Counter
from collections.abc import Hashable, Sequence
from contextlib import suppress

from ordermq.amqp.confirms import PublishOutcome
from ordermq.message.envelope import Publishing


class Latch:
    """Opened once, by one thread, while another waits. An Event does it at ten times the cost."""

    __slots__ = ("_lock",)

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._lock.acquire()

    def open(self) -> None:
        """Let whoever waits go on, and whoever will wait. May be called again."""
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

    __slots__ = ("_unresolved", "claimed", "done", "fates", "is_closed", "publishings", "reasons")

    def __init__(self, publishings: Sequence[Publishing]) -> None:
        self.publishings = publishings
        self.fates: list[PublishOutcome | None] = [None] * len(publishings)
        self.reasons: dict[int, str] = {}  # what was said of those not confirmed, by index
        self.claimed = 0  # publishings the I/O thread has taken, from the front
        self.is_closed = False  # the caller no longer waits
        self.done = Latch()
        self._unresolved = len(publishings)

    @property
    def is_claimed(self) -> bool:
        """True once nothing is left to claim."""
        return self.claimed == len(self.publishings)

    def claim(self, limit: int) -> range:
        """Take up to ``limit`` publishings for writing; return their indexes. Under the lock (PBA1)."""
        start = self.claimed
        self.claimed = start if self.is_closed else min(start + limit, len(self.publishings))
        return range(start, self.claimed)

    def resolve(self, index: int, fate: PublishOutcome, reason: str) -> None:
        """Settle one publishing; the last one wakes the caller."""
        if reason:
            self.reasons[index] = reason
        self.fates[index] = fate
        self._unresolved -= 1
        if not self._unresolved:
            self.done.open()

    def close(self, unsent: str, unknown: str) -> Counter[PublishOutcome]:
        """Settle the rest for a caller that waited long enough; return how many. Under the lock (PBA1)."""
        self.is_closed = True
        closed: Counter[PublishOutcome] = Counter()
        for index, fate in enumerate(self.fates):
            if fate is None:
                was_sent = index < self.claimed
                self.fates[index] = settled = PublishOutcome.UNKNOWN if was_sent else PublishOutcome.UNSENT
                self.reasons[index] = unknown if was_sent else unsent
                closed[settled] += 1
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
        """What a basic.return tells of the publishing it belongs to."""
        publishing = self.publishing
        return publishing.properties.message_id, publishing.exchange, publishing.routing_key
