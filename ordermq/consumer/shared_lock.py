"""A lock that many may share, or one may hold alone."""

import threading
from collections.abc import Iterator
from contextlib import contextmanager


class SharedExclusiveLock:
    """Shared by the threads that work together, held by one thread that works alone. Thread-safe.

    A thread that waits to be alone goes before those that come after it.
    """

    def __init__(self) -> None:
        self._together = 0
        self._alone = 0  # threads that are alone or wait to be
        self._is_alone = False
        self._changed = threading.Condition()

    @contextmanager
    def together(self) -> Iterator[None]:
        """Share the lock; blocks while a thread is alone or waits to be."""
        with self._changed:
            self._changed.wait_for(lambda: self._alone == 0)
            self._together += 1
        try:
            yield
        finally:
            with self._changed:
                self._together -= 1
                self._changed.notify_all()

    @contextmanager
    def alone(self) -> Iterator[None]:
        """Hold the lock; blocks while any other thread shares or holds it."""
        with self._changed:
            self._alone += 1
            self._changed.wait_for(lambda: self._together == 0 and not self._is_alone)
            self._is_alone = True
        try:
            yield
        finally:
            with self._changed:
                self._is_alone = False
                self._alone -= 1
                self._changed.notify_all()
