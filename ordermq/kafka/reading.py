"""The events of the history between two positions, each ready to be sent, or with the reason why not."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from ordermq.kafka.records import MODES, KafkaRecord
from ordermq.message.cloudevents import RecordEvent, event_of
from ordermq.module import RecordSource
from ordermq.observe.text import line
from ordermq.store import StoreTransaction
from ordermq.store.forwards import position_before
from ordermq.store.positions import PositionedRecord, records_between

_LONGEST_REASON = 300  # characters


@dataclass(frozen=True)
class Upcoming:
    """The event at a position: its record, or why it has none."""

    position: int
    source: str
    subject: str
    number: int
    record: KafkaRecord | None = None
    reason: str = ""


class HistoryReader:
    """Reads events from the history of all records.

    ``home`` begins the source of each event, as in ``/orders/shop.order_events``. ``mode`` is one of MODES.
    """

    def __init__(self, sources: Sequence[RecordSource], home: str, mode: str) -> None:
        self._home = home
        self._to_record = MODES[mode]
        self._events: Mapping[str, Callable[[bytes], RecordEvent]] = {
            each.name: event for each in sources if (event := each.load_event()) is not None
        }
        self._selects = {each.name: each.outward_select for each in sources if each.name in self._events}

    @property
    def names(self) -> tuple[str, ...]:
        """The sources whose records are events."""
        return tuple(self._selects)

    def read(self, tx: StoreTransaction, begin: int, end: int) -> list[Upcoming]:
        """Return the events from position ``begin`` to before ``end``, in order."""
        if begin >= end:
            return []
        previous = position_before(tx, self.names, begin)
        found: list[Upcoming] = []
        for each in records_between(tx, self._selects, begin, end):
            found.append(self._upcoming(each, previous))
            previous = each.position
        return found

    def _upcoming(self, found: PositionedRecord, previous: int | None) -> Upcoming:
        where = found.position, found.source, found.subject, found.number
        if found.content is None:
            return Upcoming(
                *where, reason="its row is gone from its table: it is in an archive, or was removed"
            )
        try:
            event = event_of(
                self._events[found.source](bytes(found.content)),
                source=f"{self._home}/{found.source}",
                subject=found.subject,
                number=found.number,
                position=found.position,
                previous=previous,
            )
            return Upcoming(*where, record=self._to_record(event))
        except Exception as exc:  # a fault in a module's function concerns this record alone
            return Upcoming(*where, reason=reason_of(exc))


def reason_of(error: object) -> str:
    """Return the type of an error and its text, on one line, bounded."""
    kind = f"{type(error).__name__}: " if isinstance(error, Exception) else ""
    return line(f"{kind}{error}", _LONGEST_REASON)
