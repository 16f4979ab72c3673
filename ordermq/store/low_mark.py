"""The low mark: from where on the relay reads the outbox. Pure.

While a session holds an old snapshot, PostgreSQL keeps the index entries of deleted rows. A claim that
began at the first entry would read all of them each time, 0.3 us each. Migration 0011 says why no row
is due before the mark and none will be. The relay keeps the mark in memory: one that starts, or takes
over, begins without.

Invariants
    LOW1  A row that is due before the mark, for whatever reason, is found by a claim that looks below
        it. Such claims come every LOOK_EVERY_S, and seldomer only as long as they would take more than
        a hundredth of the time.
"""

import math
from datetime import datetime

LOOK_EVERY_S = 1.0
_SHARE = 0.01  # of the time, for claims that look below the mark


class LowMark:
    """What one claim hands to the next: ``low``, the mark after it, and the xid that it waits for."""

    def __init__(self) -> None:
        self.low: datetime | None = None  # None: read everything
        self._next_low: datetime | None = None
        self._next_xid: str | None = None
        self._look_at_s = -math.inf

    def params(self, now_s: float) -> tuple[datetime | None, datetime | None, str | None, bool]:
        """Return the last parameters of ``ordermq.claim``: the mark, and whether to look below it."""
        return self.low, self._next_low, self._next_xid, now_s >= self._look_at_s

    def claimed(self, began_s: float, now_s: float) -> None:
        """Note how long a claim took, successful or not: one that looked below sets the time of the next."""
        if began_s >= self._look_at_s:
            self._look_at_s = now_s + max(LOOK_EVERY_S, (now_s - began_s) / _SHARE)

    def move(self, low: datetime | None, next_low: datetime | None, next_xid: str | None) -> None:
        """Take over what a claim returned."""
        self.low, self._next_low, self._next_xid = low, next_low, next_xid
