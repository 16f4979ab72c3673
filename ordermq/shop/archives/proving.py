"""Verify an archive against the audit log: each event of the file is the entry at its position. No database.

Its import needs the extra ``ordermq[audit]``.
"""

from collections.abc import Iterator, Sequence
from itertools import chain
from pathlib import Path

from ordermq.audit.checking import Step, Tampering, check_files
from ordermq.audit.source import read_checkpoint, source_of
from ordermq.cli.audit.verifying import read_vkey
from ordermq.shop.archives.lines import ArchivedEvent, ArchiveReader


def check_against_log(reader: ArchiveReader, place: str, key: str, step: Step) -> Iterator[Tampering]:
    """Yield what the file says otherwise than the log at ``place``, and what is wrong with the log itself.

    ``key`` is the log's verifier key, or the file that holds it. Raises BadInput, NotProven, UsageError.
    """
    source = source_of(place)
    checkpoint = read_checkpoint(source, read_vkey(key)).checkpoint
    comparison = _Comparison(reader)
    yield from check_files(source, checkpoint, step, comparison.entries)
    for event in comparison.rest():
        text = f"position {event.position} is not in the log of {checkpoint.size} entries"
        yield Tampering("edited archive", _name(reader.path, event), text)


class _Comparison:
    """Compares the events of an archive with the entries of the log; both come in the order of positions."""

    def __init__(self, reader: ArchiveReader) -> None:
        self._path = reader.path
        self._events = reader.events()
        self._next = next(self._events, None)

    def entries(self, first: int, entries: Sequence[bytes]) -> Iterator[Tampering]:
        """Yield the events that are not the entries of the log from position ``first`` on."""
        while self._next is not None and self._next.position < first + len(entries):
            event = self._next
            if event.position < first or entries[event.position - first] != event.leaf:
                text = f"it is not what position {event.position} of the log has"
                yield Tampering("edited archive", _name(self._path, event), text)
            self._next = next(self._events, None)

    def rest(self) -> Iterator[ArchivedEvent]:
        """Yield the events that no entry was compared with, and read the file to its end."""
        return chain([self._next] if self._next else [], self._events)


def _name(path: Path, event: ArchivedEvent) -> str:
    return f"{path}, event {event.version} of order {event.order_id}"
