"""A way to wake a thread that waits in its I/O loop.

Invariants
    WAK1  ``wake()`` never blocks and takes no lock, so any thread and any signal handler
        may call it.
    WAK2  Wakes are merged: between two calls of ``clear()`` at most a few bytes are sent,
        however many threads wake.
    WAK3  A wake after ``clear()`` has returned makes the descriptor readable again. So the
        owner clears first and looks for work afterwards.
"""

import contextlib
import socket


class Waker:
    """A socket pair whose one end an I/O loop watches."""

    def __init__(self) -> None:
        self._watched, self._waking = socket.socketpair()
        self._watched.setblocking(False)
        self._waking.setblocking(False)
        self._is_set = False

    def fileno(self) -> int:
        """Descriptor that is readable after ``wake()``."""
        return self._watched.fileno()

    def wake(self) -> None:
        """Make the descriptor readable. Harmless after ``close()``."""
        if not self._is_set:
            self._is_set = True
            with contextlib.suppress(OSError):  # closed, or full and therefore readable
                self._waking.send(b"\0")

    def clear(self) -> None:
        """Make the descriptor unreadable until the next wake. Owner's thread only."""
        with contextlib.suppress(BlockingIOError):
            while len(self._watched.recv(64)) == 64:
                pass
        self._is_set = False  # last: a thread whose wake saw True had queued its work before (WAK3)

    def close(self) -> None:
        """Release both ends. Owner's thread only."""
        self._waking.close()
        self._watched.close()
