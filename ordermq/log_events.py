"""What log lines tell of: the stable names that ECS calls ``event.action``, one for each line of ordermq.

A log call gives its event as ``extra=``: ``log.warning("...", extra=RELAY_STALLED)``. Searches and
alerts ask for the name; the words of the message may change. docs/log-events.md lists them all.
"""

from typing import Any

ACTION = "event.action"
DURATION_S = "duration_s"  # the extra that JSON writes as event.duration, in nanoseconds


class LogEvent(dict[str, Any]):
    """The extras of a log call: its ``event.action``, to which ``having`` adds others.

    ``level`` and ``begins`` (of the message) are for the page of documentation; ``means`` says to
    an operator what happened and what to do.
    """

    def __init__(self, action: str, level: str, begins: str, means: str) -> None:
        super().__init__({ACTION: action})
        self.action = action
        self.level = level
        self.begins = begins
        self.means = means
        if action in REGISTRY:
            raise ValueError(f"the log event {action!r} exists twice")
        REGISTRY[action] = self

    def having(self, **fields: object) -> dict[str, Any]:
        """Return the extras with ``fields``: labels in JSON, except ``duration_s``."""
        return {**self, **fields}


REGISTRY: dict[str, LogEvent] = {}

# --- messages ---

MESSAGE_HANDLED = LogEvent(
    "message-handled", "INFO", "handled",
    "a message was handled. Ten such lines at once, then `observe.handled_lines_per_s` a second and "
    "process; `labels.unsaid` counts the messages handled since the line before that have none. `ordermq "
    "tail` shows all",
)  # fmt: skip
MESSAGE_RETRIED = LogEvent(
    "message-retried", "WARNING", "attempt N failed, again in",
    "one message is tried again; the reason follows, with the traceback of the handler's exception",
)  # fmt: skip
MESSAGE_POSTPONED = LogEvent(
    "message-postponed", "INFO", "postponed for",
    "a message waits, and no attempt is counted. As many lines a second as of `message-handled`",
)  # fmt: skip
MESSAGE_DEAD = LogEvent(
    "message-dead", "ERROR", "dead letter:",
    "a message was given up; `ordermq dead list`. CRITICAL where the handler has no `on_dead`, because "
    "then nothing else asks for a person",
)  # fmt: skip
MESSAGE_DEATH_UNFOLLOWED = LogEvent(
    "message-death-unfollowed", "CRITICAL", "what follows from the dead letter failed:",
    "a fault in an `on_dead` or an `on_unreadable`; the letter is kept, its order may need a person",
)  # fmt: skip
CALL_OUTCOME_UNKNOWN = LogEvent(
    "call-outcome-unknown", "WARNING", "call raised",
    "the call of an external handler ended in an error that `retry` does not name: its outcome is unknown",
)  # fmt: skip

# --- consumers ---

