"""Whether this process lives and whether it is ready, and why not.

Live: every loop that ever beat has beaten lately; a process that is not live should
be killed. Ready: live, and every part of it says it can do its work; a process that
is not ready may recover by itself, so nobody kills it for that.

All methods may be called from any thread; none blocks.
"""

import threading
from collections.abc import Callable
from dataclasses import dataclass

from ordermq.clock import monotonic_s

MAIN = "io"


@dataclass(frozen=True)
class HealthVerdict:
    """Yes, or no and every reason."""

    reasons: tuple[str, ...] = ()

    @property
    def is_good(self) -> bool:
        return not self.reasons


class Health:
    def __init__(self, *, stale_after_s: float = 15.0, now: Callable[[], float] = monotonic_s) -> None:
        """The I/O loop counts as having beaten once now: one that never starts is noticed too."""
        self._stale_after_s = stale_after_s
        self._now = now
        self._lock = threading.Lock()
        self._beat_at_s = {MAIN: now()}
        self._unready = {MAIN: "starting"}

    def beat(self, name: str = MAIN) -> None:
        """Say that the loop ``name`` turns. From its first beat on it is watched."""
        with self._lock:
            self._beat_at_s[name] = self._now()

    def set_ready(self, ready: bool, why: str = "", *, name: str = MAIN) -> None:
        """Say whether the part ``name`` can work, and if not, why."""
        with self._lock:
            if ready:
                self._unready.pop(name, None)
            else:
                self._unready[name] = why or "not ready"

    def live(self) -> HealthVerdict:
        now_s = self._now()
        with self._lock:
            ages_s = {name: now_s - beat_at_s for name, beat_at_s in self._beat_at_s.items()}
        late = {name: age_s for name, age_s in ages_s.items() if age_s > self._stale_after_s}
        return HealthVerdict(
            tuple(f"{name}: no sign of life for {age_s:.0f} s" for name, age_s in late.items())
        )

    def ready(self) -> HealthVerdict:
        with self._lock:
            reasons = tuple(f"{name}: {why}" for name, why in self._unready.items())
        return HealthVerdict(self.live().reasons + reasons)
