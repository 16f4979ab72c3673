"""What becomes of a delivery, in stages.

    Received     its properties are read, nothing of its body
    Readable     its body is decoded, and a handler of the queue takes it
    Unreadable   no handler can ever take it, and why

A later stage holds all that the earlier one held. Each is a value: nothing changes one that was made.
"""

from collections.abc import Iterable, Sequence
from contextlib import AbstractContextManager
from datetime import datetime
from typing import NamedTuple

import msgspec
from msgspec.structs import replace

from ordermq.clock import utc_now
from ordermq.errors import MessageError, SignatureRefused
from ordermq.message.envelope import Delivery, Envelope, traced
from ordermq.message.headers import (
    came_back,
    derived_message_id,
    due_at,
    identifier,
    read_envelope,
    sent_again,
)
from ordermq.message.payload import Payload
from ordermq.message.payload import decode as decode_payload
from ordermq.message.signing import UNCHECKED, Verifier
from ordermq.observe import trace
from ordermq.observe.logs import bind
from ordermq.observe.tracing import Traced
from ordermq.task.handler import Handler
from ordermq.task.registry import Registry


class _Due(msgspec.Struct, frozen=True, eq=False, kw_only=True):
    due_at: float | None = None


class Received(_Due, frozen=True, eq=False):
    """A message as the broker delivered it. ``tags`` has several if it was delivered more than once.

    ``is_suspect``: it came back, or its lease was taken over, so it may be what ended a process.
    A start is then committed before it is handled, and forgotten as it is settled; see ``starts``.
    ``due_at`` is when it was due, in seconds since 1970 by the database's clock; None if it does not say.
    """

    envelope: Envelope
    body: bytes
    epoch: int
    tags: tuple[int, ...]
    is_suspect: bool

    @property
    def message_id(self) -> str:
        return self.envelope.message_id

    @property
    def key(self) -> tuple[str, int]:
        """What the inbox knows it by."""
        return self.envelope.message_id, self.envelope.hop


class Readable(Received, frozen=True, eq=False):
    """A message with the handler that takes it; the envelope's correlation id is the payload's."""

    handler: Handler
    payload: Payload


class Unreadable(Received, frozen=True, eq=False):
    """A message that no handler can take, and why.

    ``asks_modules`` is False if the on_unreadable of a module may be what ends the process: then
    the dead letter is kept and none is called.
    """

    fault: str
    asks_modules: bool = True


Message = Readable | Unreadable


class Plan(NamedTuple):
    """Messages by what is to be done with them, in order of arrival; a batch is of one handler."""

    unreadable: list[Unreadable]
    batches: list[list[Readable]]


def read(
    deliveries: Iterable[Delivery], queue: str, registry: Registry, verifier: Verifier | None = None
) -> list[Received]:
    """Read the properties of ``deliveries``, never a body.

    A message that was delivered twice is one Received with both tags. One whose properties are
    broken, or whose signature ``verifier`` refuses (SIG1), is Unreadable at once. Two that share an
    id and nothing else stay two: one of them may be a message that no handler can read, and its
    ack must not be the other's.
    """
    by_id: dict[str, Received] = {}
    others: list[Received] = []
    untyped, now = registry.untyped(queue), utc_now()
    for delivery in deliveries:
        received = _verified(_read(delivery, untyped, now), delivery, queue, verifier)
        message_id = received.envelope.message_id
        earlier = by_id.get(message_id)
        if earlier is None:
            by_id[message_id] = received
        elif earlier.body == received.body and type(earlier) is type(received):
            by_id[message_id] = _merged(earlier, received)
        else:
            others.append(received)
    return [*by_id.values(), *others]


def plan(messages: Iterable[Received], queue: str, registry: Registry) -> Plan:
    """Decode the bodies of ``messages`` and sort them. Never raises for their content.

    No batch has two messages of one id.
    """
    unreadable: list[Unreadable] = []
    batches: list[list[Readable]] = []
    last: Handler | None = None
    ids: set[str] = set()  # of the last batch
    for received in messages:
        message = decode(received, queue, registry)
        if isinstance(message, Unreadable):
            unreadable.append(message)
        elif message.handler is last and message.message_id not in ids:
            batches[-1].append(message)
            ids.add(message.message_id)
        else:
            batches.append([message])
            last, ids = message.handler, {message.message_id}
    return Plan(unreadable, batches)


