"""How bulk commands show that they move, and how fast they are allowed to."""

import os
import stat
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from io import BufferedReader
from pathlib import Path
from time import sleep
from typing import Protocol, Self, cast

import click

from ordermq.clock import monotonic_s
from ordermq.errors import UsageError

STDIN = "-"


class Input:
    """The file or the standard input a bulk command reads, and how far it has; closed at its block's end."""

    def __init__(self, path: str) -> None:
        """Open ``path``; ``-`` is standard input. Raises UsageError if it cannot be opened."""
        self._is_stdin = path == STDIN
        self.name = "stdin" if self._is_stdin else Path(path).name
        try:
            self._stream = _stdin() if self._is_stdin else Path(path).open("rb")  # noqa: SIM115 # closed at exit
        except OSError as exc:
            raise UsageError(f"cannot read {path}: {exc.strerror}") from exc
        self._status = _status(self._stream)
        self.read_bytes = 0

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        if not self._is_stdin:
            self._stream.close()

    @property
    def size_bytes(self) -> int | None:
        """Bytes to be read; None for a pipe."""
        is_regular = self._status is not None and stat.S_ISREG(self._status.st_mode)
        return self._status.st_size if self._status and is_regular else None

    def is_file(self, path: Path) -> bool:
        """Whether ``path`` is the file that is read."""
        try:
            return self._status is not None and os.path.samestat(self._status, path.stat())
        except OSError:
            return False

    def read1(self, size: int, /) -> bytes:
        """Return up to ``size`` bytes as soon as there are any."""
        data = self._stream.read1(size)
        self.read_bytes += len(data)
        return data


class Progress(Protocol):
    """Told after each step how many records are done."""

    def __call__(self, records: int) -> None: ...


@contextmanager
def progress(source: Input) -> Iterator[Progress]:
    """Show a bar on stderr by the bytes read of ``source``; nothing unless stderr is a terminal."""
    if not sys.stderr.isatty() or source.size_bytes is None:
        yield lambda records: None
        return
    done = 0

    def shown(records: int | None) -> str:
        return f"{records or 0} records"

    with click.progressbar(
        length=source.size_bytes, label=source.name, item_show_func=shown, file=sys.stderr
    ) as bar:

        def step(records: int) -> None:
            nonlocal done
            bar.update(source.read_bytes - done, records)
            done = source.read_bytes

        yield step


@contextmanager
def counting(label: str, total: int) -> Iterator[Progress]:
    """Show a bar on stderr that ends at ``total``; nothing unless stderr is a terminal.

    Told after each step how many it was.
    """
    if not sys.stderr.isatty():
        yield lambda records: None
        return
    with click.progressbar(length=total, label=label, show_pos=True, file=sys.stderr) as bar:
        yield lambda records: bar.update(records)  # noqa: PLW0108 # the bar names its argument otherwise


class Pace:
    """Holds a loop to so many records a second; 0 means as fast as it goes."""

    def __init__(self, rate: float) -> None:
        self._rate = rate
        self._began_s = monotonic_s()
        self._count = 0

    def batch(self, most: int) -> int:
        """Return how many records to take at once: a slow pace is kept by small steps, not by long waits."""
        return most if not self._rate else max(1, min(most, int(self._rate / 5)))

    def wait(self, records: int) -> None:
        """Sleep until ``records`` more are due."""
        if self._rate:
            self._count += records
            sleep(max(0.0, self._began_s + self._count / self._rate - monotonic_s()))


def _stdin() -> BufferedReader:
    if sys.stdin is None:  # a process may be started without one
        raise UsageError("there is no standard input to read")
    return cast(BufferedReader, sys.stdin.buffer)


def _status(stream: BufferedReader) -> os.stat_result | None:
    try:
        return os.fstat(stream.fileno())
    except OSError:
        return None  # a stream that is no file at all
