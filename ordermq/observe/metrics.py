"""Every metric of the framework, defined once. Names and labels are public; docs/metrics.md lists them.

Labels come from bounded sets only: queue names from the settings, message types that have a
handler, outcomes, states and roles, and at most MOST_FINGERPRINTS causes of failures. A routing key,
an id or a type that was received is never a label: each new value would be a new time series, for ever.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from prometheus_client import (
    CollectorRegistry,
    Counter,
    Gauge,
    Histogram,
    PlatformCollector,
    ProcessCollector,
)

from ordermq.observe.bulk_histogram import BulkHistogram

#: Served at /metrics; not prometheus-client's global registry, which a user's process may serve elsewhere.
REGISTRY = CollectorRegistry()
ProcessCollector(registry=REGISTRY)
PlatformCollector(registry=REGISTRY)

CONNECTION_STATES = ("new", "connecting", "waiting", "open", "blocked", "closed")
BREAKER_STATES = ("closed", "open", "half-open")
OUTCOMES = ("done", "duplicate", "retry", "postponed", "dead")
MOST_FINGERPRINTS = 50
"""Causes that one process, or the table of dead letters, has as labels; the others count as ``other``."""

_FAST_S = (0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0)
_SLOW_S = (*_FAST_S, 20.0, 30.0, 60.0)
_CRITICAL_S = (0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0, 300.0, 900.0, 3600.0)


@dataclass(frozen=True)
class MetricDoc:
    """What docs/metrics.md says of a metric. ``worry`` is when a person should look."""

    name: str
    kind: str
    labels: tuple[str, ...]
    doc: str
    worry: str


CATALOGUE: list[MetricDoc] = []
"""Every metric that was defined, in order; those of modules that are imported too."""


def counter(name: str, doc: str, *labels: str, worry: str = "") -> Counter:
    """Define a counter ``ordermq_NAME``; projects define theirs with it too."""
    _note(name, "counter", labels, doc, worry)
    return Counter(f"ordermq_{name}", doc, labels, registry=REGISTRY)


def gauge(name: str, doc: str, *labels: str, worry: str = "") -> Gauge:
    """Define a gauge ``ordermq_NAME``; projects define theirs with it too."""
    _note(name, "gauge", labels, doc, worry)
    return Gauge(f"ordermq_{name}", doc, labels, registry=REGISTRY)


def bulk_seconds(
    name: str, doc: str, label: str, buckets: Sequence[float] = _CRITICAL_S, *, worry: str = ""
) -> BulkHistogram:
    """Define a histogram ``ordermq_NAME_seconds`` of which many values are observed at once."""
    _note(f"{name}_seconds", "histogram", (label,), doc, worry)
    return BulkHistogram(f"ordermq_{name}_seconds", doc, label, buckets, REGISTRY)


def _seconds(name: str, doc: str, buckets: tuple[float, ...], *labels: str, worry: str = "") -> Histogram:
    _note(f"{name}_seconds", "histogram", labels, doc, worry)
    return Histogram(f"ordermq_{name}_seconds", doc, labels, buckets=buckets, registry=REGISTRY)


def _note(name: str, kind: str, labels: Sequence[str], doc: str, worry: str) -> None:
    CATALOGUE.append(MetricDoc(f"ordermq_{name}", kind, tuple(labels), doc, worry))


# Publishing. published = confirmed + returned + nacked + unknown + those in flight.
published = counter("published_total", "Publishings handed to the broker")
confirmed = counter(
    "confirmed_total",
    "Publishings the broker took responsibility for",
    worry="well below published for minutes",
)
returned = counter(
    "returned_total", "Mandatory publishings that matched no queue", worry="any: a binding is missing"
)
nacked = counter("nacked_total", "Publishings the broker refused", worry="any: a queue is full")
unknown = counter(
    "unknown_total",
    "Publishings whose confirm did not come in time",
    worry="more than a few at a restart",
)
confirm_seconds = _seconds(
    "confirm",
    "Publishing to confirm",
    _FAST_S,
    worry="p99 above 1 s: the broker's disks, or no quorum",
)

# Consuming. delivered = settled + inflight + those that a lost channel gave back to the queue.
delivered = counter("delivered_total", "Deliveries received", "queue")
redelivered = counter(
    "redelivered_total",
    "Deliveries the broker marked as redelivered",
    "queue",
    worry="rises all the time: processes die, or connections break",
)
settled = counter(
    "settled_total",
    "Deliveries committed and acked: done, duplicate, retry, postponed or dead",
    "queue",
    "outcome",
    worry="`dead`: any. `retry` above a hundredth of `done`",
)
failures = counter(
    "failures_total",
    "Retries and deaths by their cause, whose fingerprint `ordermq dead group` shows too; of a process the"
    f" first {MOST_FINGERPRINTS} causes, the others as `other`",
    "queue",
    "outcome",
    "fingerprint",
    worry="one that is new",
)
signatures = counter(
    "signatures_total",
    "Messages whose signature was not right: unsigned, malformed, unknown_key, expired_key or wrong; all but"
    ' those of `message.unsigned = "accept"` became dead letters',
    "queue",
    "fault",
    worry="any: somebody else publishes, or a key came too late or went too early",
)
inflight = gauge(
    "inflight",
    "Deliveries held and not yet settled",
    "queue",
    worry="at the prefetch for minutes while `settled` stands still",
)
critical_seconds = bulk_seconds(
    "critical_time",
    "From when a message was due, which is when it was written unless it was meant to wait, to when it was"
    " handled; both by the database's clock; without messages that the broker refused at first",
    "queue",
    worry="p99 above what customers bear",
)
delivery_age = gauge(
    "delivery_age_seconds",
    "How long the message taken last had been due: about the age of the oldest in the queue",
    "queue",
    worry="grows for minutes: the queue is not kept up with",
)
handler_seconds = _seconds(
    "handler",
    "One call of a handler, of a batch or of one message",
    _SLOW_S,
    "queue",
    "type",
    worry="p99 near `call_timeout_s` (payment, notify, email) or `statement_timeout_s`",
)
workers = gauge("workers", "Threads that run handlers or make calls", "queue")
workers_busy = gauge(
    "workers_busy",
    "Of these, those in a handler or a call now",
    "queue",
    worry="all of them for minutes: more threads, or another process",
)
commit_seconds = _seconds(
    "commit", "COMMIT of one transaction", _FAST_S, worry="p99 above 0.1 s: PostgreSQL's disk"
)
paused = gauge(
    "paused",
    "1 while the consumer starts nothing, because of `database`, `disk full`, a service such as `payment"
    " gateway`, or an `operator`",
    "queue",
    "reason",
    worry="1 for a minute",
)
breaker_state = gauge(
    "breaker_state",
    "1 for the present state of the breaker of a service, 0 for the others",
    "queue",
    "dependency",
    "state",
    worry="`closed` 0 for minutes",
)
metered = gauge("metered", "1 while calls to a service wait for its limit", "dependency", worry="1 for hours")
clock_offset = gauge(
    "clock_offset_seconds",
    "The database's clock minus this machine's, as far as it can be told",
    worry="above a second: set the clocks by NTP",
)

# The connection to the broker.
connection_state = gauge(
    "connection_state",
    "1 for the present state, 0 for the others: new, connecting, waiting, open, blocked, closed",
    "role",
    "state",
    worry="`open` 0 for a minute",
)
connection_state_since = gauge(
    "connection_state_since_seconds", "Unix time the present state was entered", "role"
)
reconnects = counter(
    "reconnects_total", "Connections opened again after one was lost", "role", worry="several an hour"
)

# What should exist on the broker, where the settings name a management API.
topology_differences = gauge(
    "topology_differences",
    "Differences between the broker and what this process needs on it, compared once a minute if"
    " `topology.management_url` is set; NaN while they are not known",
    worry="above 0",
)

# Log lines, of a process whose stderr takes none for a while.
log_lines_dropped = counter(
    "log_lines_dropped_total",
    "Log lines that stderr did not take: what reads them stood still, or its disk was full",
    worry="any",
)

# What the active relay sees. A standby shows 0 or nothing, so take the max over processes.
relay_active = gauge(
    "relay_active",
    "1 for the relay that publishes, 0 for one that stands by or cannot publish",
    worry="the sum is not 1 for a minute",
)
outbox_pending = gauge("outbox_pending", "Outbox rows due and not yet sent", worry="grows for minutes")
outbox_oldest_seconds = gauge("outbox_oldest_seconds", "Age of the oldest due outbox row", worry="above 30 s")
outbox_refused = gauge(
    "outbox_refused",
    "Outbox rows the broker returned or nacked, waiting to be tried again",
    worry="above 0 for minutes",
)
queue_ready = gauge("queue_ready", "Messages that wait in a queue", "queue", worry="grows for minutes")
queue_consumers = gauge(
    "queue_consumers", "Consumers that the broker has of a queue", "queue", worry="0 while messages wait"
)
queue_waiting_seconds = gauge(
    "queue_waiting_seconds",
    "For how long messages have waited in a queue of your handlers, or of dead letters, of which no process"
    " has taken one",
    "queue",
    worry="above a minute",
)
queue_replicas_missing = gauge(
    "queue_replicas_missing",
    "Replicas of a quorum queue that are not online, if `topology.management_url` is set",
    "queue",
    worry="above 0",
)
queue_without_majority = gauge(
    "queue_without_majority",
    "1 for a quorum queue of which half of the replicas or more are not online",
    "queue",
    worry="1: it takes and gives nothing",
)
broker_alarms = gauge(
    "broker_alarms",
    "Resource alarms and cut-off nodes of the broker, if `topology.management_url` is set",
    worry="above 0",
)
broker_deprecated = gauge(
    "broker_deprecated_features",
    "Features in use that a later release of the broker will not have",
    worry="above 0 before an upgrade",
)
certificate_expires = gauge(
    "certificate_expires_timestamp_seconds",
    "Unix time at which the certificate of a server runs out",
    "server",
    worry="within two weeks",
)
tls_file_expires = gauge(
    "tls_file_expires_timestamp_seconds",
    "Unix time at which the file of a setting runs out: client certificate, revocation lists, authorities",
    "file",
    worry="in the last quarter of its life, or within two weeks",
)
tls_file_issued = gauge(
    "tls_file_issued_timestamp_seconds",
    "Unix time from which on what runs out first in that file is valid",
    "file",
)
numbering_waits = gauge(
    "numbering_waits_seconds",
    "Age of the record that waits longest for its position in the history",
    worry="above a minute: nothing new is in the audit log and in the stream of events",
)
events_published = counter("events_published_total", "Events that the stream has confirmed")
feed_behind = gauge(
    "feed_behind",
    "Positions of the history that a feed has not sent: `events` is the stream, `kafka:TOPIC` a topic",
    "feed",
    worry="grows for minutes",
)
feed_behind_seconds = gauge(
    "feed_behind_seconds",
    "Age of the first event that a feed has not sent",
    "feed",
    worry="above a minute while `ordermq_feed_behind` does not fall: other systems see nothing new",
)
dead_letters_open = gauge("dead_letters_open", "Dead letters neither replayed nor discarded", worry="above 0")
dead_letters_by_cause = gauge(
    "dead_letters_by_cause",
    "Of these, those of the most frequent causes; `ordermq dead group` shows them",
    "queue",
    "fingerprint",
    worry="a fingerprint that is new",
)
leases = gauge("leases", "Messages of which a process may make the call now", "queue")
leases_expired = gauge(
    "leases_expired",
    "Of these, those whose time is over: their process died",
    "queue",
    worry="above 0 for minutes",
)
processes_lost = gauge(
    "processes_lost", "Processes that said nothing for 20 s and did not stop", worry="above 0"
)
handlers_overdue = gauge(
    "handlers_overdue",
    "Processes that ended because a handler ran past `consumer.handler_deadline_s`, ever",
    "queue",
    worry="any increase",
)
last_run = gauge(
    "last_run_timestamp_seconds",
    "Unix time at which `prune` (`ordermq db prune`) or `reconcile` ended last; `reconcile_ok` when it"
    " ended well",
    "task",
    worry="two days ago",
)
transaction_oldest_seconds = gauge(
    "database_transaction_oldest_seconds",
    "Age of the oldest transaction of the server",
    worry="above 15 min: nothing is vacuumed meanwhile",
)
notification_queue = gauge(
    "database_notification_queue_ratio",
    "How full PostgreSQL's queue of notifications is, 0 to 1",
    worry="above 0.1: a session that listens hangs in a transaction",
)
table_dead_rows = gauge(
    "table_dead_rows",
    "Rows that wait for a vacuum, as PostgreSQL estimates",
    "table",
    worry="a hundred thousand and more for an hour",
)


# What 'ordermq events forward' does. A standby shows 0.
forward_active = gauge(
    "forward_active",
    "1 for the process that forwards events to Kafka, 0 for one that stands by or cannot. Never 1 in two",
    worry="the sum is not 1 for a minute, where events are to be forwarded",
)
forwarded = counter("forwarded_total", "Events that Kafka acknowledged and the progress moved past")
forward_refused = counter(
    "forward_refused_total",
    "Events that could not be forwarded and are in `ordermq.refused_events`; those behind them did not wait",
    worry="any",
)

FRAMEWORK = len(CATALOGUE)
"""How many of the catalogue are defined here; those of modules follow."""


def begin_counting(queue: str) -> None:
    """Show 0 for the deliveries of ``queue``: of a counter that begins above 0, rate() misses the first."""
    for outcome in OUTCOMES:
        settled.labels(queue=queue, outcome=outcome)
    delivered.labels(queue=queue)
    redelivered.labels(queue=queue)


def connection_entered(role: str, state: str, at: datetime) -> None:
    """Show that the connection of ``role`` entered ``state``, one of CONNECTION_STATES, at ``at``."""
    if state not in CONNECTION_STATES:
        raise AssertionError(f"a connection has no state {state}")
    for each in CONNECTION_STATES:
        connection_state.labels(role, each).set(each == state)
    connection_state_since.labels(role).set(at.timestamp())


def breaker_entered(queue: str, dependency: str, state: str) -> None:
    """Show that the breaker of ``dependency`` entered ``state``, one of BREAKER_STATES."""
    for each in BREAKER_STATES:
        breaker_state.labels(queue, dependency, each).set(each == state)
