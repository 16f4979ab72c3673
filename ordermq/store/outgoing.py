"""Messages on their way into the ``outbox`` table: the rows, and the statements that add them."""

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any, NamedTuple, get_args

import msgspec

from ordermq.clock import utc_now
from ordermq.message.command import Command
from ordermq.message.envelope import Envelope
from ordermq.message.headers import identifier
from ordermq.message.payload import encode
from ordermq.observe import trace
from ordermq.store.arrays import insert_into

_OF_PYTHON: dict[Any, str] = {str: "text", int: "int", datetime: "timestamptz"}

# The columns of an envelope and their types, in its order.
ENVELOPE = {
    field.name: _OF_PYTHON[(get_args(field.type) or (field.type,))[0]]
    for field in msgspec.structs.fields(Envelope)
}

_TYPES = {"routing_key": "text", **ENVELOPE, "body": "bytea"}

COLUMNS = ", ".join(_TYPES)

INSERT = insert_into("ordermq.outbox", **_TYPES)

# The time at which a row is written, by PostgreSQL's clock, which alone says when a row is due. It is the
# default of available_at. The transaction has an xid by then: the relay's low mark rests on that.
WRITTEN_AT = "CASE WHEN pg_current_xact_id() IS NOT NULL THEN clock_timestamp() END"
APPEND_LATER = f"""
    INSERT INTO ordermq.outbox ({COLUMNS}, available_at) VALUES %s
"""  # noqa: S608 # COLUMNS is a constant
LATER_TEMPLATE = f"({'%s, ' * len(_TYPES)}{WRITTEN_AT} + %s * interval '1 second')"


class OutboxRow(NamedTuple):
    """A message to send; the relay holds it back for ``delay_s`` seconds."""

    routing_key: str
    envelope: Envelope
    body: bytes
    delay_s: float = 0.0


def new_row(command: Command, traces: Mapping[str, str]) -> OutboxRow:
    """Return the row of a first attempt.

    Raises MalformedMessage if the payload is too large, or no consumer would accept an id.
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
    return (row.routing_key, *msgspec.structs.astuple(row.envelope), row.body)


def row_of(record: Sequence[Any]) -> OutboxRow:
    """Return the row whose ``values`` stand in ``record``, in the order of ``COLUMNS``."""
    return OutboxRow(record[0], Envelope(*record[1:-1]), bytes(record[-1]))
