"""Whole lines to a descriptor that other processes may share, without waiting for its reader.

A pipe is opened once more for this process alone: so it does not block, and a lock on it keeps
other processes of ordermq from writing into the middle of a line. A socket, as journald's, is
written to without waiting. A file is written to as it is.

Invariants
    LIN1  A line is written whole or not at all, except into a pipe that holds less than the line, or
        that a program without the lock fills at that instant. What follows then begins on a new line.
    LIN2  A line waits for at most WAIT_S, and not at all while the line before it was dropped.
"""

import fcntl
import os
import select
import socket
import stat
import termios
import threading
from contextlib import suppress

from ordermq.clock import Deadline

WAIT_S = 0.5
_LOOK_EVERY_S = 0.002
_PAGE = select.PIPE_BUF  # of this many bytes a pipe takes all or none


class LineWriter:
    """Writes lines to ``descriptor``. Not thread-safe: a logging handler holds a lock around it."""

    def __init__(self, descriptor: int) -> None:
        self._descriptor = descriptor
        self._file: tuple[int, int] | None = None  # device and inode of what is open
        self._own = -1  # the pipe or terminal, opened once more
        self._socket: socket.socket | None = None
        self._is_pipe = False
        self._is_stalled = False
        self._is_torn = False
        self._pause = threading.Event()

    def write(self, line: bytes) -> bool:
        """Write ``line``, which ends in a line feed; return False if it was dropped."""
        deadline = Deadline(0.0 if self._is_stalled else WAIT_S)
        written = False
        with suppress(OSError):  # a closed pipe or a full disk
            self._look()
            written = self._write(b"\n" + line if self._is_torn else line, deadline)
        self._is_stalled = not written
        self._is_torn = self._is_torn and not written
        return written

    def _write(self, line: bytes, deadline: Deadline) -> bool:
        while True:
            is_alone = self._lock()
            try:
                may_write = (is_alone or deadline.has_passed) and self._has_room(len(line))
                if may_write and self._put(line, deadline):
                    return True
            finally:
                if is_alone and self._own >= 0:
                    fcntl.flock(self._own, fcntl.LOCK_UN)
            if deadline.has_passed:
                return False
            self._pause.wait(_LOOK_EVERY_S)

    def _put(self, line: bytes, deadline: Deadline) -> bool:
        rest = memoryview(line)
        while rest:
            try:
                rest = rest[self._send(rest) :]
            except BlockingIOError:
                self._is_torn = self._is_torn or len(rest) < len(line)
                if len(rest) == len(line) or deadline.has_passed:
                    return False
                self._pause.wait(_LOOK_EVERY_S)
        return True

    def _send(self, data: memoryview) -> int:
        if self._socket is not None:
            return self._socket.send(data, socket.MSG_DONTWAIT)
        return os.write(self._descriptor if self._own < 0 else self._own, data)

    def _lock(self) -> bool:
        """Keep other processes from this pipe; True if there is none to keep off it."""
        if self._own < 0:
            return True
        try:
            fcntl.flock(self._own, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return False
        return True

    def _has_room(self, count: int) -> bool:
        """Whether a pipe takes so many bytes at once. A page of it may be half empty."""
        if not self._is_pipe or count <= _PAGE:
            return True
        unread = int.from_bytes(fcntl.ioctl(self._descriptor, termios.FIONREAD, bytes(4)), "little")
        pages = fcntl.fcntl(self._descriptor, fcntl.F_GETPIPE_SZ) // _PAGE
        # Two pages that follow each other hold more than one page of bytes.
        return unread == 0 or 2 * unread // _PAGE + 2 + -(-count // _PAGE) <= pages

    def _look(self) -> None:
        """Open what the descriptor is now, if it was exchanged. Raises OSError if it is closed."""
        status = os.fstat(self._descriptor)
        file = status.st_dev, status.st_ino
        if file == self._file:
            return
        if self._own >= 0:
            os.close(self._own)
        if self._socket is not None:
            self._socket.close()
        self._file, self._own, self._socket = file, -1, None
        self._is_pipe = stat.S_ISFIFO(status.st_mode)
        if stat.S_ISSOCK(status.st_mode):
            self._socket = socket.socket(fileno=os.dup(self._descriptor))
        elif self._is_pipe or os.isatty(self._descriptor):
            with suppress(OSError):  # of another user: it is written to as it is
                flags = os.O_WRONLY | os.O_NONBLOCK | os.O_NOCTTY
                self._own = os.open(f"/proc/self/fd/{self._descriptor}", flags)
