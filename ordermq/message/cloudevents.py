"""An event as others read it: a CloudEvent 1.0, in headers of AMQP or as one JSON document.

    attribute         of what
    id                subject and number of the record: the same whenever the event is sent again
    source            who tells it, and the table of the record: "/orders/shop.order_events"
    type              what happened, as in the table: "payment_captured"
    subject           what it is about: the order
    time              when it happened
    datacontenttype   application/json
    traceparent       W3C Trace Context (extension "distributed tracing"); absent if not known
    sequence          the position in the one history of all records, 20 digits (extension "sequence")
    previoussequence  the position of the event that was published before it; absent for the first

Positions are not contiguous, since not every record is an event. A reader that has the position of
``previoussequence`` has missed nothing, and one that has ``sequence`` already has seen the event.

CloudEvents has no binding for AMQP 0-9-1. The headers are named and written as its binding for AMQP 1.0
says, so that a client of AMQP 1.0, to which RabbitMQ passes headers as application properties, reads what
that binding promises. docs/events.md says so to readers. Nothing here is personal data. Pure: no I/O, no
clock.
"""

import hashlib
from collections.abc import Mapping
from datetime import UTC, datetime

import msgspec

from ordermq.errors import MalformedMessage
from ordermq.message.envelope import Properties

SPECVERSION = "1.0"
DATA_TYPE = "application/json"
STRUCTURED_TYPE = "application/cloudevents+json"
PREFIX = "cloudEvents_"  # of a header; the binding's preferred one
_OTHER_PREFIX = "cloudEvents:"  # which readers have to take too

_MAX_ID_BYTES = 240  # an AMQP short string holds 255
_DIGITS = 20
_decoder = msgspec.json.Decoder()


class RecordEvent(msgspec.Struct, frozen=True):
    """What a record says outward; see ``ordermq.module.RecordSource``. ``data`` is a JSON document.

    Raises ValueError for a ``time`` without a time zone.
    """

    type: str
    time: datetime
    data: bytes
    traceparent: str | None = None

    def __post_init__(self) -> None:
        if self.time.tzinfo is None:
            raise ValueError(f"{self.time.isoformat()} has no time zone")


class CloudEvent(msgspec.Struct, frozen=True, kw_only=True):
    """An event with its attributes; ``data`` is a JSON document in UTF-8."""

    id: str
    source: str
    type: str
    subject: str
    time: datetime
    data: bytes
    position: int
    previous: int | None = None
    traceparent: str | None = None


def event_of(
    record: RecordEvent, *, source: str, subject: str, number: int, position: int, previous: int | None = None
) -> CloudEvent:
    """Return the event of the record ``number`` of ``subject``, which has this ``position``."""
    return CloudEvent(
        id=event_id(subject, number),
        source=source,
        type=record.type,
        subject=subject,
        time=record.time,
        data=record.data,
        position=position,
        previous=previous,
        traceparent=record.traceparent,
    )


def event_id(subject: str, number: int) -> str:
    """Return the id of an event, unique in its source: "A-1001:3"; a hash of that if it is long."""
    key = f"{subject}:{number}"
    raw = key.encode()
    return key if len(raw) <= _MAX_ID_BYTES else f"sha256:{hashlib.sha256(raw).hexdigest()}"


def routing_key(event_type: str) -> str:
    """Return the key that an event is published with: its type, with a dot for the first underscore.

    So ``payment.*`` binds a queue to all events of payments, and ``#`` to all.
    """
    return event_type.replace("_", ".", 1)


def attributes(event: CloudEvent) -> dict[str, str]:
    """Return all attributes but datacontenttype, by their names, each in its canonical form as text."""
    found = {
        "specversion": SPECVERSION,
        "id": event.id,
        "source": event.source,
        "type": event.type,
        "subject": event.subject,
        "time": rfc3339(event.time),
        "sequence": _sequence(event.position),
    }
    if event.previous is not None:
        found["previoussequence"] = _sequence(event.previous)
    if event.traceparent is not None:
        found["traceparent"] = event.traceparent
    return found


