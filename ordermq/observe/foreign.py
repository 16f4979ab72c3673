"""What others than the log write to stderr: C libraries, a handler's print(), the programs it starts.

libpq writes a server's warnings there, as of a collation of another version. Each such line becomes a
record of the log, so that every line of a process is one.

Invariants
    FRN1  Nobody waits: a pipe stands in the place of descriptor 2 and never blocks a writer, who may
        hold Python's lock meanwhile. What the pipe has no room for is lost.
    FRN2  What Python says as it crashes goes to the true stderr, as nothing reads the pipe any more.
"""

import faulthandler
import fcntl
import logging
import os
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress

from ordermq.log_events import STDERR_LINE
from ordermq.observe.logs import STDERR, write_to

_PIPE_BYTES = 1024 * 1024
_LONGEST_LINE = 16 * 1024  # bytes; the rest follows as another record
_LAST_LINES_S = 1.0  # a program that was started and still runs holds the pipe open
log = logging.getLogger("ordermq.stderr")


@contextmanager
def logging_stderr() -> Iterator[None]:
    """Log each line that comes to descriptor 2 during the block. To be called once the log is configured."""
    try:
        true_stderr = os.dup(STDERR)
    except OSError:  # it is closed: nobody reads anything
        yield
        return
    reader, writer = os.pipe()
    with suppress(OSError):  # more than a user may have; it then keeps its 64 KiB
        fcntl.fcntl(writer, fcntl.F_SETPIPE_SZ, _PIPE_BYTES)
    os.set_blocking(writer, False)
    write_to(true_stderr)
    os.dup2(writer, STDERR)
    os.close(writer)
    faulthandler.enable(true_stderr)
    thread = threading.Thread(target=_read, args=(reader,), name="ordermq-stderr", daemon=True)
    thread.start()
    try:
        yield
    finally:
        os.dup2(true_stderr, STDERR)
        thread.join(_LAST_LINES_S)
        faulthandler.enable(STDERR)
        write_to(STDERR)
        os.close(true_stderr)


def _read(reader: int) -> None:
    rest = b""
    while came := os.read(reader, _PIPE_BYTES):
        *lines, rest = (rest + came).split(b"\n")
        while len(rest) > _LONGEST_LINE:
            lines, rest = [*lines, rest[:_LONGEST_LINE]], rest[_LONGEST_LINE:]
        for line in lines:
            _log(line)
    _log(rest)
    os.close(reader)


def _log(line: bytes) -> None:
    if text := line.decode("utf-8", "backslashreplace").rstrip():
        log.warning("%s", text, extra=STDERR_LINE)
