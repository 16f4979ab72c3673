"""What bulk commands read, and the bar that shows how far they are."""

import os
import stat
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from io import BufferedReader
from pathlib import Path
from typing import Protocol, Self, cast

import click

from ordermq.cli.output import note
from ordermq.cli.records import check_gzip
from ordermq.errors import BadInput, UsageError

STDIN = "-"


class Input:
    """The file or standard input that a bulk command reads, and how far it has read.

    A context manager: the file is closed at the end of its block.
    """

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
        """Return whether ``path`` is the file that is read."""
        try:
            return self._status is not None and os.path.samestat(self._status, path.stat())
        except OSError:
            return False

    def read1(self, size: int, /) -> bytes:
        """Return up to ``size`` bytes as soon as there are any."""
        try:
            data = self._stream.read1(size)
        except OSError as exc:
            raise UsageError(f"cannot read {self.name}: {exc.strerror}") from exc
        self.read_bytes += len(data)
        return data

    def check(self) -> None:
        """Find out before the first record is used whether the file is whole. Raises BadInput.

        A gzipped file is unpacked to its end and read again from its beginning. A pipe can be
        read once only, so a note says that it was not checked.
        """
        if self.size_bytes is None:
            note(
                f"{self.name} is a pipe, so it is not checked first:"
                " if it is cut, the records before that are used all the same"
            )
            return
        if self.size_bytes == 0 and self.name.endswith(".gz"):
            raise BadInput(f"{self.name} is empty: the file was cut; get it again")
        begin = self._stream.tell()
        check_gzip(self)
        self._stream.seek(begin)
        self.read_bytes = 0


class Progress(Protocol):
    """Called after each step with the number of records."""

    def __call__(self, records: int) -> None: ...


@contextmanager
def progress(source: Input) -> Iterator[Progress]:
    """Show on stderr a bar of the bytes read from ``source``; nothing unless stderr is a terminal.

    The function it yields is called with the number of records done so far.
    """
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
    """Show on stderr a bar that ends at ``total``; nothing unless stderr is a terminal.

    The function it yields is called with the number of records of each step.
    """
    if not sys.stderr.isatty():
        yield lambda records: None
        return
    with click.progressbar(length=total, label=label, show_pos=True, file=sys.stderr) as bar:
        yield lambda records: bar.update(records)  # noqa: PLW0108 # the bar names its argument otherwise


def _stdin() -> BufferedReader:
    if sys.stdin is None:  # a process may be started without standard input
        raise UsageError("there is no standard input to read")
    return cast(BufferedReader, sys.stdin.buffer)


def _status(stream: BufferedReader) -> os.stat_result | None:
    try:
        return os.fstat(stream.fileno())
    except OSError:
        return None  # a stream that is no file at all
