"""Whether this process is live and ready, and why not.

Live: every loop that has ever beaten has beaten lately, and what else is watched is not silent.
A process that is not live should be killed. Ready: live, and every part says that it can work.
A process that is not ready may recover by itself and should not be killed for it.

All methods may be called from any thread; none blocks.
"""

import threading
from collections.abc import Callable
from dataclasses import dataclass

from ordermq.clock import monotonic_s

MAIN = "io"


@dataclass(frozen=True)
class HealthVerdict:
    """Yes without a reason, or no with every reason."""

    reasons: tuple[str, ...] = ()

    @property
    def is_good(self) -> bool:
        """True if there is no reason for a no."""
        return not self.reasons


class Health:
    """The beats and the readiness of a process's parts."""

    def __init__(self, *, stale_after_s: float = 15.0, now: Callable[[], float] = monotonic_s) -> None:
        """The I/O loop counts as having beaten now, so that one that never starts is noticed too."""
        self._stale_after_s = stale_after_s
        self._now = now
        self._lock = threading.Lock()
        self._beat_at_s = {MAIN: now()}
        self._unready = {MAIN: "starting"}
        self._held: set[str] = set()  # of those, the parts that only a person holds back
        self._watched: dict[str, tuple[Callable[[], float], float]] = {}

    def beat(self, name: str = MAIN) -> None:
        """Record that the loop ``name`` runs. It is watched from its first beat on."""
        with self._lock:
            self._beat_at_s[name] = self._now()

    def watch(self, name: str, silent_for_s: Callable[[], float], may_take_s: float) -> None:
        """Watch threads by ``silent_for_s``: the seconds since their last sign of life.

        They are late once these are ``may_take_s`` more than a loop may take.
        """
        self._watched[name] = silent_for_s, may_take_s

    def set_ready(self, ready: bool, why: str = "", *, name: str = MAIN, is_held: bool = False) -> None:
        """Record whether the part ``name`` can work, and if not, why.

        ``is_held`` says that it could, and that only a person does not want it to.
        """
        with self._lock:
            self._held.discard(name)
            if ready:
                self._unready.pop(name, None)
                return
            self._unready[name] = why or "not ready"
            if is_held:
                self._held.add(name)

    def live(self) -> HealthVerdict:
        """Return whether every watched loop has beaten lately."""
        now_s = self._now()
        with self._lock:
            ages_s = {name: now_s - beat_at_s for name, beat_at_s in self._beat_at_s.items()}
        late = {name: age_s for name, age_s in ages_s.items() if age_s > self._stale_after_s}
        for name, (silent_for_s, may_take_s) in self._watched.items():
            if (age_s := silent_for_s()) > self._stale_after_s + may_take_s:
                late[name] = age_s
        return HealthVerdict(
            tuple(f"{name}: no sign of life for {age_s:.0f} s" for name, age_s in late.items())
        )

    @property
    def is_up(self) -> bool:
        """Whether the process is live and every part can work, or could if a person had not paused it."""
        with self._lock:
            is_held_only = self._held.issuperset(self._unready)
        return is_held_only and self.live().is_good

    def ready(self) -> HealthVerdict:
        """Return whether the process is live and every part can work."""
        with self._lock:
            reasons = tuple(f"{name}: {why}" for name, why in self._unready.items())
        return HealthVerdict(self.live().reasons + reasons)
