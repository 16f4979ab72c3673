"""The records of a file of any size: lines of text, each either readable or refused with a reason. Pure.

The content says whether a file is plain or gzip. Memory holds one chunk and one line: a
line over ``MAX_LINE_BYTES`` is skipped while it is read. Only a line feed ends a line; a
carriage return before it, a byte order mark before the first line and blank lines are
dropped. A gzip stream that is cut or damaged is an error, because what is missing cannot be
known. ``check_gzip`` finds that out before the first line is used.
"""

import gzip
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Protocol

from ordermq.errors import BadInput

MAX_LINE_BYTES = 1024 * 1024
LONGEST_RECORD_CHARS = 500

_CHUNK_BYTES = 64 * 1024
_GZIP = b"\x1f\x8b"
_BOM = b"\xef\xbb\xbf"
_WIDE_BOMS = {b"\xff\xfe": "UTF-16", b"\xfe\xff": "UTF-16"}
_BROKEN_GZIP = (EOFError, zlib.error, gzip.BadGzipFile)


@dataclass(frozen=True, slots=True)
class Line:
    """A line of UTF-8 text without its end; the first is number 1."""

    number: int
    text: str


@dataclass(frozen=True, slots=True)
class Reject:
    """A record that was refused: its line, the reason, how it begins, and its own id if it has one.

    Rejects are counted by the words of ``reason`` before its first colon, so these name the cause
    alone: "not UTF-8: at byte 7".
    """

    line: int
    reason: str
    record: str
    record_id: str | None = None


class ByteStream(Protocol):
    """A source of bytes: an open binary file, standard input, an io.BytesIO."""

    def read1(self, size: int, /) -> bytes:
        """Return up to ``size`` bytes as soon as there are any; b"" at the end."""
        ...


def read_lines(stream: ByteStream) -> Iterator[Line | Reject]:
    """Yield every line that is not blank, in order.

    Raises BadInput for a file that is not UTF-8 at all, and where a gzip stream is broken.
    """
    yield from lines_of(read_chunks(stream))


def lines_of(chunks: Iterator[bytes]) -> Iterator[Line | Reject]:
    """Yield every line of an unpacked file that is not blank, in order."""
    for number, (data, broken) in enumerate(_split(chunks), start=1):
        text = data.decode("utf-8", "replace")
        if reason := broken or _unreadable(data):
            yield Reject(number, reason, beginning(text))
        elif text and not text.isspace():
            yield Line(number, text)


def check_gzip(stream: ByteStream) -> None:
    """Read a gzip stream to its end. Raises BadInput if it is cut or damaged; other content is not read."""
    head = _head(stream)
    if head.startswith(_GZIP):
        for _ in _unpacked(head, stream):
            pass


def reject(line: Line, reason: object, record_id: str | None = None) -> Reject:
    """Return the reject of a line that could be read but holds no valid record."""
    return Reject(line.number, str(reason), beginning(line.text), record_id)


def beginning(record: str) -> str:
    """Return the beginning of ``record``, as long as a reject keeps it."""
    if len(record) <= LONGEST_RECORD_CHARS:
        return record
    return record[:LONGEST_RECORD_CHARS] + "..."


def _unreadable(data: bytes) -> str | None:
    if b"\x00" in data:
        return f"contains a NUL: at byte {data.index(0)}"
    try:
        data.decode("utf-8")
    except UnicodeDecodeError as exc:
        return f"not UTF-8: at byte {exc.start}"
    return None


def _head(stream: ByteStream) -> bytes:
    head = b""
    while len(head) < len(_BOM) and (more := stream.read1(len(_BOM) - len(head))):
        head += more
    return head


def read_chunks(stream: ByteStream) -> Iterator[bytes]:
    """Yield the file's content, unpacked and without its byte order mark. Raises BadInput."""
    head = _head(stream)
    if head[:2] in _WIDE_BOMS:
        raise BadInput(f"the file is {_WIDE_BOMS[head[:2]]}; convert it to UTF-8 first")
    if not head.startswith(_GZIP):
        yield head.removeprefix(_BOM)
        while chunk := stream.read1(_CHUNK_BYTES):
            yield chunk
        return
    yield from _unpacked(head, stream)


def _unpacked(head: bytes, stream: ByteStream) -> Iterator[bytes]:
    rejoined = _Rejoined(head, stream)
    with gzip.GzipFile(fileobj=rejoined) as unpacked:  # type: ignore[call-overload] # it needs read() alone, unless it has to go back
        is_first = True
        try:
            # read1 returns what was unpacked before the damage; read would lose it.
            while chunk := unpacked.read1(_CHUNK_BYTES):
                yield chunk.removeprefix(_BOM) if is_first else chunk
                is_first = False
        except _BROKEN_GZIP as exc:
            raise BadInput(_what_broke(exc)) from exc


def _what_broke(exc: Exception) -> str:
    if isinstance(exc, EOFError):
        return "the gzip data ends too early: the file was cut; get it again"
    return f"the gzip data is damaged ({exc}); get the file again"


class _Rejoined:
    """A stream whose first bytes were read already, with the one method that gzip needs."""

    def __init__(self, head: bytes, stream: ByteStream) -> None:
        self._head = head
        self._stream = stream

    def read(self, size: int) -> bytes:
        if not self._head:
            return self._stream.read1(size)
        head, self._head = self._head[:size], self._head[size:]
        return head


def _split(chunks: Iterator[bytes]) -> Iterator[tuple[bytes, str | None]]:
    """Yield each line and why it is refused, or None. Of a line that is too long only its beginning."""
    kept = b""
    is_long = False
    for chunk in chunks:
        first, *rest = chunk.split(b"\n")
        if not is_long:
            kept += first
            is_long = len(kept) > MAX_LINE_BYTES
        for following in rest:
            yield _ended(kept, is_long)
            kept, is_long = following, False
        if is_long:
            kept = kept[: 4 * LONGEST_RECORD_CHARS]
    if kept:
        yield _ended(kept, is_long)


def _ended(data: bytes, is_long: bool) -> tuple[bytes, str | None]:
    if is_long or len(data) > MAX_LINE_BYTES:
        return data[: 4 * LONGEST_RECORD_CHARS], f"longer than {MAX_LINE_BYTES} bytes"
    return data.removesuffix(b"\r"), None