CONSUMER_SUBSCRIBED = LogEvent("consumer-subscribed", "INFO", "subscribed with prefetch", "messages come now")
CONSUMER_STATE = LogEvent(
    "consumer-state-changed", "INFO", "starting -> running",
    "the state that the consumer enters",
)  # fmt: skip
CONSUMER_RETURNED = LogEvent(
    "consumer-returned-messages", "INFO", "returned N unstarted deliveries",
    "other consumers get them",
)  # fmt: skip
CONSUMER_LOST_DRAINING = LogEvent(
    "consumer-lost-while-draining", "WARNING", "connection lost while draining",
    "the process stops all the same; messages in hand come again",
)  # fmt: skip
CONSUMER_STOPPED_PAUSED = LogEvent(
    "consumer-stopped-while-paused", "WARNING", "stopped while paused",
    "the process stops all the same; messages in hand come again",
)  # fmt: skip
CONSUMER_PAUSED = LogEvent(
    "consumer-paused", "ERROR", "paused until",
    "nothing is started and no attempt is counted. `until the database answers`, `until the database has "
    "room on its disk`, `until the payment gateway answers` or another service's: that failed five times "
    "in a row, and one call at a time finds out whether it is back. WARNING: `until 'ordermq resume ...`,"
    " a person paused the queue; the line says who and why",
)  # fmt: skip
CONSUMER_RESUMED = LogEvent(
    "consumer-resumed", "WARNING", "resumed:",
    "the database or the service that the pause named answers again, or a person has resumed the queue",
)  # fmt: skip
CONSUMER_PAUSED_LONG = LogEvent(
    "consumer-paused-long", "WARNING", "paused for long:",
    "the consumer has given its messages back before the broker's `consumer_timeout`",
)  # fmt: skip
CONSUMER_PAUSE_UNKNOWN = LogEvent(
    "consumer-pause-unknown", "WARNING", "cannot read whether the queue is paused",
    "the database is away, or the grants are not those of docs/security.md; what was read last stays in"
    " force",
)  # fmt: skip
CONSUMER_STARTS_UNWRITTEN = LogEvent(
    "consumer-starts-unwritten", "WARNING", "could not write down what was left running",
    "the process ends with a handler running, and the database is away; the message is tried again all "
    "the same",
)  # fmt: skip
SUBSCRIPTION_LOST = LogEvent(
    "subscription-lost", "WARNING", "subscription lost:",
    "the consumer subscribes again by itself; its unacked messages come again",
)  # fmt: skip
DELIVERIES_TAKEN_BACK = LogEvent(
    "deliveries-taken-back", "ERROR", "the broker took the deliveries back",
    "one was held longer than the broker's `consumer_timeout`: give `consumer.consumer_timeout_s` that "
    "value",
)  # fmt: skip
HANDLER_OVERDUE = LogEvent(
    "handler-overdue", "CRITICAL", "thread ... has been in a handler for",
    "past `consumer.handler_deadline_s`: the messages and the thread's stack follow, and the process ends"
    " with 75",
)  # fmt: skip

# --- the relay ---

RELAY_STALLED = LogEvent(
    "relay-stalled", "WARNING", "the relay stands still",
    "broker or database away, or the broker blocked by a resource alarm; rows stay where they are. Once "
    "for each kind of reason. ERROR: a person has to mend something, a permission, the exchange, a "
    "password; the relay tries again all the same",
)  # fmt: skip
RELAY_RESUMED = LogEvent(
    "relay-resumed", "WARNING", "the relay goes on after",
    "the relay works again; `event.duration` is how long it stood still",
)  # fmt: skip
RELAY_COMMIT_UNKNOWN = LogEvent(
    "relay-commit-unknown", "WARNING", "commit unknown",
    "the database broke off during COMMIT; some messages may be published once more",
)  # fmt: skip
MESSAGE_REFUSED = LogEvent(
    "message-refused", "ERROR", "message ... was returned`, `was nacked",
    "no queue, or a full one. One line at once, then at most one a minute for each queue, with the number"
    " of refusals. The queue is tried with a backoff of its own, its other rows wait for that and cost "
    "nothing, and other queues are not held up, also not while a large backlog is put off (about 10 us a "
    "row) or goes out again. A refused message holds back only later messages of its correlation id",
)  # fmt: skip
QUEUE_TAKES_AGAIN = LogEvent(
    "queue-takes-again", "WARNING", "no message to ... waits any more",
    "the queue took all that it had refused",
)  # fmt: skip
QUEUES_UNSEEN = LogEvent(
    "queues-unseen", "WARNING", "metrics of the queues cannot be read:",
    "the broker does not tell the active relay how many messages wait, so the metrics of the queues are "
    "missing; said once until it does. Nothing else depends on it",
)  # fmt: skip
RUN_UNNOTED = LogEvent(
    "run-unnoted", "WARNING", "cannot write down that",
    "`ordermq db prune` or `reconcile` ran, but its role may not write to `ordermq.runs`: are its grants "
    "those of docs/security.md? The metric of when it ran last stays old",
)  # fmt: skip
METERING_FAILED = LogEvent(
    "metering-failed", "WARNING", "metrics of the tables cannot be read:",
    "the relay goes on without its gauges: are its grants those of docs/security.md?",
)  # fmt: skip
NUMBERING_FAILED = LogEvent(
    "numbering-failed", "WARNING", "records get no positions:",
    "the relay goes on without numbering events and actions; they wait and are numbered once it can",
)  # fmt: skip
EVENTS_STALLED = LogEvent(
    "events-stalled", "WARNING", "events are not published",
    "the relay tries again until it can, and sends commands meanwhile; the line says why. The exchange or "
    "its binding is missing (`ordermq topology apply`), a queue that is bound to it is full, or the broker "
    "is away",
)  # fmt: skip
EVENTS_RESUMED = LogEvent(
    "events-resumed", "WARNING", "events are published again",
    "what waited is published in its order; `event.duration` is how long it waited",
)  # fmt: skip
EVENT_FOREIGN = LogEvent(
    "event-foreign", "WARNING", "the message at offset N",
    "somebody else has published to the exchange of events; a reader skips it. One line for each reader",
)  # fmt: skip
EVENTS_WITHOUT_ROW = LogEvent(
    "events-without-row", "WARNING", "N records have no row any more",
    "they are in an archive, or gone, and each is in `ordermq.refused_events`; `ordermq audit verify --full` "
    "says which are gone",
)  # fmt: skip
REPORT_FAILED = LogEvent(
    "process-report-failed", "WARNING", "the relay cannot say what it does",
    "`ordermq status` does not show it; the relay works. DEBUG at its end",
)  # fmt: skip
TOPOLOGY_UNCHECKED = LogEvent(
    "topology-unchecked", "WARNING", "the topology is not checked:",
    "the management API does not answer, or the user lacks the tag `management`; nothing else depends on "
    "it",
)  # fmt: skip
TOPOLOGY_DIFFERS = LogEvent(
    "topology-differs", "ERROR", "the topology is not as it should be:",
    "once a minute the relay compares the broker with what should exist, and a consumer what its queue "
    "needs, if `topology.management_url` is set: somebody made a policy that expires, drops or reroutes "
    "messages, or deleted a binding. It is logged once; `ordermq topology verify` lists all",
)  # fmt: skip
TOPOLOGY_MENDED = LogEvent(
    "topology-mended", "WARNING", "the topology is as it should be again",
    "a difference that was logged is gone",
)  # fmt: skip

