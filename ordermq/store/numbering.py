"""Giving records their positions: each gets one after it has committed, in the order of commits.

Invariants
    POS1  A record gets a position after it has committed, and exactly one. None is skipped, in whatever order
        transactions commit: what was not seen yet waits in ``ordermq.unnumbered``.
    POS2  One process at a time gives positions: the one that holds the relay's lock. That is the active relay
        or, while none is, one that has no broker: numbering needs none.
    POS3  A position is never taken back. Who has read up to one reads on after it.
"""

import math
from dataclasses import dataclass

from ordermq.clock import monotonic_s
from ordermq.store.outbox import RELAY_LOCK
from ordermq.store.session import Session
from ordermq.store.transaction import StoreTransaction

EVERY_S = 0.5  # while records come; a call that finds the most it may take is followed by another at once
MOST_STATEMENTS = 200  # of one call
LEFT_AFTER_S = 2.0  # a record that has waited for longer is numbered by no active relay

_LOOK_EVERY_S = 1.0
_SHARE = 0.01  # of the time, for calls that look below the mark

# Migrations 0017 and 0018 have the functions.
_NUMBER = """
    SELECT numbered, has_more, new_low, new_next_low, new_next_xid::text
      FROM ordermq.number_records(%s, %s, %s, %s, %s::xid8, %s)
"""
_WAITS_S = """
    SELECT date_part('epoch', now() - newest) FROM ordermq.unnumbered WHERE entry >= %s ORDER BY entry LIMIT 1
"""


@dataclass
class _Mark:
    """Where the next call begins to read. A process that starts, or takes over, begins at 0."""

    low: int = 0
    next_low: int | None = None
    next_xid: str | None = None
    look_at_s: float = -math.inf


class Sequencer:
    """Gives positions, a while after records committed; the active relay calls it after each of its turns.

    A relay without a broker calls ``number_left``.

    Owned by one thread. Raises a StoreError; then nothing was numbered, and the next call does it.
    """

    def __init__(self, *, every_s: float = EVERY_S, most: int = MOST_STATEMENTS) -> None:
        self._every_s = every_s
        self._most = most
        self._mark = _Mark()
        self._next_s = -math.inf

    @property
    def low(self) -> int:
        """The number of the row where the next call begins to read."""
        return self._mark.low

    def __call__(self, session: Session, *, is_active: bool) -> int:
        """Number what has committed, if it is time; return how many records got a position."""
        began_s = monotonic_s()
        if not is_active:
            self._mark, self._next_s = _Mark(), -math.inf
            return 0
        if began_s < self._next_s:
            return 0
        return self._number_now(session, began_s)

    def number_left(self, session: Session) -> int:
        """Number what no relay has numbered for ``LEFT_AFTER_S``; for one that has no broker, called often.

        It cannot know whether another relay is active, and the lock that it would take from that one for
        an instant makes it a standby for seconds. So it reads first, without the lock.
        """
        began_s = monotonic_s()
        if began_s < self._next_s:
            return 0
        self._next_s = began_s + self._every_s
        with session.transaction() as tx:
            if waits_s(tx, self.low) < LEFT_AFTER_S:
                return 0
        return self._number_now(session, began_s)

    def _number_now(self, session: Session, began_s: float) -> int:
        self._next_s = began_s + self._every_s
        with session.transaction() as tx:
            found = self._number(tx, looks_below := began_s >= self._mark.look_at_s)
        if looks_below:
            now_s = monotonic_s()
            self._mark.look_at_s = now_s + max(_LOOK_EVERY_S, (now_s - began_s) / _SHARE)
        return found

    def _number(self, tx: StoreTransaction, look_below: bool) -> int:
        mark = self._mark
        params = (RELAY_LOCK, self._most, mark.low, mark.next_low, mark.next_xid, look_below)
        row = tx.fetch_one(_NUMBER, params)
        if row is None:
            return 0
        numbered, has_more, mark.low, mark.next_low, mark.next_xid = row
        if has_more:
            self._next_s = -math.inf
        return int(numbered)


def waits_s(tx: StoreTransaction, low: int = 0) -> float:
    """Return the age in seconds of the record that waits longest for its position; 0 if none waits.

    ``low``: none of a lower number waits, as ``Sequencer.low`` says.
    """
    (seconds,) = tx.fetch_one(_WAITS_S, (low,)) or (0.0,)
    return float(seconds)