def event_properties(event: CloudEvent) -> Properties:
    """Return the properties of a message in binary mode: attributes as headers, and the data as the body.

    message_id, type, correlation_id and timestamp say the same to a reader that knows no CloudEvents.
    """
    fits = len(event.subject.encode()) <= _MAX_ID_BYTES
    return Properties(
        message_id=event.id,
        type=event.type,
        correlation_id=event.subject if fits else None,
        content_type=DATA_TYPE,
        timestamp_s=max(0, int(event.time.timestamp())),
        headers={f"{PREFIX}{name}": value for name, value in attributes(event).items()},
    )


def structured(event: CloudEvent) -> bytes:
    """Return the event as one JSON document: the structured mode, of the media type STRUCTURED_TYPE."""
    return msgspec.json.encode(
        {**attributes(event), "datacontenttype": DATA_TYPE, "data": msgspec.Raw(event.data)}
    )


def read_event(properties: Properties, body: bytes) -> CloudEvent:
    """Return the event in a message of either mode. Raises MalformedMessage if it is none of ordermq's."""
    if (properties.content_type or "").lower().startswith("application/cloudevents"):
        return read_structured(body)
    found = {
        name[len(PREFIX) :]: value
        for name, value in properties.headers.items()
        if name.startswith((PREFIX, _OTHER_PREFIX))
    }
    return _event(found, body)


def read_structured(document: bytes) -> CloudEvent:
    """Return the event in a JSON document. Raises MalformedMessage if it is none of ordermq's."""
    try:
        found = msgspec.json.decode(document, type=dict[str, msgspec.Raw])
        data = bytes(found.pop("data"))
        return _event({name: _decoder.decode(value) for name, value in found.items()}, data)
    except (msgspec.DecodeError, KeyError) as exc:
        raise MalformedMessage(f"is no CloudEvent in JSON with data: {exc}") from exc


def rfc3339(instant: datetime) -> str:
    """Return an instant in UTC as RFC 3339 has it, always with microseconds."""
    return instant.astimezone(UTC).isoformat(timespec="microseconds").replace("+00:00", "Z")


def _sequence(position: int) -> str:
    return f"{position:0{_DIGITS}d}"


def _event(found: Mapping[str, object], data: bytes) -> CloudEvent:
    if found.get("specversion") != SPECVERSION:
        raise MalformedMessage(f"is no CloudEvent {SPECVERSION}: specversion is not that")
    previous = found.get("previoussequence")
    traceparent = found.get("traceparent")
    return CloudEvent(
        id=_text(found, "id"),
        source=_text(found, "source"),
        type=_text(found, "type"),
        subject=_text(found, "subject", empty=True),
        time=_time(_text(found, "time")),
        data=data,
        position=_position(found, "sequence"),
        previous=None if previous is None else _position(found, "previoussequence"),
        traceparent=traceparent if isinstance(traceparent, str) else None,
    )


def _text(found: Mapping[str, object], name: str, *, empty: bool = False) -> str:
    value = found.get(name)
    if not isinstance(value, str) or not (value or empty):
        raise MalformedMessage(f"has no attribute {name} that is text: it is no event of ordermq")
    return value


def _position(found: Mapping[str, object], name: str) -> int:
    value = found.get(name)
    if not isinstance(value, str) or not (value.isascii() and value.isdigit() and len(value) <= _DIGITS):
        raise MalformedMessage(f"has an attribute {name} that is no position: it is no event of ordermq")
    return int(value)


def _time(value: str) -> datetime:
    try:
        instant = datetime.fromisoformat(value)
        if instant.tzinfo is not None:
            return instant.astimezone(UTC)
    except (ValueError, OverflowError) as exc:
        raise MalformedMessage("has an attribute time that is no RFC 3339 instant") from exc
    raise MalformedMessage("has an attribute time without a time zone")