# --- events to Kafka ---

FORWARD_BEGINS = LogEvent(
    "forward-begins", "INFO", "this process forwards events to",
    "it was started, or another one ended and this one took over",
)  # fmt: skip
FORWARD_STALLED = LogEvent(
    "forward-stalled", "WARNING", "nothing is forwarded now",
    "Kafka or the database is away; the history waits. Once for each kind of reason. ERROR: a person has to "
    "mend something, a topic, a password, a permission; it is tried again all the same",
)  # fmt: skip
FORWARD_RESUMED = LogEvent(
    "forward-resumed", "WARNING", "events are forwarded again after",
    "`event.duration` is how long nothing was forwarded",
)  # fmt: skip
EVENT_NOT_FORWARDED = LogEvent(
    "event-not-forwarded", "ERROR", "event ... was not forwarded",
    "its row is gone, a module's function cannot read it, or Kafka refuses it for its size. It is in "
    "`ordermq.refused_events`; mend the cause, then docs/kafka.md says how to send it",
)  # fmt: skip

# --- connections ---

CONNECTION_OPENED = LogEvent("connection-opened", "INFO", "connection ...: open to", "the broker answers")
CONNECTION_FAILED = LogEvent(
    "connection-failed", "WARNING", "connection ...: cannot be reached",
    "the broker does not answer; it is tried again by itself. DEBUG if the reason is that of the line "
    "before",
)  # fmt: skip
CONNECTION_REFUSED = LogEvent(
    "connection-refused", "ERROR", "connection ...: ...; waiting until a person mends it",
    "credentials, permission or vhost refused after it had worked: a rotation under way, or a mistake",
)  # fmt: skip
CONNECTION_LOST = LogEvent(
    "connection-lost", "WARNING", "connection ...: lost:",
    "the broker closed it; it is opened again by itself",
)  # fmt: skip
OBSERVER_FAILED = LogEvent(
    "observer-failed", "ERROR", "the observer of its states failed`, `a publish observer failed",
    "a fault in a function that only watches; the work goes on. Please report it",
)  # fmt: skip
DATABASE_IDLE_CLOSED = LogEvent(
    "database-connection-closed", "INFO", "the connection to PostgreSQL was closed while it was idle",
    "the database was restarted, or an administrator ended the connection; another is opened at once",
)  # fmt: skip
DATABASE_NOT_NOTIFIED = LogEvent(
    "database-not-notified", "DEBUG", "could not notify",
    "the relay looks by itself soon",
)  # fmt: skip
DATABASE_CLOSE_FAILED = LogEvent(
    "database-close-failed", "DEBUG", "closing a broken connection:",
    "it was closed already",
)  # fmt: skip

