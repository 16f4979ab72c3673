"""What the broker's side tells, as metrics: states of a connection and fates of publishings."""

from ordermq.amqp import Fate, State
from ordermq.clock import utc_now
from ordermq.observe import metrics
from ordermq.observe.health import Health

_COUNTERS = {
    Fate.CONFIRMED: metrics.confirmed,
    Fate.RETURNED: metrics.returned,
    Fate.NACKED: metrics.nacked,
    Fate.UNKNOWN: metrics.unknown,
}


class ConnectionMeter:
    """Shows the states of one connection and counts its reconnects; an observer for its manager.

    With ``health`` the process is ready only while the connection is open.
    """

    def __init__(self, role: str, health: Health | None = None) -> None:
        self._role = role
        self._health = health
        self._previous = State.NEW
        self._opened = 0

    def __call__(self, state: State) -> None:
        metrics.connection_entered(self._role, state.value, utc_now())
        if state is State.OPEN and self._previous is not State.BLOCKED:
            self._opened += 1
            if self._opened > 1:
                metrics.reconnects.labels(self._role).inc()
        self._previous = state
        if self._health is not None:
            self._health.set_ready(state is State.OPEN, f"connection {state.value}", name="broker")


class PublishMeter:
    """Counts publishings and their fates; an observer for ``Publisher``."""

    def published(self, count: int) -> None:
        metrics.published.inc(count)

    def resolved(self, fate: Fate, count: int, latency_s: float) -> None:
        if fate in _COUNTERS:
            _COUNTERS[fate].inc(count)
        if fate is Fate.CONFIRMED:
            metrics.confirm_seconds.observe(latency_s)
