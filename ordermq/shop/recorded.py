"""The events of orders as they are read back. The one place that reads a stored body or type. Pure.

A body of an older version of its type is lifted here (``ordermq.message.event_types``), so readers know the
newest version alone.
"""

from collections.abc import Mapping
from typing import Any, NamedTuple

import msgspec

from ordermq.errors import EventUnreadable
from ordermq.shop.events import TYPES, Event, EventType, Step
from ordermq.shop.folded import HistoryEvent

_decoder = msgspec.json.Decoder(list[Any])


class RecordedEvent(NamedTuple):
    """What a body says. ``actor`` and ``trace_id`` are None in events of before they were written down.

    ``trace_id`` is also None where it is that of the order.
    """

    type: EventType
    step: Step | None
    status: str
    data: Mapping[str, Any]
    actor: str | None
    trace_id: str | None


def read_body(body: bytes | str, version: int, order_id: str = "") -> RecordedEvent:
    """Return what the body of an event says. Raises EventUnreadable, which names the event."""
    what = _name(version, order_id)
    document = TYPES.read(body, what)
    try:
        return RecordedEvent(
            EventType(document["type"]),
            Step(document["step"]) if document["step"] else None,
            document["status"],
            document["data"],
            document["actor"],
            document.get("trace_id"),
        )
    except (KeyError, ValueError) as exc:
        raise EventUnreadable(f"{what} is no event of an order: {exc}") from exc


def read_history(bodies: str, order_id: str = "") -> list[HistoryEvent]:
    """Return the events of a JSON array of bodies, an order's first ones. Raises EventUnreadable."""
    return [
        _history_event(each, _name(number, order_id))
        for number, each in enumerate(_decoder.decode(bodies), start=1)
    ]


def read_columns(event_type: str, step: str | None, version: int, order_id: str = "") -> Event:
    """Return the event that a row's columns are. Raises EventUnreadable, which names the event."""
    what = _name(version, order_id)
    TYPES.check(event_type, what)
    try:
        return Event(EventType(event_type), Step(step) if step else None)
    except ValueError as exc:
        raise EventUnreadable(f"{what} ends the step {step!r}, which this code does not know") from exc


def _history_event(document: Any, what: str) -> HistoryEvent:
    try:
        return msgspec.convert(TYPES.lifted(document, what), HistoryEvent)
    except msgspec.ValidationError as exc:
        raise EventUnreadable(f"{what} is no event of an order: {exc}") from exc


def _name(version: int, order_id: str) -> str:
    return f"event {version} of order {order_id}" if order_id else f"event {version}"
