"""What the framework's roles need in the database: each process and each kind of command, and nothing more.

``ordermq.store.grants`` says how a line is written.
"""

from collections.abc import Mapping, Sequence

Lines = Sequence[str]

DEPLOYER, CONSUMER, MONITOR = "deployer", "consumer", "monitor"
EVENTS = "events"
OPERATOR_READ, OPERATOR_WRITE = "operator-read", "operator-write"

#: A role may do what these roles may, too.
INCLUDES: Mapping[str, Lines] = {OPERATOR_READ: (MONITOR,), OPERATOR_WRITE: (OPERATOR_READ,)}

_LETTER = (
    "dead_letter_id, queue, message_id, replay_no, type, version, correlation_id, traceparent, occurred_at,"
    " attempt, hop, first_failed_at, reason, died_at, replayed_at, replayed_by, replay_reason, discarded_at,"
    " discarded_by, discard_reason, fingerprint"
)
_WAITING = (
    "outbox_id, routing_key, message_id, type, version, correlation_id, traceparent, occurred_at, attempt,"
    " hop, replay_no, first_failed_at, last_error, available_at, refusals, refused_reason"
)
_RUNS = "SELECT, INSERT, UPDATE (total, last_at) ON ordermq.runs"
_MOVES_FEEDS = (
    "SELECT, INSERT (feed), UPDATE (next_position, last_event, refused, holder, held_until, moved_at)"
    " ON ordermq.feeds"
)
_COUNTS_POSITIONS = "SELECT (first_position, records, source, oldest) ON ordermq.positions"
_REFUSES_EVENTS = "SELECT, INSERT, UPDATE ON ordermq.refused_events"
_PROCESSES = "SELECT, INSERT, UPDATE, DELETE ON ordermq.processes"