# --- processes ---

HTTP_SERVING = LogEvent(
    "http-serving", "INFO", "serving /metrics, /healthz and /readyz",
    "`labels.http_address` says where",
)  # fmt: skip
HTTP_REQUEST_FAILED = LogEvent(
    "http-request-failed", "DEBUG", "a request to the health port failed",
    "its client went away",
)  # fmt: skip
HTTP_ANSWER_FAILED = LogEvent(
    "http-answer-failed", "ERROR", "cannot answer /",
    "a bug in what the page shows; please report it",
)  # fmt: skip
SYSTEMD_NOT_NOTIFIED = LogEvent(
    "systemd-not-notified", "WARNING", "systemd was not notified of",
    "the notify socket is gone; the process works",
)  # fmt: skip
STDERR_LINE = LogEvent(
    "stderr-line", "WARNING", "(anything, of the logger `ordermq.stderr`)",
    "not ordermq's own: what a C library, such as libpq, a handler's `print()` or a program that it "
    "started wrote to stderr",
)  # fmt: skip
LINES_DROPPED = LogEvent(
    "log-lines-dropped", "WARNING", "N log lines were dropped",
    "what reads stderr stood still, or its disk was full; the work went on without these lines",
)  # fmt: skip
LINE_UNWRITABLE = LogEvent(
    "log-line-unwritable", "ERROR", "a log record could not be written",
    "a log call with wrong arguments, in ordermq or in a handler; the work went on",
)  # fmt: skip
SETTINGS_RELOADED = LogEvent(
    "settings-reloaded", "WARNING", "SIGHUP: log level",
    "the settings were read again; the line says what is in force now and what needs a restart",
)  # fmt: skip
SETTINGS_UNREADABLE = LogEvent(
    "settings-unreadable", "ERROR", "SIGHUP: the settings cannot be read",
    "the process goes on with those it has; the line says what to mend",
)  # fmt: skip
SIGNING_KEYS_READ = LogEvent(
    "signing-keys-read", "WARNING", "signing keys were read again",
    "the file of `message.signing_keys_file` has changed; the line names the key ids that are in force now",
)  # fmt: skip
SIGNING_KEYS_UNREADABLE = LogEvent(
    "signing-keys-unreadable", "ERROR", "the signing keys cannot be read again",
    "the process goes on with the keys it has; the line says what to mend in the file",
)  # fmt: skip
STACK_SHOWN = LogEvent(
    "stack-shown", "ERROR", "stack of thread",
    "somebody sent SIGUSR1 or SIGUSR2: where each thread is",
)  # fmt: skip
IN_FLIGHT_SHOWN = LogEvent(
    "in-flight-shown", "ERROR", "messages in flight:",
    "somebody sent SIGUSR1 or SIGUSR2: the messages that handlers, calls or the broker's confirm have now",
)  # fmt: skip
PROCESS_STOPPING = LogEvent("process-stopping", "INFO", "SIGTERM: stopping", "running work is finished first")
PROCESS_STOPPED_AT_ONCE = LogEvent(
    "process-stopped-at-once", "CRITICAL", "second SIGTERM",
    "the process ended at once, without waiting for what ran",
)  # fmt: skip
PROCESS_FAILED = LogEvent(
    "process-failed", "CRITICAL", "(the error, and what to do next)",
    "the process ends; its exit code says whether systemd starts it again",
)  # fmt: skip
PROCESS_BUG = LogEvent(
    "process-bug", "CRITICAL", "uncaught exception`, `this is a bug",
    "with its traceback; please report it",
)  # fmt: skip
SPANS_UNAVAILABLE = LogEvent(
    "spans-unavailable", "WARNING", "no spans are sent",
    "OTEL_SEMCONV_STABILITY_OPT_IN asks for spans, and OpenTelemetry is not installed",
)  # fmt: skip
FAILPOINTS_SET = LogEvent(
    "failpoints-set", "WARNING", "FAILPOINTS ARE SET",
    "ORDERMQ_FAILPOINT is for tests; remove it",
)  # fmt: skip
FAILPOINT_REACHED = LogEvent(
    "failpoint-reached", "CRITICAL", "failpoint ... reached",
    "the process does what ORDERMQ_FAILPOINT says",
)  # fmt: skip
