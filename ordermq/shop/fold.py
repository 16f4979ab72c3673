"""The state of an order as the fold of its events. Pure.

``saga.advance`` says what an event does to an order's status and pending steps; ``_EFFECTS`` says what
it does to everything else. An event is read from its body, which holds all that its row does.

Invariants
    FLD1  The fold of the first events of an order is its state at the version of the last of them,
        whatever came later.
    FLD2  A history with a gap, or with an event that cannot happen, has no state.
"""

from collections.abc import Callable, Iterable, Iterator, Mapping
from functools import lru_cache
from typing import Any

import msgspec

from ordermq.errors import IllegalEvent
from ordermq.shop.events import Event, EventType, Step
from ordermq.shop.folded import FoldedAdjustment, FoldedLine, FoldedOrder, HistoryEvent
from ordermq.shop.history import CANCELLING, cause_after
from ordermq.shop.placement import WHOLE_ORDER
from ordermq.shop.saga import TERMINAL, Charge, Move, State, Status, advance, terms_of

DEFAULT_NOTIFY = "text"


def fold(events: Iterable[HistoryEvent], *, notify: str = DEFAULT_NOTIFY) -> FoldedOrder | None:
    """Return the order after ``events``, None without any. Raises IllegalEvent (FLD2).

    ``notify`` is how the customer is told, for histories whose first event does not say it.
    """
    order: FoldedOrder | None = None
    for order in states(events, notify=notify):  # noqa: B007 # the last one is wanted
        pass
    return order


def states(events: Iterable[HistoryEvent], *, notify: str = DEFAULT_NOTIFY) -> Iterator[FoldedOrder]:
    """Yield the order after each event. Raises as ``fold``."""
    order: FoldedOrder | None = None
    for event in events:
        expected = order.version + 1 if order else 1
        if event.version != expected:
            raise IllegalEvent(f"version {event.version} stands where version {expected} should")
        try:
            order = _placed(event, notify) if order is None else _after(order, event)
        except (KeyError, TypeError, ValueError, msgspec.ValidationError) as exc:
            raise IllegalEvent(f"the data of version {event.version}, {event.type}, cannot be read") from exc
        yield order


def _placed(event: HistoryEvent, notify: str) -> FoldedOrder:
    data = event.data
    charge, notify = data.get("charge", Charge.CARD.value), data["notify"] or notify
    move = _advance(None, event.type, event.step, charge, notify)
    lines = [FoldedLine(number, *_line(item)) for number, item in enumerate(data["items"], start=1)]
    adjustments = list(_adjustments(WHOLE_ORDER, data))
    for number, item in enumerate(data["items"], start=1):
        adjustments += _adjustments(number, item)
    return FoldedOrder(
        order_id=event.order_id,
        version=event.version,
        state=move.state,
        customer_id=data["customer_id"],
        currency=data["currency"],
        total_minor=data["total_minor"],
        content_sha256=data["content_sha256"],
        charge=charge,
        notify=notify,
        recorded_at=event.occurred_at,
        changed_at=event.occurred_at,
        payment="captured" if charge == Charge.PAID else "none",
        lines=tuple(lines),
        adjustments=tuple(adjustments),
    )


def _after(order: FoldedOrder, event: HistoryEvent) -> FoldedOrder:
    move = _advance(order.state, event.type, event.step, order.charge, order.notify)
    status = move.state.status
    changes: dict[str, Any] = {
        "version": event.version, "state": move.state, "changed_at": event.occurred_at,
    }  # fmt: skip
    if status is not order.state.status:
        changes["ended_at"] = event.occurred_at if status in TERMINAL else None
    if move.attention is not None:
        changes["asks"] = (order.asks or event.type) if move.attention else None
    if event.type in CANCELLING:
        changes["because"] = cause_after(order.because, event.type, event.data)
    if (effect := _EFFECTS.get(event.type)) is not None:
        changes |= effect(order, event.data, status)
    return msgspec.structs.replace(order, **changes)


@lru_cache(maxsize=4096)
def _advance(state: State | None, type_: EventType, step: Step | None, charge: str, notify: str) -> Move:
    """Return what the saga says; few of its answers differ. Raises IllegalEvent."""
    return advance(state, Event(type_, step), terms_of(charge, notify))


Effect = Callable[[FoldedOrder, Mapping[str, Any], Status], dict[str, Any]]


