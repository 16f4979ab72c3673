"""Every metric of the framework, defined once. Names and labels are public.

Labels come from bounded sets only: queue names from the settings, message types that have a
handler, outcomes, states and roles. A routing key, an id or a type that was received is never
a label: each new value would be a new time series, for ever.
"""

from datetime import datetime

from prometheus_client import (
    CollectorRegistry,
    Counter,
    Gauge,
    Histogram,
    PlatformCollector,
    ProcessCollector,
)

#: Served at /metrics; not prometheus-client's global registry, which a user's process may serve elsewhere.
REGISTRY = CollectorRegistry()
ProcessCollector(registry=REGISTRY)
PlatformCollector(registry=REGISTRY)

CONNECTION_STATES = ("new", "connecting", "waiting", "open", "blocked", "closed")

_FAST_S = (0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0)
_SLOW_S = (*_FAST_S, 20.0, 30.0, 60.0)


def counter(name: str, doc: str, *labels: str) -> Counter:
    """Define a counter ``ordermq_NAME``; projects define theirs with it too."""
    return Counter(f"ordermq_{name}", doc, labels, registry=REGISTRY)


def gauge(name: str, doc: str, *labels: str) -> Gauge:
    """Define a gauge ``ordermq_NAME``; projects define theirs with it too."""
    return Gauge(f"ordermq_{name}", doc, labels, registry=REGISTRY)


def _seconds(name: str, doc: str, buckets: tuple[float, ...], *labels: str) -> Histogram:
    return Histogram(f"ordermq_{name}_seconds", doc, labels, buckets=buckets, registry=REGISTRY)


# Publishing. published = confirmed + returned + nacked + unknown + those in flight.
published = counter("published_total", "Publishings handed to the broker")
confirmed = counter("confirmed_total", "Publishings the broker took responsibility for")
returned = counter("returned_total", "Mandatory publishings that matched no queue")
nacked = counter("nacked_total", "Publishings the broker refused")
unknown = counter("unknown_total", "Publishings whose confirm did not come in time")
confirm_seconds = _seconds("confirm", "Publishing to confirm", _FAST_S)

# Consuming. delivered = settled + inflight + those that a lost channel gave back to the queue.
delivered = counter("delivered_total", "Deliveries received", "queue")
redelivered = counter("redelivered_total", "Deliveries the broker marked as redelivered", "queue")
settled = counter("settled_total", "Deliveries committed and acked", "queue", "outcome")
inflight = gauge("inflight", "Deliveries held and not yet settled", "queue")
handler_seconds = _seconds(
    "handler", "One call of a handler, of a batch or of one message", _SLOW_S, "queue", "type"
)
commit_seconds = _seconds("commit", "COMMIT of one transaction", _FAST_S)
paused = gauge("paused", "1 while the consumer starts nothing, by reason", "queue", "reason")
metered = gauge("metered", "1 while calls to a service wait for its limit", "dependency")

# The connection to the broker.
connection_state = gauge("connection_state", "1 for the present state, 0 for the others", "role", "state")
connection_state_since = gauge(
    "connection_state_since_seconds", "Unix time the present state was entered", "role"
)
reconnects = counter("reconnects_total", "Connections opened again after one was lost", "role")

# What should exist on the broker, where the settings name a management API.
topology_differences = gauge(
    "topology_differences",
    "Differences between the broker and what this process needs on it; NaN while they are not known",
)

# Log lines, of a process whose stderr takes none for a while.
log_lines_dropped = counter("log_lines_dropped_total", "Log lines that stderr did not take")

# The outbox, as the active relay sees it.
relay_active = gauge("relay_active", "1 while this relay publishes the rows of the outbox; 0 on a standby")
outbox_pending = gauge("outbox_pending", "Outbox rows due and not yet sent")
outbox_refused = gauge(
    "outbox_refused", "Outbox rows the broker returned or nacked, waiting to be tried again"
)
dead_letters_open = gauge("dead_letters_open", "Dead letters neither replayed nor discarded")
outbox_oldest_seconds = gauge("outbox_oldest_seconds", "Age of the oldest due outbox row")


def connection_entered(role: str, state: str, at: datetime) -> None:
    """Show that the connection of ``role`` entered ``state``, one of CONNECTION_STATES, at ``at``."""
    if state not in CONNECTION_STATES:
        raise AssertionError(f"a connection has no state {state}")
    for each in CONNECTION_STATES:
        connection_state.labels(role, each).set(each == state)
    connection_state_since.labels(role).set(at.timestamp())
