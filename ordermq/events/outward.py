"""Which records go outward, and the events that they are. Pure, but for the import of a module's code."""

from collections.abc import Callable, Iterable, Mapping, Sequence

from ordermq.errors import RecordUnreadable
from ordermq.message.cloudevents import CloudEvent, RecordEvent, event_of
from ordermq.module import RecordSource
from ordermq.store.positions import PositionedRecord


class OutwardRecords:
    """The records that others may read; ``home`` begins the source of each event, ``/orders``."""

    def __init__(self, records: Iterable[RecordSource], home: str) -> None:
        """Raises ConfigError if the ``event`` of a source cannot be imported."""
        found = {each.name: (each, each.load_event()) for each in records}
        self._home = home
        self._events: dict[str, Callable[[bytes], RecordEvent]] = {
            name: event for name, (_, event) in found.items() if event is not None
        }
        self.selects: Mapping[str, str] = {name: found[name][0].outward_select for name in self._events}

    @property
    def names(self) -> list[str]:
        """The names of the sources."""
        return list(self._events)

    def source_of(self, name: str) -> str:
        """Return the attribute ``source`` of the events of the source of records ``name``."""
        return f"{self._home}/{name}"

    def events(self, records: Iterable[PositionedRecord], previous: int | None) -> Sequence[CloudEvent]:
        """Return the events of records in order; ``previous`` is the position of the event before them.

        A record whose row is gone is left out. Raises RecordUnreadable for one that its module cannot read.
        """
        found: list[CloudEvent] = []
        for each in records:
            if each.content is None:
                continue
            try:
                event = self._events[each.source](bytes(each.content))
            except Exception as exc:  # the module's code
                raise RecordUnreadable(
                    f"{each.source} {each.subject} {each.number}, at position {each.position}, is no event:"
                    f" {type(exc).__name__}: {exc}; nothing after it is published"
                ) from exc
            found.append(
                event_of(
                    event, source=self.source_of(each.source), subject=each.subject, number=each.number,
                    position=each.position, previous=previous,
                )
            )  # fmt: skip
            previous = each.position
        return found
