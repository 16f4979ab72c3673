"""Envelope to AMQP properties and back.

Everything read from the wire is untrusted. A value that a foreign client leaves out is
derived. A value of the wrong type or out of bounds makes the message malformed, because a
guessed attempt or id could lose or double work. Only a count that is too high is taken as the
highest one: a message that was sent again that often is still the same message.

Pure: the caller passes the present instant.
"""

import hashlib
import re
from collections.abc import Mapping
from datetime import UTC, datetime

from ordermq.errors import MalformedMessage
from ordermq.message.envelope import MAX_HOP, Delivery, Envelope, Properties
from ordermq.observe import text as safe
from ordermq.observe import trace

CONTENT_TYPE = "application/json"

VERSION = "x-ordermq-version"
ATTEMPT = "x-ordermq-attempt"
HOP = "x-ordermq-hop"
REPLAYED = "x-ordermq-replayed"
OCCURRED_AT = "x-ordermq-occurred-at"
FIRST_FAILED_AT = "x-ordermq-first-failed-at"
LAST_ERROR = "x-ordermq-last-error"
DUE_US = "x-ordermq-due-us"
TRACEPARENT = "traceparent"

MAX_ERROR_CHARS = 500
_MAX_ERROR_BYTES = 300  # in the header: all headers of a message have to fit into one frame
MAX_ID_CHARS = 200  # an AMQP short string holds 255 bytes; ids also stand in indexes and logs
_MAX_COUNT = 1_000_000
_IDENTIFIER = re.compile(r"[!-~]{1,200}")


def to_properties(envelope: Envelope, due_at: float | None = None) -> Properties:
    """Return the properties that carry ``envelope``; ``due_at`` is the Unix time at which it was due."""
    headers: dict[str, object] = {
        VERSION: envelope.version,
        ATTEMPT: envelope.attempt,
        HOP: envelope.hop,
        OCCURRED_AT: envelope.occurred_at.isoformat(),
        TRACEPARENT: envelope.traceparent,
    }
    if envelope.replay_no:
        headers[REPLAYED] = envelope.replay_no
    if due_at is not None:
        headers[DUE_US] = int(due_at * 1_000_000)
    if envelope.first_failed_at is not None:
        headers[FIRST_FAILED_AT] = envelope.first_failed_at.isoformat()
    if envelope.last_error:
        headers[LAST_ERROR] = envelope.last_error.encode()[:_MAX_ERROR_BYTES].decode(errors="ignore")
    return Properties(
        message_id=envelope.message_id,
        type=envelope.type,
        correlation_id=envelope.correlation_id,
        content_type=CONTENT_TYPE,
        timestamp_s=max(0, int(envelope.occurred_at.timestamp())),  # AMQP has none before 1970
        headers=headers,
    )


def read_envelope(delivery: Delivery, *, untyped: str | None, now: datetime) -> Envelope:
    """Return the envelope of ``delivery``.

    A message without message_id gets one derived from its bytes: the same bytes sent twice are
    one message. A message without type is of the type ``untyped``, or of none that its queue takes if
    that is None. Raises MalformedMessage for anything outside the bounds above.
    """
    properties = delivery.properties
    headers = properties.headers
    _check_content(properties)
    _check_translated(properties)
    message_type = properties.type or untyped
    if message_type is None:
        raise MalformedMessage("has no property type, and its queue takes none without")
    message_id = (
        derived_message_id(delivery.body)
        if properties.message_id is None
        else identifier(properties.message_id, "message_id")
    )
    return Envelope(
        message_id=message_id,
        type=identifier(message_type, "type"),
        version=_count(headers, VERSION, default=1, least=1),
        correlation_id=identifier(properties.correlation_id, "correlation_id")
        if properties.correlation_id
        else "",
        traceparent=_traceparent(headers.get(TRACEPARENT)),
        occurred_at=_instant(headers, OCCURRED_AT) or _timestamp(properties.timestamp_s) or now,
        attempt=_count(headers, ATTEMPT, default=1, least=1, saturates=True),
        hop=_count(headers, HOP, default=0, least=0, most=MAX_HOP, saturates=True),
        replay_no=_count(headers, REPLAYED, default=0, least=0),
        first_failed_at=_instant(headers, FIRST_FAILED_AT),
        last_error=_hint(headers.get(LAST_ERROR)),
    )


def due_at(headers: Mapping[str, object]) -> float | None:
    """Return the Unix time at which a message was due by the database's clock, if it says so.

    For metrics only: nothing is decided by it, so a wrong value does not make the message malformed.
    """
    value = headers.get(DUE_US)
    return value / 1_000_000 if isinstance(value, int) and 0 < value < 2**53 else None


