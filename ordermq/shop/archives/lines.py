"""The lines of an archive: gzipped JSON lines, in the order of the audit log.

    {"format": "ordermq.archive.1", "month": "2026-01", "source": "shop.order_events"}
    {"position": 17, "order_id": "A-1", "version": 1, "type": "order_placed", ..., "body": "..."}
    {"orders": 1, "events": 1, "leaves": "..."}

``body`` is a string, so it comes back byte by byte, and the leaf of the audit log can be made of a line.
``leaves`` is the SHA-256 of the hashes of all those leaves. The last line says that the file is whole.
"""

import gzip
import json
import zlib
from collections.abc import Iterator
from dataclasses import dataclass, field
from hashlib import sha256
from io import BufferedIOBase
from pathlib import Path
from typing import Any, NamedTuple

from ordermq.audit.entries import entry_of
from ordermq.audit.merkle import leaf_hash
from ordermq.errors import BadInput, UsageError
from ordermq.shop.events import RECORDS

FORMAT = "ordermq.archive.1"

_LEVEL = 6  # of gzip

# Of the fields of an event; the others are text.
_TYPES: dict[str, Any] = {"position": int, "version": int, "step": str | None}


class ArchivedEvent(NamedTuple):
    """An event at its position in the audit log. ``occurred_at`` is as the leaf has it."""

    position: int
    order_id: str
    version: int
    type: str
    step: str | None
    occurred_at: str
    body: str

    @property
    def leaf(self) -> bytes:
        """The entry that the audit log has of it."""
        content = f"{self.type}\n{self.step or ''}\n{self.occurred_at}\n{self.body}".encode()
        return entry_of(RECORDS.name, self.order_id, self.version, content)


def event_of_content(position: int, order_id: str, version: int, content: bytes) -> ArchivedEvent:
    """Return the event whose content in the audit log this is. Raises BadInput if it is not UTF-8."""
    try:
        event_type, step, occurred_at, body = content.decode("utf-8").split("\n", 3)
    except (UnicodeDecodeError, ValueError) as exc:
        raise BadInput(f"event {version} of order {order_id} is no text: {exc}") from exc
    return ArchivedEvent(position, order_id, version, event_type, step or None, occurred_at, body)


def event_of_document(document: dict[str, Any]) -> ArchivedEvent:
    """Return the event that a line is. Raises TypeError if it is none."""
    event = ArchivedEvent(**document)
    for name, value in event._asdict().items():
        if not isinstance(value, _TYPES.get(name, str)):
            raise TypeError(f"{name} is {value!r}")
    return event


@dataclass
class Totals:
    """What the events of an archive come to. ``versions`` has the number of events of each order."""

    versions: dict[str, int] = field(default_factory=dict)
    events: int = 0
    _leaves: Any = field(default_factory=sha256)

    def add(self, event: ArchivedEvent) -> None:
        """Count an event. Raises BadInput unless it is the next one of its order."""
        expected = self.versions.get(event.order_id, 0) + 1
        if event.version != expected:
            raise BadInput(
                f"order {event.order_id}: event {event.version} stands where {expected} is expected;"
                " see 'ordermq reconcile'"
            )
        self.versions[event.order_id] = event.version
        self.events += 1
        self._leaves.update(leaf_hash(event.leaf))

    @property
    def leaves(self) -> bytes:
        """The SHA-256 of the hashes of the leaves."""
        return bytes(self._leaves.digest())

    @property
    def document(self) -> dict[str, Any]:
        """The last line."""
        return {"orders": len(self.versions), "events": self.events, "leaves": self.leaves.hex()}


class ArchiveWriter:
    """Writes the lines; ``totals`` says what was written."""

    def __init__(self, file: BufferedIOBase, month: str) -> None:
        self.totals = Totals()
        self._out = gzip.GzipFile("", "wb", _LEVEL, file, mtime=0)
        self._line({"format": FORMAT, "month": month, "source": RECORDS.name})

    def add(self, event: ArchivedEvent) -> None:
        """Write an event. Raises BadInput unless it is the next one of its order."""
        self.totals.add(event)
        self._line(event._asdict())

    def finish(self) -> None:
        """Write the last line. The caller's file stays open."""
        self._line(self.totals.document)
        self._out.close()

    def _line(self, document: dict[str, Any]) -> None:
        self._out.write(json.dumps(document, ensure_ascii=False, separators=(",", ":")).encode() + b"\n")


class ArchiveReader:
    """Reads an archive from its beginning to its end; what it yields counts only once the end was reached."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.totals = Totals()
        self.month = ""

    def events(self) -> Iterator[ArchivedEvent]:
        """Yield all events. Raises BadInput if it is no whole archive, UsageError if it cannot be read."""
        try:
            with gzip.open(self.path, "rb") as lines:
                yield from self._events(map(self._document, lines))
        except (gzip.BadGzipFile, zlib.error, EOFError) as exc:
            raise BadInput(f"{self.path} is damaged or cut: {exc}") from exc
        except OSError as exc:
            raise UsageError(f"cannot read {self.path}: {exc.strerror or exc}") from exc

    def _events(self, documents: Iterator[dict[str, Any]]) -> Iterator[ArchivedEvent]:
        head = next(documents, {})
        if head.get("format") != FORMAT:
            raise BadInput(f"{self.path} is no archive of 'ordermq archive create'")
        self.month = str(head.get("month"))
        for document in documents:
            if "position" not in document:
                self._check_end(document, next(documents, None))
                return
            try:
                event = event_of_document(document)
                self.totals.add(event)
            except (TypeError, UnicodeEncodeError, BadInput) as exc:
                raise BadInput(f"{self.path}: edited archive: {exc}") from exc
            yield event
        raise BadInput(f"{self.path} has no last line: it was cut")

    def _document(self, line: bytes) -> dict[str, Any]:
        try:
            document = json.loads(line)
        except (ValueError, RecursionError) as exc:
            raise BadInput(f"{self.path}: edited archive: a line is not JSON: {exc}") from exc
        if not isinstance(document, dict):
            raise BadInput(f"{self.path}: edited archive: a line is no JSON object")
        return document

    def _check_end(self, last: dict[str, Any], more: dict[str, Any] | None) -> None:
        if last != self.totals.document or more is not None:
            raise BadInput(
                f"{self.path}: edited archive: its last line says {last}, and its events come to"
                f" {self.totals.document}"
            )


def file_sha256(path: Path) -> bytes:
    """Return the SHA-256 of a file. Raises UsageError if it cannot be read."""
    try:
        with path.open("rb") as file:
            found = sha256()
            while data := file.read(1 << 20):
                found.update(data)
    except OSError as exc:
        raise UsageError(f"cannot read {path}: {exc.strerror}") from exc
    return found.digest()
