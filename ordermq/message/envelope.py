"""What travels: publishings out, deliveries in, and the envelope both carry.

The body is the payload and nothing else. Everything the framework adds travels in
AMQP properties and in ``x-ordermq-*`` headers, so that any AMQP client can publish
a plain JSON body and any tool can read one.

    message_id      property message_id          unique per queue; the inbox's key
    type            property type                name of the payload type
    correlation_id  property correlation_id      id of what the message is about, as an order's
    occurred_at     property timestamp (s) and header x-ordermq-occurred-at (RFC 3339)
    version         header x-ordermq-version     of the payload type
    attempt         header x-ordermq-attempt     1, 2 ...: failures count, postponements do not
    hop             header x-ordermq-hop         0, 1 ...: rises each time the message is sent again
    replay_no       header x-ordermq-replayed    0, 1 ...: rises when an operator replays it
    first_failed_at header x-ordermq-first-failed-at   when it was sent again for the first time
    last_error      header x-ordermq-last-error  why it was sent again: a hint to read, shortened
    (no field)      header x-ordermq-due-us      when it was due, by the database's clock (us): for metrics
    traceparent     header traceparent           W3C Trace Context

Pure: no I/O, no clock.
"""

from collections.abc import Mapping
from datetime import datetime

import msgspec

from ordermq.observe.tracing import Traced

MAX_HOP = 2**31 - 1  # the largest integer of PostgreSQL: once a second, that takes 68 years


def next_hop(hop: int) -> int:
    """Return the hop after ``hop``; MAX_HOP has none but itself."""
    return min(hop + 1, MAX_HOP)


class Envelope(msgspec.Struct, frozen=True):
    """Everything about a message but its payload."""

    message_id: str
    type: str
    version: int
    correlation_id: str
    traceparent: str
    occurred_at: datetime
    attempt: int = 1
    hop: int = 0
    replay_no: int = 0
    first_failed_at: datetime | None = None
    last_error: str | None = None


class Properties(msgspec.Struct, frozen=True):
    """The AMQP basic properties that ordermq reads or writes; a missing one is None.

    Values from the wire are untrusted: text may be any text, and headers may hold any AMQP
    value. ``delivery_mode`` is missing here, because every publishing is persistent.
    """

    message_id: str | None = None
    type: str | None = None
    correlation_id: str | None = None
    content_type: str | None = None
    content_encoding: str | None = None
    timestamp_s: int | None = None
    headers: Mapping[str, object] = {}


class Publishing(msgspec.Struct, frozen=True):
    """A message on its way to the broker."""

    exchange: str
    routing_key: str
    properties: Properties
    body: bytes


class Delivery(msgspec.Struct, frozen=True):
    """A message that the broker delivered and that is not acknowledged yet.

    ``tag`` has a meaning only on the channel it came from. ``epoch`` is the number of that
    channel in this process; it rises with each subscription.
    """

    tag: int
    epoch: int
    exchange: str
    routing_key: str
    redelivered: bool
    properties: Properties
    body: bytes


def traced(envelope: Envelope, routing_key: str, body: bytes) -> Traced:
    """Return what spans say of a message."""
    return Traced(
        envelope.traceparent, envelope.message_id, envelope.correlation_id, envelope.type,
        routing_key, len(body), is_again=envelope.hop > 0,
    )  # fmt: skip
