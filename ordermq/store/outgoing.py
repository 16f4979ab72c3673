"""Messages on their way into the ``outbox`` table: the rows, and the one statement that adds them."""

from collections.abc import Mapping
from typing import Any, NamedTuple

from ordermq.clock import utc_now
from ordermq.message.command import Command
from ordermq.message.envelope import Envelope
from ordermq.message.headers import identifier
from ordermq.message.payload import encode
from ordermq.observe import trace
from ordermq.store.arrays import insert_into

_TYPES = {
    "routing_key": "text", "message_id": "text", "type": "text", "version": "int", "correlation_id": "text",
    "traceparent": "text", "occurred_at": "timestamptz", "attempt": "int", "hop": "int", "replay_no": "int",
    "first_failed_at": "timestamptz", "last_error": "text", "body": "bytea",
}  # fmt: skip

COLUMNS = ", ".join(_TYPES)

INSERT = insert_into("ordermq.outbox", **_TYPES)

# Only PostgreSQL's clock says when a row is due.
APPEND_LATER = f"""
    INSERT INTO ordermq.outbox ({COLUMNS}, available_at) VALUES %s
"""  # noqa: S608 # COLUMNS is a constant
LATER_TEMPLATE = "(%s, %s, %s, %s, %s, %s, %s, %s, %s, %s, %s, %s, %s, now() + %s * interval '1 second')"


class OutboxRow(NamedTuple):
    """A message to send; ``delay_s`` holds it back that long."""

    routing_key: str
    envelope: Envelope
    body: bytes
    delay_s: float = 0.0


def new_row(command: Command, traces: Mapping[str, str]) -> OutboxRow:
    """Return the row of a first attempt.

    Raises MalformedMessage if the payload is too large, or an id is none that a consumer accepts.
    """
    identifier(command.message_id, "message_id")
    if command.correlation_id:
        identifier(command.correlation_id, "correlation_id")
    traceparent = command.traceparent or traces.get(command.correlation_id, "")
    envelope = Envelope(
        message_id=command.message_id,
        type=type(command.payload).__name__,
        version=command.payload.VERSION,
        correlation_id=command.correlation_id,
        traceparent=trace.child(traceparent) if traceparent else trace.new(),
        occurred_at=utc_now(),
    )
    return OutboxRow(command.queue, envelope, encode(command.payload), command.delay_s)


def values(row: OutboxRow) -> tuple[Any, ...]:
    """Return the row's values in the order of ``COLUMNS``."""
    e = row.envelope
    return (
        row.routing_key, e.message_id, e.type, e.version, e.correlation_id, e.traceparent, e.occurred_at,
        e.attempt, e.hop, e.replay_no, e.first_failed_at, e.last_error, row.body,
    )  # fmt: skip
