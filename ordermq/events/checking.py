"""Does the stream hold what the database says was published? Pure.

Positions and ids are compared. Before the first event that the stream holds, retention may have removed
others; if its offset is 0, nothing was removed.
"""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from typing import NamedTuple

from ordermq.events.stream import ReadEvent

MOST_SHOWN = 100


class ExpectedEvent(NamedTuple):
    """An event that was published, by the database: its position, and its ``source`` and ``id``."""

    position: int
    source: str
    id: str


@dataclass
class StreamReport:
    """What a comparison found. ``missing`` and ``wrong`` hold the first MOST_SHOWN of them."""

    read: int = 0
    first: int | None = None
    last: int | None = None
    doubles: int = 0
    missing_count: int = 0
    missing: list[ExpectedEvent] = field(default_factory=list)
    wrong_count: int = 0
    wrong: list[str] = field(default_factory=list)

    @property
    def is_ok(self) -> bool:
        """False if an event is missing or is not that of the table; a double is none of these."""
        return not (self.missing_count or self.wrong_count)


def compare_stream(found: Iterable[ReadEvent], expected: Iterable[ExpectedEvent]) -> StreamReport:
    """Compare events as they stand in the stream with those expected, both in order.

    ``expected`` ends with the event that was published last, and ``found`` must not end before it.
    """
    report = StreamReport()
    awaited = _Awaited(expected)
    for event, offset in found:
        report.read += 1
        if report.first is None:
            report.first = event.position
            if offset > 0:
                awaited.begin_at(event.position)
        report.last = max(event.position, -1 if report.last is None else report.last)
        want, is_double = awaited.take(event.position)
        report.doubles += is_double
        if want is None:
            if not is_double:
                _wrong(report, f"offset {offset}: the database has no event at position {event.position}")
        elif (want.source, want.id) != (event.source, event.id):
            _wrong(
                report,
                f"offset {offset}: position {event.position} is {event.source} {event.id} in the stream, and"
                f" {want.source} {want.id} in the database",
            )
    for each in awaited.rest():
        report.missing_count += 1
        if len(report.missing) < MOST_SHOWN:
            report.missing.append(each)
    return report


class _Awaited:
    """What is expected and has not come. Events come in order but for a few that were published again."""

    def __init__(self, expected: Iterable[ExpectedEvent]) -> None:
        self._expected: Iterator[ExpectedEvent] = iter(expected)
        self._next = next(self._expected, None)
        self._passed: dict[int, ExpectedEvent] = {}
        self._seen: dict[int, ExpectedEvent] = {}  # the newest of those that came: a double may follow
        self._known = (
            _Positions()
        )  # of all that came, or are before the beginning: all may be published again

    def begin_at(self, position: int) -> None:
        """Expect nothing before ``position``."""
        while self._next is not None and self._next.position < position:
            self._known.add(self._next.position)
            self._advance()

    def take(self, position: int) -> tuple[ExpectedEvent | None, bool]:
        """Return what is expected at a position, and whether it came before.

        Of an event that came long ago only that is known, so None is returned for it as for one that is not
        expected at all.
        """
        while self._next is not None and self._next.position < position:
            self._passed[self._next.position] = self._next
            self._advance()
        if position in self._seen:
            return self._seen[position], True
        if position in self._known:
            return None, True
        found = self._passed.pop(position) if position in self._passed else self._next
        if found is not None and found is self._next:
            if found.position != position:
                return None, False
            self._advance()
        if found is not None:
            self._seen[position] = found
            self._known.add(position)
            if len(self._seen) > _KEPT:
                del self._seen[next(iter(self._seen))]
        return found, False

    def rest(self) -> Iterator[ExpectedEvent]:
        """Yield what has not come, in order."""
        yield from self._passed.values()
        while self._next is not None:
            yield self._next
            self._advance()

    def _advance(self) -> None:
        self._next = next(self._expected, None)


class _Positions:
    """A set of positions, a bit for each: 12 MB for a hundred million."""

    def __init__(self) -> None:
        self._bits = bytearray()

    def add(self, position: int) -> None:
        place = position >> 3
        if place >= len(self._bits):
            self._bits.extend(bytes(place + 1 - len(self._bits)))
        self._bits[place] |= 1 << (position & 7)

    def __contains__(self, position: int) -> bool:
        place = position >> 3
        return place < len(self._bits) and bool(self._bits[place] & 1 << (position & 7))


_KEPT = 100_000


def _wrong(report: StreamReport, words: str) -> None:
    report.wrong_count += 1
    if len(report.wrong) < MOST_SHOWN:
        report.wrong.append(words)