def _captured(order: FoldedOrder, data: Mapping[str, Any], status: Status) -> dict[str, Any]:
    return {"payment": "captured", "capture_id": data.get("capture_id")}


def _refunded(order: FoldedOrder, data: Mapping[str, Any], status: Status) -> dict[str, Any]:
    changes: dict[str, Any] = {"refunded_minor": order.refunded_minor + data["amount_minor"]}
    return changes | ({"payment": "refunded"} if status is Status.REFUNDED else {})


def _reopened(order: FoldedOrder, data: Mapping[str, Any], status: Status) -> dict[str, Any]:
    lines = tuple(
        msgspec.structs.replace(each, refunded=0, returned=0) if each.refunded else each
        for each in order.lines
    )
    return {
        "refunded_minor": 0, "payment": "none", "capture_id": None, "goods": "none", "lines": lines,
        "points": order.points or None,
    }  # fmt: skip


def _released(order: FoldedOrder, data: Mapping[str, Any], status: Status) -> dict[str, Any]:
    return {"goods": "released"} if order.goods == "reserved" else {}


def _adjusted(order: FoldedOrder, data: Mapping[str, Any], status: Status) -> dict[str, Any]:
    return {} if order.points is None else {"points": data["points"]}  # without points it gets none


def _paid_back(order: FoldedOrder, data: Mapping[str, Any], status: Status) -> dict[str, Any]:
    return {"lines": _counted(order.lines, "refunded", data["lines"])}


def _returned(order: FoldedOrder, data: Mapping[str, Any], status: Status) -> dict[str, Any]:
    """Count units that came back, and those of them that are paid back with no money, as of a free order."""
    lines = _counted(order.lines, "returned", data["lines"])
    paid_back = data["paid_back"]
    lines = _counted(lines, "refunded", paid_back or ())
    return {"lines": lines, "knows_paid_back": order.knows_paid_back and paid_back is not None}


def _counted(
    lines: tuple[FoldedLine, ...], column: str, added: Iterable[tuple[int, int]]
) -> tuple[FoldedLine, ...]:
    units = dict(added)
    counted = tuple(
        msgspec.structs.replace(each, **{column: getattr(each, column) + units.pop(each.line_no)})
        if each.line_no in units
        else each
        for each in lines
    )
    if units:
        raise KeyError(f"no line {min(units)}")
    return counted


def _setting(**values: Any) -> Effect:
    return lambda order, data, status: values


_EFFECTS: Mapping[EventType, Effect] = {
    EventType.STOCK_RESERVED: _setting(goods="reserved"),
    EventType.STOCK_RELEASED: _released,
    EventType.ORDER_REWOUND: _setting(goods="reserved", payment="none"),
    EventType.ORDER_REOPENED: _reopened,
    EventType.PAYMENT_CAPTURED: _captured,
    EventType.PAYMENT_ACTION_REQUIRED: _setting(payment="requires_action"),
    EventType.PAYMENT_DECLINED: _setting(payment="declined"),
    EventType.CARD_DECLINED: _setting(payment="declined"),
    EventType.CARD_REPLACED: _setting(payment="none"),
    EventType.PAYMENT_SKIPPED: _setting(payment="skipped"),
    EventType.PAYMENT_FAILED: _setting(payment="failed"),
    EventType.PAYMENT_REFUNDED: _refunded,
    EventType.REFUNDED_BY_HAND: _refunded,
    EventType.REFUND_REQUESTED: _paid_back,
    EventType.GOODS_RETURNED: _returned,
    EventType.SHIPMENT_CREATED: lambda order, data, status: {
        "goods": "shipped", "shipment_number": data.get("shipment_number"),
    },
    EventType.POINTS_AWARDED: lambda order, data, status: {"points": data["points"]},
    EventType.POINTS_ADJUSTED: _adjusted,
}  # fmt: skip
"""What an event changes beside status, pending steps and the question for a person."""


def _line(item: Mapping[str, Any]) -> tuple[Any, ...]:
    return item["product_id"], item["quantity"], item["unit_price_minor"], item.get("freight_minor", 0)


def _adjustments(line_no: int, data: Mapping[str, Any]) -> Iterator[FoldedAdjustment]:
    for number, each in enumerate(data.get("adjustments", ()), start=1):
        yield FoldedAdjustment(line_no, number, each["kind"], each["amount_minor"])
