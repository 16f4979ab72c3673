"""Which columns follow from the events of an order, and where a row differs from them. Pure.

    table                   columns that follow
    shop.orders             customer_id, currency, total_minor, content_sha256, charge, notify, status,
                            pending, version, refunded_minor; whether attention_reason and terminal_at
                            are set
    shop.order_items        all
    shop.order_adjustments  all but label
    shop.shipments          shipment_number

``notify`` follows where the first event says it; what is stored tells it of older histories. So does
``refunded`` of lines whose goods came back before the event said which of them were paid back.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import msgspec

from ordermq.errors import EventUnreadable, IllegalEvent
from ordermq.shop.fold import fold
from ordermq.shop.folded import FoldedAdjustment, FoldedLine, FoldedOrder
from ordermq.shop.recorded import read_history

ORDERS, ITEMS = "shop.orders", "shop.order_items"
ADJUSTMENTS, SHIPMENTS, EVENTS = "shop.order_adjustments", "shop.shipments", "shop.order_events"

# What can be written anew without knowing more than the events do.
_REPAIRED = frozenset({ORDERS, ITEMS})

_ATTENTION, _TERMINAL = "attention_reason", "terminal_at"


class StoredOrder(NamedTuple):
    """An order as its rows have it, read in one snapshot; the JSON texts are None where there is no row."""

    order_id: str
    customer_id: str
    currency: str
    total_minor: int
    content_sha256: str
    charge: str
    notify: str
    status: str
    pending: Sequence[str]
    version: int
    refunded_minor: int
    has_attention: bool
    has_terminal: bool
    shipment_number: int | None
    bodies: str | None
    items: str | None
    adjustments: str | None
    is_archived: bool = False


@dataclass(frozen=True, slots=True)
class Difference:
    """A value that is not what the events say. ``key`` is the row within the order, "" if there is but one.

    ``stored`` or ``folded`` is None if there is no such row, or should be none. ``is_repairable`` says
    whether ``projection rebuild`` can put it right.
    """

    order_id: str
    table: str
    key: str
    column: str
    stored: Any
    folded: Any

    @property
    def is_repairable(self) -> bool:
        """Whether the events hold all that the right row needs."""
        return self.table in _REPAIRED


@dataclass(frozen=True, slots=True)
class Compared:
    """An order with its fold, None if its history has none, and how its rows differ."""

    stored: StoredOrder
    order: FoldedOrder | None
    differences: Sequence[Difference]

    @property
    def events(self) -> int:
        """How many events were folded."""
        return self.order.version if self.order else 0


def compare(stored: StoredOrder) -> Compared:
    """Fold the events of an order and compare its rows with them; those of the archive are left alone."""
    if stored.is_archived:
        return Compared(stored, None, [])
    try:
        order = fold(read_history(stored.bodies or "[]"), notify=stored.notify)
    except (EventUnreadable, IllegalEvent) as exc:
        return Compared(stored, None, [_impossible(stored, str(exc))])
    if order is None:
        return Compared(stored, None, [_impossible(stored, "there are no events")])
    lines: list[FoldedLine] = _lines.decode(stored.items or "[]")
    if not order.knows_paid_back:
        order = _with_paid_back(order, lines)
    found = [
        Difference(stored.order_id, ORDERS, "", column, mine, right)
        for column, mine, right in _columns(stored, order)
        if mine != right
    ]
    if order.shipment_number != stored.shipment_number:
        mine, right = stored.shipment_number, order.shipment_number
        found.append(Difference(stored.order_id, SHIPMENTS, "", "shipment_number", mine, right))
    if tuple(lines) != order.lines:
        found += _rows(stored.order_id, ITEMS, lines, order.lines)
    adjustments: list[FoldedAdjustment] = _adjustments.decode(stored.adjustments or "[]")
    if tuple(adjustments) != order.adjustments:
        found += _rows(stored.order_id, ADJUSTMENTS, adjustments, order.adjustments)
    return Compared(stored, order, found)


def _impossible(stored: StoredOrder, why: str) -> Difference:
    return Difference(stored.order_id, EVENTS, "", "body", why, None)


def _with_paid_back(order: FoldedOrder, stored: Iterable[FoldedLine]) -> FoldedOrder:
    """Return the order with the units that its rows have as paid back, which its events do not say."""
    paid_back = {each.line_no: each.refunded for each in stored}
    lines = tuple(
        msgspec.structs.replace(each, refunded=paid_back.get(each.line_no, each.refunded))
        for each in order.lines
    )
    return msgspec.structs.replace(order, lines=lines)


def _columns(stored: StoredOrder, order: FoldedOrder) -> Iterator[tuple[str, Any, Any]]:
    state = order.state
    yield "version", stored.version, order.version
    yield "status", stored.status, state.status.value
    yield "pending", sorted(stored.pending), sorted(state.pending)
    yield "refunded_minor", stored.refunded_minor, order.refunded_minor
    yield _ATTENTION, stored.has_attention, order.asks is not None
    yield _TERMINAL, stored.has_terminal, order.ended_at is not None
    yield "customer_id", stored.customer_id, order.customer_id
    yield "currency", stored.currency, order.currency
    yield "total_minor", stored.total_minor, order.total_minor
    yield "content_sha256", stored.content_sha256, order.content_sha256
    yield "charge", stored.charge, order.charge
    yield "notify", stored.notify, order.notify


def values_of(compared: Compared, columns: Iterable[str]) -> tuple[Any, ...]:
    """Return what these columns of ``shop.orders`` should hold, as SQL takes them."""
    order = compared.order
    assert order is not None  # noqa: S101 # without a fold nothing of shop.orders differs
    special: Mapping[str, Any] = {
        "status": order.state.status.value,
        "pending": sorted(order.state.pending),
        "content_sha256": bytes.fromhex(order.content_sha256),
        _ATTENTION: order.asks and f"{order.asks}: see 'ordermq order history {order.order_id}'",
        _TERMINAL: order.ended_at,
    }
    return tuple(special[each] if each in special else getattr(order, each) for each in columns)


def _rows(
    order_id: str,
    table: str,
    stored: Iterable[FoldedLine | FoldedAdjustment],
    folded: Iterable[FoldedLine | FoldedAdjustment],
) -> Iterator[Difference]:
    """Yield how rows differ: by column where both have the row, else as a whole."""
    mine, right = _by_key(stored), _by_key(folded)
    for key in sorted(mine.keys() | right.keys()):
        old, new = mine.get(key), right.get(key)
        name = "line " + " adjustment ".join(map(str, key))
        if old is None or new is None:
            whole = [
                each and dict(zip(each.__struct_fields__, msgspec.structs.astuple(each), strict=True))
                for each in (old, new)
            ]
            yield Difference(order_id, table, name, "*", *whole)
            continue
        for column in new.__struct_fields__:
            if getattr(old, column) != getattr(new, column):
                yield Difference(order_id, table, name, column, getattr(old, column), getattr(new, column))


def _by_key(
    rows: Iterable[FoldedLine | FoldedAdjustment],
) -> dict[tuple[int, ...], FoldedLine | FoldedAdjustment]:
    return {
        (each.line_no, each.adjustment_no) if isinstance(each, FoldedAdjustment) else (each.line_no,): each
        for each in rows
    }


_lines = msgspec.json.Decoder(list[FoldedLine])
_adjustments = msgspec.json.Decoder(list[FoldedAdjustment])