def bounded_error(text: str) -> str:
    """Return ``text`` as a last_error: one line of printable characters, without credentials, bounded."""
    return safe.line(text, MAX_ERROR_CHARS)[:MAX_ERROR_CHARS]


def derived_message_id(body: bytes) -> str:
    """Return the message_id of a message that came without one."""
    return "sha256:" + hashlib.sha256(body).hexdigest()


def sent_again(headers: Mapping[str, object]) -> tuple[int, int]:
    """Return (hop, replay_no) of a message whose envelope is malformed; a malformed number is 0."""

    def count(name: str, most: int = _MAX_COUNT) -> int:
        try:
            return _count(headers, name, default=0, least=0, most=most, saturates=True)
        except MalformedMessage:
            return 0

    return count(HOP, MAX_HOP), count(REPLAYED)


def came_back(delivery: Delivery) -> bool:
    """Whether the broker has delivered this message before and got it back.

    Queues of every type say so with a flag. Only quorum queues say how often, and what they
    count has changed twice, so nothing here depends on the number.
    """
    if delivery.redelivered:
        return True
    headers = delivery.properties.headers
    counts = headers.get("x-delivery-count"), headers.get("x-acquired-count")
    return counts != (None, None) and any(isinstance(count, int) and count > 0 for count in counts)


def _check_content(properties: Properties) -> None:
    if properties.content_type == CONTENT_TYPE and properties.content_encoding is None:
        return  # as ordermq sends it
    content_type = (properties.content_type or CONTENT_TYPE).split(";")[0].strip().lower()
    if content_type not in (CONTENT_TYPE, "application/octet-stream", "text/plain"):
        raise MalformedMessage(f"content_type {content_type[:64]!r} is not {CONTENT_TYPE}")
    if (properties.content_encoding or "utf-8").lower() not in ("utf-8", "utf8", "identity"):
        raise MalformedMessage("content_encoding is not utf-8; compressed bodies are not read")


def _check_translated(properties: Properties) -> None:
    """Refuse what an AMQP 1.0 client sent in a form that AMQP 0-9-1 has no place for.

    RabbitMQ puts a text or a value as it is on the wire, with its AMQP 1.0 constructor, into the
    body, and an id that is binary or longer than 255 bytes into a header. Such a message would
    seem to have no id, and another one with the same body would be taken for it.
    """
    if properties.type == "amqp-1.0":
        raise MalformedMessage(
            "the body is an AMQP 1.0 value: its sender has to write a data section (bytes) of JSON"
        )
    for name in ("message-id", "correlation-id"):
        if f"x-{name}" in properties.headers:
            raise MalformedMessage(f"the AMQP 1.0 {name} is binary, or longer than {MAX_ID_CHARS} characters")


def identifier(value: str, name: str) -> str:
    """Return ``value`` if it may be an id or a type. Raises MalformedMessage naming ``name``."""
    if not _IDENTIFIER.fullmatch(value):
        raise MalformedMessage(f"{name} is not 1 to {MAX_ID_CHARS} printable ASCII characters without spaces")
    return value


def _count(
    headers: Mapping[str, object],
    name: str,
    *,
    default: int,
    least: int,
    most: int = _MAX_COUNT,
    saturates: bool = False,
) -> int:
    value = headers.get(name, default)
    if isinstance(value, bool) or not isinstance(value, int) or value < least:
        raise MalformedMessage(f"header {name} is not a whole number from {least} to {most}")
    if value > most and not saturates:
        raise MalformedMessage(f"header {name} is not a whole number from {least} to {most}")
    return min(int(value), most)


def _instant(headers: Mapping[str, object], name: str) -> datetime | None:
    value = headers.get(name)
    if value is None:
        return None
    try:
        # Anything but text is not even shown: its repr may be nested without end.
        instant = datetime.fromisoformat(value if isinstance(value, str) else "")
        if instant.tzinfo is not None:
            return instant.astimezone(UTC)
    except (ValueError, OverflowError) as exc:  # also an instant that in UTC is before year 1 or after 9999
        raise MalformedMessage(f"header {name} is not an RFC 3339 instant") from exc
    raise MalformedMessage(f"header {name} has no time zone")


def _timestamp(timestamp_s: int | None) -> datetime | None:
    # Some clients write milliseconds, which are read as a year past 9999: no such instant exists here.
    if timestamp_s is None or not 0 <= timestamp_s < 253_402_300_800:
        return None
    return datetime.fromtimestamp(timestamp_s, UTC)


def _hint(value: object) -> str | None:
    # Nothing is decided by the hint, so a wrong value does not make the message malformed.
    return bounded_error(value) if isinstance(value, str) and value else None


def _traceparent(value: object) -> str:
    return value if isinstance(value, str) and trace.is_valid(value) else trace.new()