# Bodies of messages, and those of dead letters, are read by those alone who send them again.
FRAMEWORK: Mapping[str, Lines] = {
    "relay": (
        "SELECT, UPDATE (refusals, refused_reason, available_at), DELETE ON ordermq.outbox",
        _PROCESSES,
        # What follows is for its metrics.
        "SELECT (dead_letter_id, queue, type, fingerprint, reason, correlation_id, died_at, replayed_at,"
        " discarded_at) ON ordermq.dead_letters",
        "SELECT ON ordermq.death_causes",
        "SELECT (queue, lease_until) ON ordermq.leases",
        "SELECT ON ordermq.runs",
        "SELECT (correlation_id, released_at) ON ordermq.holds",
        "SELECT (entry, newest) ON ordermq.unnumbered",
        "SELECT ON ordermq.feeds",
        _COUNTS_POSITIONS,
        "MEMBER OF pg_read_all_stats",
    ),
    CONSUMER: (
        "SELECT, INSERT, UPDATE (hop, outcome, settled_at) ON ordermq.inbox",
        "INSERT ON ordermq.outbox",
        "SELECT (dead_letter_id, queue, message_id, replay_no, body, replayed_at, discarded_at), INSERT"
        " ON ordermq.dead_letters",
        "SELECT ON ordermq.pauses",
        "SELECT ON ordermq.holds",
        "SELECT ON ordermq.limits",
        "SELECT, INSERT ON ordermq.metered",
        "SELECT ON ordermq.taps",
        "INSERT ON ordermq.tail",
        "SELECT, INSERT, UPDATE ON ordermq.buckets",
        "SELECT, INSERT, UPDATE, DELETE ON ordermq.slots",
        "SELECT, INSERT, UPDATE, DELETE ON ordermq.starts",
        "SELECT, INSERT, UPDATE, DELETE ON ordermq.leases",
        _RUNS,
        _PROCESSES,
    ),
    "prune": (
        "SELECT, UPDATE (settled_at), DELETE ON ordermq.inbox",
        "SELECT, UPDATE (lease_until), DELETE ON ordermq.leases",
        "SELECT, UPDATE (started_at), DELETE ON ordermq.starts",
        "SELECT, UPDATE (slot_at), DELETE ON ordermq.slots",
        "SELECT, UPDATE (filled_at), DELETE ON ordermq.buckets",
        "SELECT (ctid, queue, message_id, replayed_at, discarded_at), UPDATE (queue), DELETE"
        " ON ordermq.dead_letters",
        "SELECT (routing_key, message_id) ON ordermq.outbox",
        "INSERT ON ordermq.actions",
        _RUNS,
    ),
    # What goes outward is read by the relay, too, where it publishes events.
    EVENTS: (
        "SELECT ON ordermq.positions",
        "SELECT ON ordermq.feeds",
        "SELECT ON ordermq.refused_events",
    ),
    "audit": (
        "SELECT ON ordermq.positions",
        "SELECT ON ordermq.unnumbered",
        "SELECT ON ordermq.actions",
        "SELECT, INSERT ON ordermq.checkpoints",
    ),
    "forward": (
        "SELECT ON ordermq.positions",
        _MOVES_FEEDS,
        _REFUSES_EVENTS,
    ),
    "reconcile": (
        f"SELECT ({_WAITING}) ON ordermq.outbox",
        "SELECT ON ordermq.inbox",
        "SELECT ON ordermq.leases",
        "SELECT ON ordermq.starts",
        "SELECT ON ordermq.actions",
        f"SELECT ({_LETTER}) ON ordermq.dead_letters",
        _RUNS,
    ),
    MONITOR: (
        "SELECT ON ordermq.feeds",
        _COUNTS_POSITIONS,
        "SELECT ON ordermq.processes",
        "SELECT ON ordermq.pauses",
        "SELECT ON ordermq.limits",
        "SELECT ON ordermq.metered",
        "SELECT ON ordermq.buckets",
        "SELECT ON ordermq.slots",
        "SELECT ON ordermq.holds",
        "SELECT ON ordermq.runs",
        "SELECT ON ordermq.leases",
        "SELECT ON ordermq.death_causes",
        f"SELECT ({_WAITING}) ON ordermq.outbox",
        f"SELECT ({_LETTER}) ON ordermq.dead_letters",
        "MEMBER OF pg_read_all_stats",
    ),
    OPERATOR_READ: (
        "SELECT ON ordermq.inbox",
        "SELECT ON ordermq.starts",
        "SELECT ON ordermq.actions",
        "SELECT ON ordermq.positions",
        "SELECT ON ordermq.dead_letter_sizes",  # 'dead list' says how long each body is
        # Consumers write down what they settle only while somebody looks.
        "SELECT, INSERT, UPDATE (open_until), DELETE ON ordermq.taps",
        "SELECT, DELETE ON ordermq.tail",
    ),
    OPERATOR_WRITE: (
        # A feed that nobody wants any more is deleted with what it refused.
        "UPDATE (next_position, last_event), DELETE ON ordermq.feeds",
        "SELECT, DELETE ON ordermq.refused_events",
        "SELECT (body), UPDATE (replayed_at, replayed_by, replay_reason, discarded_at, discarded_by,"
        " discard_reason) ON ordermq.dead_letters",
        "INSERT, UPDATE (available_at) ON ordermq.outbox",
        "UPDATE (hop, outcome, settled_at) ON ordermq.inbox",
        "INSERT, UPDATE (resumed_at, resumed_by, resume_reason) ON ordermq.pauses",
        "INSERT, UPDATE (released_at, released_by, release_reason) ON ordermq.holds",
        "INSERT, UPDATE, DELETE ON ordermq.limits",
        "DELETE ON ordermq.buckets",
        "INSERT ON ordermq.metered",
        "INSERT ON ordermq.actions",
        _RUNS,
    ),
}  # fmt: skip

#: What a relay needs beside EVENTS where it publishes events.
PUBLISHES_EVENTS: Lines = (_MOVES_FEEDS, _REFUSES_EVENTS)
