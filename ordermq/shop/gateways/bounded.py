"""Reads and writes of a socket that end at one deadline, however slowly the other side sends or reads."""

import io
import socket
from typing import Any

from ordermq.clock import Deadline


class BoundedReader(io.RawIOBase):
    """Gives each read of the socket only the time that is left until the deadline. Raises TimeoutError."""

    def __init__(self, sock: socket.socket, raw: io.RawIOBase, deadline: Deadline) -> None:
        self._sock = sock
        self._raw = raw
        self._deadline = deadline

    def readable(self) -> bool:
        """Return True, as io.BufferedReader asks."""
        return True

    def readinto(self, buffer: Any) -> int | None:
        """Read what has come, and wait for it until the deadline."""
        self._sock.settimeout(left_s(self._deadline))
        count: int | None = self._raw.readinto(buffer)
        return count

    def close(self) -> None:
        """Close the reader below too."""
        self._raw.close()
        super().close()


def send_all(sock: socket.socket, data: bytes, deadline: Deadline) -> None:
    """Send all of ``data`` before the deadline; a TLS socket's own sendall times each part alone.

    Raises OSError, of which TimeoutError is one.
    """
    view = memoryview(data)
    while view:
        sock.settimeout(left_s(deadline))
        view = view[sock.send(view) :]


def left_s(deadline: Deadline) -> float:
    """Return the seconds left as a socket takes them, where 0 means "do not block". Raises TimeoutError."""
    if deadline.has_passed:
        raise TimeoutError("the time for the whole request is over")
    return max(0.001, deadline.left_s)
