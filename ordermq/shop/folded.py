"""What the fold of an order's events reads and returns: events, and the order they make. Values."""

from datetime import datetime
from typing import Any

import msgspec

from ordermq.shop.events import EventType, Step
from ordermq.shop.saga import State


class HistoryEvent(msgspec.Struct, frozen=True):
    """The body of an event, but for the status that the order had after it."""

    order_id: str
    version: int
    type: EventType
    occurred_at: datetime
    step: Step | None = None
    data: dict[str, Any] = {}
    actor: str | None = None

    @property
    def by(self) -> str | None:
        """Who made it or asked for it; None where the event does not say."""
        return self.actor or self.data.get("by")


class FoldedLine(msgspec.Struct, frozen=True, array_like=True):
    """A line of an order: what was ordered, and the units that were paid back and that came back."""

    line_no: int
    product_id: str
    quantity: int
    unit_price_minor: int
    freight_minor: int = 0
    refunded: int = 0
    returned: int = 0


class FoldedAdjustment(msgspec.Struct, frozen=True, array_like=True):
    """An amount beside the items, of a line or, with ``line_no`` 0, of the whole order."""

    line_no: int
    adjustment_no: int
    kind: str
    amount_minor: int


class FoldedOrder(msgspec.Struct, frozen=True, kw_only=True):
    """What the events up to ``version`` say of an order.

    ``payment`` is none, requires_action, captured, declined, failed, skipped or refunded; ``goods`` is
    none, reserved, shipped or released. ``asks`` is the event since which a person has to look, and
    ``ended_at`` when the order reached its terminal status. ``knows_paid_back`` is False if goods came back
    under a release whose events did not say of which units no money was owed.
    """

    order_id: str
    version: int
    state: State
    customer_id: str
    currency: str
    total_minor: int
    content_sha256: str
    charge: str
    notify: str
    recorded_at: datetime
    changed_at: datetime
    ended_at: datetime | None = None
    because: str | None = None
    asks: EventType | None = None
    refunded_minor: int = 0
    payment: str = "none"
    capture_id: str | None = None
    goods: str = "none"
    shipment_number: int | None = None
    points: int | None = None
    lines: tuple[FoldedLine, ...] = ()
    adjustments: tuple[FoldedAdjustment, ...] = ()
    knows_paid_back: bool = True

    def document(self) -> dict[str, Any]:
        """Return it for JSON; the saga's state is ``status`` and ``pending``."""
        names = [each for each in self.__struct_fields__ if each not in ("state", "knows_paid_back")]
        values = {name: getattr(self, name) for name in names}
        return values | {
            "status": self.state.status.value,
            "pending": sorted(self.state.pending),
            "asks": self.asks and self.asks.value,
            "lines": [_named(each) for each in self.lines],
            "adjustments": [_named(each) for each in self.adjustments],
        }


def _named(row: FoldedLine | FoldedAdjustment) -> dict[str, Any]:
    return {name: getattr(row, name) for name in row.__struct_fields__}
