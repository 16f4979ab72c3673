"""Which records go outward, and the events that they are: for the stream, and for Kafka."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import NamedTuple

from ordermq.message.cloudevents import CloudEvent, RecordEvent, event_of
from ordermq.module import RecordSource
from ordermq.observe.text import line
from ordermq.store import StoreTransaction
from ordermq.store.feeds import RefusedEvent
from ordermq.store.positions import PositionedRecord, records_between

_LONGEST_REASON = 300  # characters
_GONE = "its row is gone from its table: it is in an archive, or was removed"


class OutwardEvent(NamedTuple):
    """The event at a position, or the reason why there is none.

    A record whose row is gone is passed by every feed, and no event names it as the one before. One that
    its module cannot read waits for a person or is passed, as its feed says.
    """

    position: int
    source: str
    subject: str
    number: int
    event: CloudEvent | None = None
    reason: str = ""
    is_gone: bool = False

    def refused(self, reason: str = "") -> RefusedEvent:
        """Return this as an event that is not sent."""
        why = line(reason or self.reason, _LONGEST_REASON)
        return RefusedEvent(self.position, self.source, self.subject, self.number, why)


class OutwardRecords:
    """The records that others may read; ``home`` begins the source of each event, ``/orders``."""

    def __init__(self, records: Iterable[RecordSource], home: str) -> None:
        """Raises ConfigError if the ``event`` of a source cannot be imported."""
        found = {each.name: (each, each.load_event()) for each in records}
        self._home = home
        self._events: dict[str, Callable[[bytes], RecordEvent]] = {
            name: event for name, (_, event) in found.items() if event is not None
        }
        self._selects: Mapping[str, str] = {name: found[name][0].outward_select for name in self._events}

    @property
    def names(self) -> list[str]:
        """The names of the sources."""
        return list(self._events)

    def source_of(self, name: str) -> str:
        """Return the attribute ``source`` of the events of the source of records ``name``."""
        return f"{self._home}/{name}"

    def read(self, tx: StoreTransaction, begin: int, end: int, previous: int | None) -> list[OutwardEvent]:
        """Return what is at the positions from ``begin`` to before ``end``, in order.

        ``previous`` is the position that the first event names as the one before it.
        """
        if begin >= end:
            return []
        return self.events(records_between(tx, self._selects, begin, end), previous)

    def events(self, records: Iterable[PositionedRecord], previous: int | None) -> list[OutwardEvent]:
        """Like ``read``, of records that were read."""
        found: list[OutwardEvent] = []
        for each in records:
            found.append(self._event(each, previous))
            if not found[-1].is_gone:
                previous = each.position
        return found

    def _event(self, found: PositionedRecord, previous: int | None) -> OutwardEvent:
        where = found.position, found.source, found.subject, found.number
        if found.content is None:
            return OutwardEvent(*where, reason=_GONE, is_gone=True)
        try:
            event = event_of(
                self._events[found.source](bytes(found.content)),
                source=self.source_of(found.source),
                subject=found.subject,
                number=found.number,
                position=found.position,
                previous=previous,
            )
        except Exception as exc:  # a fault in a module's function concerns this record alone
            return OutwardEvent(*where, reason=f"{type(exc).__name__}: {exc}")
        return OutwardEvent(*where, event=event)


def last_named(passed: Sequence[OutwardEvent], before: int | None) -> int | None:
    """Return the position that an event after those ``passed`` names as the one before it."""
    return next((each.position for each in reversed(passed) if not each.is_gone), before)
