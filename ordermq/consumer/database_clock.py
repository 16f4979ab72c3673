"""What the database's clock says, without asking it: this machine's clock and the difference to it."""

from datetime import datetime

from ordermq.clock import utc_now
from ordermq.observe import metrics


class DatabaseClock:
    """Compared once a second by the control, read by every thread. Off by half a round trip at most."""

    def __init__(self) -> None:
        self._ahead_s: float | None = None  # the database's clock minus ours; None until it is known

    def compared(self, database_at: datetime, before: datetime, after: datetime) -> None:
        """Take what the database said between ``before`` and ``after`` by our clock."""
        self._ahead_s = (database_at - before - (after - before) / 2).total_seconds()
        metrics.clock_offset.set(self._ahead_s)

    def age_s(self, since: float) -> float | None:
        """Return how long ago the Unix time ``since`` is by the database's clock; None if it is not known."""
        ahead_s = self._ahead_s
        return None if ahead_s is None else max(0.0, utc_now().timestamp() + ahead_s - since)
