"""The only place that asks the time.

Instants are aware UTC datetimes. Durations are float seconds on the monotonic clock, so a
clock that is set back never makes a delay negative.
Deadlines that several processes must agree on are computed by PostgreSQL's
``now()``, not here.
"""

import time
from datetime import UTC, datetime

__all__ = ["Deadline", "monotonic_s", "utc_now"]


def utc_now() -> datetime:
    """Return the wall-clock time as an aware UTC datetime."""
    return datetime.now(UTC)


def monotonic_s() -> float:
    """Return seconds on a clock that never jumps; only differences mean anything."""
    return time.monotonic()


class Deadline:
    """A monotonic instant, computed once and passed down.

    Do not store or send it: it has no meaning in another process.
    """

    def __init__(self, after_s: float) -> None:
        self._at_s = monotonic_s() + after_s

    @property
    def left_s(self) -> float:
        """Seconds left, never negative."""
        return max(0.0, self._at_s - monotonic_s())

    @property
    def has_passed(self) -> bool:
        """True once no time is left."""
        return self.left_s == 0.0
