"""Queues that refuse messages: how many of their rows the relay tries, and when.

Pure: the caller passes the time.

    from      to        when
    (none)    held      all its rows in a claim were refused, and not only one that was refused before
    held      trying    its backoff has passed; ``room`` is 1
    trying    trying    a row was confirmed: ``room`` is four times as much, up to ``most_room``
    trying    held      a row was refused; the backoff grows if none was confirmed since
    trying    (none)    no row waits any more

The other rows of such a queue are parked in the table: each is written once, not at each try, and a
claim finds the rows of queues that work. While many are still to be parked, a claim passes them by.

Invariants
    RFQ1  Of a queue that refuses, no more rows are published than ``room``, and none while it is held.
    RFQ2  A queue that works has all its rows tried, whatever other queues do.
"""

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from random import Random

from ordermq.backoff import Backoff
from ordermq.store.outbox import ClaimedRow

SAY_EVERY_S = 60.0
_GIVE_UP_TRY_S = 5.0  # a row that was to be tried may have been deleted


@dataclass
class RefusingQueue:
    """A queue in one of the states of the table; times are monotonic."""

    reason: str
    until_s: float = 0.0
    room: int = 1
    failures: int = 0
    is_trying: bool = False


@dataclass
class _Said:
    at_s: float
    count: int = 0


class RefusingQueues:
    """The queues that refuse, by routing key. Owned by the relay's thread."""

    def __init__(
        self, random: Random, before: Mapping[str, str] | None = None, *, most_room: int = 500
    ) -> None:
        """``before``: the routing keys of rows refused by then, with reasons. They are tried at once."""
        self._random = random
        self._most_room = most_room
        self._queues = {key: RefusingQueue(reason) for key, reason in (before or {}).items()}
        self._said: dict[str, _Said] = {}

    def __bool__(self) -> bool:
        return bool(self._queues)

    @property
    def keys(self) -> list[str]:
        """The routing keys of all queues that refuse."""
        return list(self._queues)

    def __contains__(self, key: str) -> bool:
        return key in self._queues

    def reason(self, key: str) -> str:
        """Return why the queue refused last."""
        return self._queues[key].reason

    def admitted(self, rows: Sequence[ClaimedRow]) -> list[ClaimedRow]:
        """Return the rows to publish. One that must wait holds back the later ones of its correlation id."""
        if not self._queues:
            return list(rows)
        room = {key: each.room if each.is_trying else 0 for key, each in self._queues.items()}
        held: set[str] = set()
        admitted = []
        for row in sorted(rows, key=lambda row: row.outbox_id):
            key, correlation_id = row.row.routing_key, row.row.envelope.correlation_id
            if correlation_id in held or room.get(key, 1) <= 0:
                held |= {correlation_id} - {""}
            else:
                admitted.append(row)
                if key in room:
                    room[key] -= 1
        return admitted

    def note(
        self,
        confirmed: Mapping[str, int],
        refused: Sequence[tuple[ClaimedRow, Backoff, str]],
        now_s: float,
    ) -> None:
        """Take the result of a claim: confirmed rows by routing key, and each refused row with why."""
        fresh: Counter[str] = Counter()
        last: dict[str, tuple[Backoff, str]] = {}
        for row, backoff, reason in refused:
            # Two rows that were refused before count as one that was not.
            fresh[row.row.routing_key] += 1 if row.refusals else 2
            last[row.row.routing_key] = backoff, reason
        for key, (backoff, reason) in last.items():
            if key not in self._queues and (confirmed.get(key) or fresh[key] < 2):
                continue
            queue = self._queues.setdefault(key, RefusingQueue(reason))
            queue.failures = 1 if confirmed.get(key) else queue.failures + 1
            queue.until_s = now_s + backoff.delay_s(queue.failures - 1, self._random)
            queue.reason, queue.room, queue.is_trying = reason, 1, False
        for key in set(confirmed) & self._queues.keys() - last.keys():
            queue = self._queues[key]
            queue.room, queue.failures = min(4 * queue.room, self._most_room), 0
            queue.until_s, queue.is_trying = now_s, False

    def crowded(self, rows: Iterable[ClaimedRow]) -> set[str]:
        """Return the queues that refuse of ``rows``, which were not confirmed: they have due rows to park."""
        return {row.row.routing_key for row in rows if row.row.routing_key in self._queues}

    def due(self, now_s: float) -> list[tuple[str, int]]:
        """Return each queue whose time has come, with the number of rows to release."""
        return [(key, each.room) for key, each in self._queues.items() if now_s >= each.until_s]

    def released(self, key: str, count: int, now_s: float, *, is_left: bool = False) -> bool:
        """Note that ``count`` parked rows were released to be tried. Return True if none waits any more.

        ``is_left``: rows are parked that wait for earlier ones of their correlation ids.
        """
        if not (count or is_left or self._queues[key].is_trying):
            del self._queues[key]
            self._said.pop(key, None)
            return True
        self._queues[key].is_trying = count > 0
        self._queues[key].until_s = now_s + _GIVE_UP_TRY_S
        return False

    def to_say(self, key: str, count: int, now_s: float) -> int:
        """Return how many refusals to log now, in one line for all since the line before; 0: none."""
        said = self._said.get(key)
        if said is None:
            self._said[key] = _Said(now_s)
            return count
        said.count += count
        if now_s - said.at_s < SAY_EVERY_S:
            return 0
        count, said.count, said.at_s = said.count, 0, now_s
        return count