def decode(received: Received, queue: str, registry: Registry) -> Message:
    """Decode the body for the handler that takes it. Never raises for its content."""
    if isinstance(received, Unreadable):
        return received
    envelope = received.envelope
    try:
        handler = registry.find(queue, envelope)
        payload = decode_payload(received.body, handler.message)
        correlation_id = handler.correlation_id(payload, envelope)
        if correlation_id:
            # One that is no identifier could not be read again when the message is sent again.
            identifier(correlation_id, handler.key or "correlation_id")
    except MessageError as exc:
        return unreadable(received, f"{type(exc).__name__}: {exc}")
    if correlation_id != envelope.correlation_id:
        envelope = replace(envelope, correlation_id=correlation_id)
    return Readable(
        envelope,
        received.body,
        received.epoch,
        received.tags,
        received.is_suspect,
        handler,
        payload,
        due_at=received.due_at,
    )


def unreadable(received: Received, fault: str, *, asks_modules: bool = True) -> Unreadable:
    """Return ``received`` as a message that no handler can take."""
    return Unreadable(
        received.envelope, received.body, received.epoch, received.tags, received.is_suspect,
        fault, asks_modules,
    )  # fmt: skip


def traced_of(messages: Sequence[Received], queue: str) -> list[Traced]:
    """Return what spans say of ``messages``."""
    return [traced(each.envelope, queue, each.body) for each in messages]


def in_log(envelope: Envelope, queue: str) -> AbstractContextManager[None]:
    """Return a context in which every log record names the message."""
    parsed = trace.parse(envelope.traceparent)
    return bind(
        message_id=envelope.message_id,
        correlation_id=envelope.correlation_id,
        queue=queue,
        trace_id=parsed.trace_id if parsed else None,
        span_id=parsed.span_id if parsed else None,
    )


def _read(delivery: Delivery, untyped: str | None, now: datetime) -> Received:
    try:
        envelope = read_envelope(delivery, untyped=untyped, now=now)
    except MessageError as exc:
        return Unreadable(
            _replacement_of(delivery), delivery.body, delivery.epoch, (delivery.tag,), came_back(delivery),
            f"MalformedMessage: {exc}",
        )  # fmt: skip
    return Received(
        envelope, delivery.body, delivery.epoch, (delivery.tag,), came_back(delivery),
        due_at=due_at(delivery.properties.headers),
    )  # fmt: skip


def _verified(received: Received, delivery: Delivery, queue: str, verifier: Verifier | None) -> Received:
    if verifier is None:
        return received
    if isinstance(received, Unreadable):
        fault = "" if verifier.accepts_unsigned else f"{received.fault}; {UNCHECKED}"
    else:
        fault = _refusal(delivery, queue, verifier)
    # Nothing it says is believed: no module may act on it, and no start of another with its id is forgotten.
    return unreadable(replace(received, is_suspect=False), fault, asks_modules=False) if fault else received


def _refusal(delivery: Delivery, queue: str, verifier: Verifier) -> str:
    try:
        verifier.check(delivery, queue)
    except SignatureRefused as exc:
        return f"{type(exc).__name__}: {exc}"
    return ""


def _merged(first: Received, second: Received) -> Received:
    # The later hop exists because the earlier one was settled.
    latest, other = (second, first) if second.envelope.hop > first.envelope.hop else (first, second)
    return replace(latest, tags=latest.tags + other.tags, is_suspect=latest.is_suspect or other.is_suspect)


def _replacement_of(delivery: Delivery) -> Envelope:
    # Nothing of a broken envelope is trusted, except an id that has the form of one and what
    # tells a replay from its first delivery.
    message_id = delivery.properties.message_id or ""
    if not message_id.isascii() or not message_id.isprintable() or not 0 < len(message_id) <= 200:
        message_id = derived_message_id(delivery.body)
    hop, replay_no = sent_again(delivery.properties.headers)
    return Envelope(
        message_id=message_id, type="", version=0, correlation_id="", traceparent=trace.new(),
        occurred_at=utc_now(), hop=hop, replay_no=replay_no,
    )  # fmt: skip
