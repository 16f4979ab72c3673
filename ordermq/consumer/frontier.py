"""Turn out-of-order completions into the fewest acks that delay no delivery.

Workers finish deliveries in any order, but ``basic.ack(multiple=True)`` settles
every tag up to its own. The frontier is the highest tag below which all are
settled: acking it can never settle a delivery still being worked on. Deliveries that finished
above a gap are acked one by one, or a single slow handler would use up the prefetch.

Invariants
    FRT1  Tags are added in rising order, as the broker delivers them.
    FRT2  A cumulative ack never covers a tag that is unfinished.
    FRT3  No tag is acked twice: the broker closes the channel for that (406).

Owned by the I/O thread; not thread-safe.
"""

from collections.abc import Iterable
from typing import NamedTuple


class Ack(NamedTuple):
    """One basic.ack to send."""

    tag: int
    multiple: bool


class AckFrontier:
    """The unsettled deliveries of one subscription."""

    def __init__(self) -> None:
        self._open: dict[int, None] = {}  # insertion order is tag order
        self._finished: set[int] = set()  # finished since the last acks()

    @property
    def unsettled(self) -> int:
        """How many deliveries are not acked yet."""
        return len(self._open)

    @property
    def oldest(self) -> int | None:
        """The lowest tag that is not acked; None if there is none."""
        return next(iter(self._open), None)

    @property
    def newest(self) -> int:
        """The highest tag that is not acked; 0 if there is none."""
        return next(reversed(self._open), 0)

    def delivered(self, tag: int) -> None:
        """Add a delivery; tags come in rising order (FRT1)."""
        self._open[tag] = None

    def finished(self, tags: Iterable[int]) -> None:
        """Note deliveries that are settled; the next ``acks()`` covers them."""
        self._finished.update(tags)

    def returned(self, tag: int) -> None:
        """Forget a delivery that was handed back with basic.nack."""
        self._open.pop(tag, None)

    def acks(self) -> list[Ack]:
        """Return the acks to send now for all that finished since the last call."""
        finished, self._finished = self._finished, set()
        acks = []
        if (reached := self._advance(finished)) is not None:
            acks.append(Ack(reached, multiple=True))
        for tag in sorted(finished):
            if tag in self._open:
                del self._open[tag]
                acks.append(Ack(tag, multiple=False))
        return acks

    def _advance(self, finished: set[int]) -> int | None:
        reached = None
        while self._open and (tag := next(iter(self._open))) in finished:
            del self._open[tag]
            reached = tag
        return reached
