"""Deliveries that wait for a worker: the oldest goes first, and as a probe the one sent again least.

Bounded by the prefetch: the broker sends no more than that unacked, so the queue
itself needs no limit.

Invariants
    INT1  A delivery is taken by one worker, or drained, never both.
    INT2  After ``close`` nothing more is taken: deliveries that were not begun can be handed
        back to the broker as they are.
    INT3  While a delivery waits, a worker is awake or has been woken: ``put`` wakes one, and
        a worker that leaves deliveries behind wakes the next. To wake all would cost each a
        switch of threads, and most would find nothing.
    INT4  While it is held nothing is taken; what waits stays, in its order.
"""

import threading
from collections import deque
from collections.abc import Iterable
from itertools import islice

from ordermq.message.envelope import Delivery
from ordermq.message.headers import sent_again


class Intake:
    """A closable queue that hands out chunks. Thread-safe."""

    def __init__(self) -> None:
        self._waiting: deque[Delivery] = deque()
        self._is_woken = False
        self._is_closed = False
        self._is_held = False
        self._changed = threading.Condition()

    def put(self, deliveries: Iterable[Delivery]) -> None:
        """Add deliveries behind those that wait."""
        with self._changed:
            self._waiting.extend(deliveries)
            self._changed.notify()

    def take(self, limit: int) -> list[Delivery]:
        """Block until something waits; return up to ``limit``, or nothing once closed or woken."""
        with self._changed:
            self._wait()
            return self._take(limit)

    def peek(self, limit: int) -> list[Delivery]:
        """Block like ``take``; return up to ``limit`` of what waits, and leave it where it is."""
        with self._changed:
            self._wait()
            return [] if self._is_closed or self._is_held else list(islice(self._waiting, limit))

    def take_now(self, limit: int) -> list[Delivery]:
        """Do what ``take`` does, without waiting."""
        with self._changed:
            return self._take(limit)

    def take_freshest(self) -> list[Delivery]:
        """Do what ``take(1)`` does, but return the delivery that was sent again least, wherever it waits."""
        with self._changed:
            self._wait()
            if self._is_closed or self._is_held or not self._waiting:
                return []
            freshest = min(range(len(self._waiting)), key=lambda at: _hop(self._waiting[at]))
            delivery = self._waiting[freshest]
            del self._waiting[freshest]
            self._pass_on()
            return [delivery]

    def wake(self) -> None:
        """Make a waiting ``take`` return: its thread has something else to do."""
        with self._changed:
            self._is_woken = True
            self._changed.notify_all()

    def hold(self) -> None:
        """Hand out nothing until ``release``."""
        with self._changed:
            self._is_held = True

    def release(self) -> None:
        """Hand out deliveries again."""
        with self._changed:
            self._is_held = False
            self._changed.notify_all()

    def drain(self) -> list[Delivery]:
        """Remove and return what no worker has taken."""
        with self._changed:
            waiting = list(self._waiting)
            self._waiting.clear()
            return waiting

    def close(self) -> list[Delivery]:
        """Let workers finish and end; return what no worker has taken."""
        with self._changed:
            self._is_closed = True
            self._changed.notify_all()
        return self.drain()

    @property
    def is_closed(self) -> bool:
        """True once ``close`` was called."""
        return self._is_closed

    @property
    def is_held(self) -> bool:
        """True between ``hold`` and ``release``."""
        return self._is_held

    def _wait(self) -> None:
        self._changed.wait_for(
            lambda: (self._waiting and not self._is_held) or self._is_closed or self._is_woken
        )
        self._is_woken = False

    def _take(self, limit: int) -> list[Delivery]:
        if self._is_closed or self._is_held or not self._waiting:
            return []
        taken = [self._waiting.popleft() for _ in range(min(limit, len(self._waiting)))]
        self._pass_on()
        return taken

    def _pass_on(self) -> None:
        if self._waiting:
            self._changed.notify()


def _hop(delivery: Delivery) -> int:
    hop, _ = sent_again(delivery.properties.headers)
    return hop
