"""A delivery once read: what it is, who handles it, or why it cannot be handled."""

from collections.abc import Iterable, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from msgspec.structs import replace

from ordermq.clock import utc_now
from ordermq.errors import MessageError
from ordermq.message.envelope import Delivery, Envelope
from ordermq.message.headers import came_back, derived_message_id, identifier, read_envelope, sent_again
from ordermq.message.payload import decode
from ordermq.observe import trace
from ordermq.observe.logs import bind
from ordermq.store.starts import NEVER, Started
from ordermq.task.handler import Handler
from ordermq.task.registry import Registry


@dataclass(eq=False)
class Work:
    """One message to settle. ``tags`` are its deliveries: more than one if it came twice.

    ``is_settled`` is kept by the desk, which settles works in more than one transaction.
    """

    envelope: Envelope
    body: bytes
    epoch: int
    tags: list[int]
    handler: Handler | None = None
    payload: Any = None
    fault: str = ""  # why it can never be handled; handler and payload are unset then
    is_suspect: bool = False  # it came back: it may be what killed the process
    started: Started = NEVER  # what is known of a suspect's starts before this delivery's
    dead_reason: str = ""  # why it is dead although it can be read
    is_settled: bool = False

    @property
    def key(self) -> tuple[str, int]:
        return self.envelope.message_id, self.envelope.hop


@dataclass
class Plan:
    """Works sorted into what is to be done with them, in order of arrival."""

    unreadable: list[Work] = field(default_factory=list)
    batches: list[tuple[Handler, list[Work]]] = field(default_factory=list)


def read(deliveries: Iterable[Delivery], queue: str, registry: Registry) -> list[Work]:
    """Read what stands in the properties, never a body; what came twice becomes one Work with both tags."""
    by_id: dict[str, Work] = {}
    only_type, now = registry.only_type(queue), utc_now()
    for delivery in deliveries:
        work = _read(delivery, only_type, now)
        earlier = by_id.get(work.envelope.message_id)
        if earlier is None:
            by_id[work.envelope.message_id] = work
            continue
        if work.envelope.hop > earlier.envelope.hop:
            # The later hop exists because the earlier one was settled.
            work, earlier = earlier, work
            by_id[earlier.envelope.message_id] = earlier
        earlier.tags += work.tags
        earlier.is_suspect |= work.is_suspect
    return list(by_id.values())


def plan(works: Sequence[Work], queue: str, registry: Registry) -> Plan:
    """Decode the bodies of ``works`` and sort them. Never raises for their content."""
    result = Plan()
    for work in works:
        if not work.fault:
            _decode(work, queue, registry)
        if work.handler is None:
            result.unreadable.append(work)
        elif result.batches and result.batches[-1][0] is work.handler:
            result.batches[-1][1].append(work)
        else:
            result.batches.append((work.handler, [work]))
    return result


def in_log(envelope: Envelope, queue: str) -> AbstractContextManager[None]:
    """Return a context in which every log record names the message."""
    traced = trace.parse(envelope.traceparent)
    return bind(
        message_id=envelope.message_id,
        order_id=envelope.correlation_id,
        queue=queue,
        trace_id=traced.trace_id if traced else "",
    )


def _read(delivery: Delivery, only_type: str | None, now: datetime) -> Work:
    try:
        envelope = read_envelope(delivery, only_type=only_type, now=now)
    except MessageError as exc:
        return _unreadable(delivery, str(exc))
    return Work(envelope, delivery.body, delivery.epoch, [delivery.tag], is_suspect=came_back(delivery))


def _decode(work: Work, queue: str, registry: Registry) -> None:
    envelope = work.envelope
    try:
        handler = registry.find(queue, envelope)
        payload = decode(work.body, handler.message)
        key = handler.correlation_id(payload, envelope)
        if key:
            identifier(key, handler.key or "correlation_id")  # or a retry of it could not be read
    except MessageError as exc:
        work.fault = f"{type(exc).__name__}: {exc}"
        return
    work.handler, work.payload = handler, payload
    if key != envelope.correlation_id:
        work.envelope = replace(envelope, correlation_id=key)


def _unreadable(delivery: Delivery, reason: str) -> Work:
    # Nothing of a broken envelope is trusted, except an id that can be one and what tells
    # a replay from its first delivery.
    message_id = delivery.properties.message_id or ""
    if not message_id.isascii() or not message_id.isprintable() or not 0 < len(message_id) <= 200:
        message_id = derived_message_id(delivery.body)
    hop, replay_no = sent_again(delivery.properties.headers)
    envelope = Envelope(
        message_id=message_id, type="", version=0, correlation_id="", traceparent=trace.new(),
        occurred_at=utc_now(), hop=hop, replay_no=replay_no,
    )  # fmt: skip
    return Work(envelope, delivery.body, delivery.epoch, [delivery.tag], fault=f"MalformedMessage: {reason}")
