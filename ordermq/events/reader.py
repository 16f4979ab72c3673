"""Read events of orders: each once, in the order of their positions, over any number of connections."""

from collections.abc import Iterator
from types import TracebackType
from typing import Self

from ordermq.config.settings import BrokerSettings
from ordermq.errors import EventsMissed
from ordermq.events.stream import EventLog, Place, ReadEvent

MOST_AHEAD = 2_000  # events of a batch that was published again from before it; a batch has at most 500
_LOOK_EVERY_S = 1.0
_NOTHING = -1  # a position before all


class EventReader:
    """Iterates over events: ``for event, offset in reader``. It waits for more and ends after ``stop``.

    An event that was published twice is given once. The reader connects again by itself when a connection is
    lost, also one that was lost because an event was handled for long. ``offset`` is that of the message
    that was read last, a double or not. Owned by one thread.
    """

    def __init__(
        self,
        broker: BrokerSettings,
        stream: str,
        *,
        start: Place = "first",
        after: int | None = None,
        prefetch: int = 500,
        name: str = "ordermq events",
    ) -> None:
        self._stream = stream
        self._log = EventLog(
            broker, stream, start=start, prefetch=prefetch, name=name, is_resumed=after is not None
        )
        self._last = after
        self.offset: int | None = None
        self._ahead = 0

    def read(self, timeout_s: float) -> ReadEvent | None:
        """Return the next event; None if none comes within ``timeout_s``, or after ``stop``.

        Raises EventsMissed, or a BrokerError that only a person can mend or that has lasted for
        ``broker.give_up_after_s``.
        """
        while (found := self._log.read(timeout_s)) is not None:
            self.offset = found.offset
            if self._is_new(found):
                return found
        return None

    def stop(self) -> None:
        """Have the iteration end; it can be called by another thread or by a handler of signals."""
        self._log.stopping.set()

    def close(self) -> None:
        """Close the connection."""
        self._log.close()

    def __iter__(self) -> Iterator[ReadEvent]:
        while not self._log.stopping.is_set():
            if (found := self.read(_LOOK_EVERY_S)) is not None:
                yield found

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        exc_type: type[BaseException] | None,
        exc: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.close()

    def _is_new(self, found: ReadEvent) -> bool:
        """Say whether an event is the next one.

        It is not if it was seen before, or if it is ahead of one that the broker refused: both are published
        again then, in their order.
        """
        event = found.event
        if self._last is None and found.offset == 0:
            # Nothing is before the first message of a stream: an event that it names was refused, and comes.
            self._last = _NOTHING
        last = self._last
        if last is not None and event.position <= last:
            return False
        if last is not None and event.previous is not None and event.previous > last:
            self._ahead += 1
            if (self._log.has_jumped and last != _NOTHING) or self._ahead > MOST_AHEAD:
                raise EventsMissed(
                    f"the events after position {last} up to {event.previous} are not in the stream"
                    f" {self._stream} any more: it keeps them for events.max_age_s and events.max_bytes."
                    " Read again from the start without 'after', or take what is missing from the tables"
                )
            return False
        self._ahead = 0
        self._last = event.position
        return True
