"""A client-side deadline for every call to PostgreSQL.

libpq's own timeouts do not free a caller from a frozen server, whose kernel still
acknowledges packets. So one watchdog thread in each process checks all guarded sockets once a
second and shuts down those past their deadline. The blocked call then fails as if the server
had closed the connection.

Invariants
    DLN1  A socket is shut down only while its guard is armed and past its instant:
        arming, disarming and checking happen under one lock.
    DLN2  The watchdog holds its own duplicate of the descriptor. So it never shuts down
        another socket that was given the same number meanwhile.
"""

import os
import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager

from ordermq.clock import monotonic_s

LOOK_EVERY_S = 1.0  # how often the watchdog checks the deadlines


class Guard:
    """One connection's deadline. Used by the connection's thread and the watchdog."""

    def __init__(self, fileno: int) -> None:
        self._socket = socket.socket(fileno=os.dup(fileno))
        self.has_expired = False  # the connection was shut down here, not by the server
        self._expires_s: float | None = None
        self._lock = threading.Lock()
        _watchdog.add(self)

    @contextmanager
    def within(self, seconds: float) -> Iterator[None]:
        """Shut the connection down if the block takes longer than ``seconds``."""
        self._arm(monotonic_s() + seconds)
        try:
            yield
        finally:
            self._arm(None)

    def close(self) -> None:
        """Stop guarding. The caller closes the connection itself."""
        _watchdog.discard(self)
        with self._lock:
            self._expires_s = None
            self._socket.close()

    def expire(self, now_s: float) -> None:
        """Shut the connection down if its deadline has passed. Called by the watchdog."""
        with self._lock:
            if self._expires_s is not None and now_s >= self._expires_s:
                self._expires_s = None
                self.has_expired = True
                try:
                    self._socket.shutdown(socket.SHUT_RDWR)
                except OSError:
                    return  # the peer has closed it

    def _arm(self, expires_s: float | None) -> None:
        with self._lock:
            self._expires_s = expires_s


class _Watchdog:
    """The thread that checks; it starts with the first guard and ends with the process."""

    def __init__(self) -> None:
        self._guards: set[Guard] = set()
        self._lock = threading.Lock()
        self._any = threading.Event()
        self._thread: threading.Thread | None = None

    def add(self, guard: Guard) -> None:
        with self._lock:
            self._guards.add(guard)
            self._any.set()
            if self._thread is None or not self._thread.is_alive():
                self._thread = threading.Thread(target=self._run, name="ordermq-db-deadline", daemon=True)
                self._thread.start()

    def discard(self, guard: Guard) -> None:
        with self._lock:
            self._guards.discard(guard)
            if not self._guards:
                self._any.clear()

    def _run(self) -> None:
        pause = threading.Event()  # never set: unlike sleep(), a test's fake clock does not speed it up
        while True:
            self._any.wait()
            pause.wait(LOOK_EVERY_S)
            with self._lock:
                guards = list(self._guards)
            for guard in guards:
                guard.expire(monotonic_s())


_watchdog = _Watchdog()
