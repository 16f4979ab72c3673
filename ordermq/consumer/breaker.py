"""Stop calling a service that fails, and find out when it works again. Each dependency has one breaker.

    from       to         when
    CLOSED     OPEN       ``failures`` calls in a row failed
    OPEN       HALF_OPEN  its backoff has passed, and a call asks: it is the probe
    HALF_OPEN  CLOSED     the probe succeeded
    HALF_OPEN  OPEN       the probe failed; the backoff grows if its message had not failed before

A call has failed if it had no effect, or if its effect is unknown: GatewayUnavailable and
OutcomeUnknown. Everything else is an answer, so the service works.

Invariants
    BRK1  While not CLOSED, one call at a time is permitted, and none before the backoff
        has passed.
    BRK2  A call counts only in the state in which it was permitted: one that was under way
        when the breaker opened neither closes it nor opens it again.
    BRK3  From opening to closing the process is paused because of the dependency.
    BRK4  A message that has failed since the last answer says nothing new by failing again.
        That lengthens no backoff, and a delay the service asks for then holds up no other
        message. So one message the service never takes does not keep the others waiting.
"""

import threading
from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace
from enum import Enum
from random import Random

from ordermq.backoff import Backoff
from ordermq.clock import monotonic_s
from ordermq.consumer.pause import Cause, Pause
from ordermq.errors import GatewayUnavailable, OutcomeUnknown
from ordermq.observe import metrics
from ordermq.task.retry import retry_after_s

BASE_S = 1.0  # the first backoff's ceiling
MOST_FAILED = 1000  # message ids remembered for each outage


class CircuitState(Enum):
    """The states of the table above."""

    CLOSED = "closed"
    OPEN = "open"
    HALF_OPEN = "half-open"


@dataclass(frozen=True)
class Circuit:
    """The state machine. Pure: each method returns the state that follows.

    ``era`` is the number of the present state. A call's permit is the era it was given in (BRK2).
    """

    state: CircuitState = CircuitState.CLOSED
    era: int = 0
    failures: int = 0  # in a row, while closed
    openings: int = 0  # since it was last closed, caused by messages that had not failed before (BRK4)
    probe_at_s: float = 0.0  # when open
    failed: frozenset[str] = frozenset()  # message_ids, since the last answer

    def may_call(self, now_s: float) -> bool:
        """Whether a call is permitted now; in OPEN it is the probe."""
        return self.state is CircuitState.CLOSED or (
            self.state is CircuitState.OPEN and now_s >= self.probe_at_s
        )

    def called(self) -> "Circuit":
        """Return what follows as a permitted call begins."""
        if self.state is CircuitState.CLOSED:
            return self
        return replace(self, state=CircuitState.HALF_OPEN, era=self.era + 1)

    def ended(
        self, era: int, message_id: str, has_failed: bool, *, limit: int, probe_at_s: float
    ) -> "Circuit":
        """Return what follows as a call permitted in ``era`` ends.

        ``probe_at_s`` is when to try again if this opens the circuit.
        """
        if era != self.era:
            return self
        if not has_failed:
            return Circuit(era=self.era + (self.state is not CircuitState.CLOSED))
        failed = self.failed | {message_id} if len(self.failed) < MOST_FAILED else self.failed
        if self.state is CircuitState.CLOSED and self.failures + 1 < limit:
            return replace(self, failures=self.failures + 1, failed=failed)
        openings = self.openings + (message_id not in self.failed)
        return Circuit(CircuitState.OPEN, self.era + 1, 0, openings, probe_at_s, failed)


class Breaker:
    """The circuit of one dependency. Thread-safe; shared by the threads that call it."""

    def __init__(
        self,
        dependency: str,
        pause: Pause,
        *,
        failures: int,
        cap_s: float,
        now: Callable[[], float] = monotonic_s,
    ) -> None:
        self.dependency = dependency
        self._pause = pause
        self._cause = Cause(f"{dependency} gateway", f"the {dependency} gateway answers")
        self._limit = failures
        self._backoff = Backoff(min(BASE_S, cap_s), cap_s)
        self._random = Random()
        self._now = now
        self._lock = threading.Lock()
        self._circuit = Circuit()
        self._show(self._circuit)

    @property
    def is_closed(self) -> bool:
        return self._circuit.state is CircuitState.CLOSED

    @property
    def may_call(self) -> bool:
        """Whether a call asked for now would be permitted."""
        return self._circuit.may_call(self._now())

    def permit(self) -> int | None:
        """Return a permit for one call, to be handed to ``ended`` after it; None: do not call."""
        with self._lock:
            if not self._circuit.may_call(self._now()):
                return None
            before = self._circuit
            self._circuit = before.called()
            if self._circuit is not before:
                self._show(self._circuit)
            return self._circuit.era

    def ended(self, permit: int, message_id: str, result: object) -> None:
        """Take the result of a permitted call: what it returned, or the exception it ended in."""
        has_failed = isinstance(result, GatewayUnavailable | OutcomeUnknown)
        with self._lock:
            before = self._circuit
            probe_at_s = self._now() + self._wait_s(before, message_id, result)
            after = self._circuit = before.ended(
                permit, message_id, has_failed, limit=self._limit, probe_at_s=probe_at_s
            )
            if after.state is not before.state:
                self._show(after)
            if after.state is CircuitState.OPEN and after is not before:
                self._pause.begin(self.dependency, self._cause, str(result), until_s=probe_at_s)
            elif after.state is CircuitState.CLOSED and before.state is not CircuitState.CLOSED:
                self._pause.end(self.dependency, self._cause)

    def _show(self, circuit: Circuit) -> None:
        metrics.breaker_entered(self._pause.queue, self.dependency, circuit.state.value)

    def _wait_s(self, circuit: Circuit, message_id: str, result: object) -> float:
        if message_id in circuit.failed:
            return self._backoff.delay_s(max(0, circuit.openings - 1), self._random)
        asked_s = retry_after_s(result) if isinstance(result, GatewayUnavailable) else None
        wait_s = self._backoff.delay_s(circuit.openings, self._random)
        return max(wait_s, min(asked_s or 0.0, self._backoff.cap_s))


class Breakers:
    """The breakers of one process, by dependency."""

    def __init__(self, dependencies: Iterable[str], pause: Pause, *, failures: int, cap_s: float) -> None:
        self._breakers = {
            name: Breaker(name, pause, failures=failures, cap_s=cap_s) for name in set(dependencies)
        }

    def of(self, dependency: str) -> Breaker:
        return self._breakers[dependency]

    @property
    def are_closed(self) -> bool:
        return all(each.is_closed for each in self._breakers.values())

    def room(self, wanted: int, in_flight: int) -> int:
        """Return how many more calls may be prepared: ``wanted``, one as a probe, or none.

        Messages that wait are not sorted by dependency, so one that fails stops the whole queue.
        """
        not_closed = [each for each in self._breakers.values() if not each.is_closed]
        if not not_closed:
            return wanted
        return int(in_flight == 0 and all(each.may_call for each in not_closed))
