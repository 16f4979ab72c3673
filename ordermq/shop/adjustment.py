"""What an order or one of its lines costs more or less than its items: discounts, taxes, fees. Pure."""

import re
from collections.abc import Iterable, Mapping
from enum import StrEnum

import msgspec

from ordermq.errors import BadInput
from ordermq.shop.fields import MAX_AMOUNT_MINOR, check_int, check_text

MAX_ADJUSTMENTS = 100  # of an order, and of each line

_LABEL = re.compile(r"[^\x00-\x1f\x7f\ud800-\udfff]{0,200}")


class AdjustmentKind(StrEnum):
    """Why an amount is added. ``tax_included`` is part of the prices already, so no sum has it."""

    DISCOUNT = "discount"
    GIFT_CARD = "gift_card"
    SHIPPING = "shipping"
    TAX = "tax"
    TAX_INCLUDED = "tax_included"
    FEE = "fee"
    ROUNDING = "rounding"


_SIGNED = (-MAX_AMOUNT_MINOR, MAX_AMOUNT_MINOR)
_BOUNDS: Mapping[AdjustmentKind, tuple[int, int]] = {
    AdjustmentKind.DISCOUNT: (-MAX_AMOUNT_MINOR, 0),
    AdjustmentKind.GIFT_CARD: (-MAX_AMOUNT_MINOR, 0),
    AdjustmentKind.SHIPPING: (0, MAX_AMOUNT_MINOR),
    AdjustmentKind.TAX: (0, MAX_AMOUNT_MINOR),
    AdjustmentKind.TAX_INCLUDED: (0, MAX_AMOUNT_MINOR),
    AdjustmentKind.FEE: _SIGNED,
    AdjustmentKind.ROUNDING: _SIGNED,
}
_KINDS = {kind.value: kind for kind in AdjustmentKind}


class Adjustment(msgspec.Struct, frozen=True, order=True, omit_defaults=True):
    """An amount in minor units that is added to an order or a line; one that lowers it is negative.

    ``discount`` and ``gift_card`` are never above 0; ``shipping``, ``tax`` (on top) and
    ``tax_included`` (for information) never below; ``fee`` and ``rounding`` may be either.
    ``label`` is for people, such as the discount's code. Raises BadInput.
    """

    kind: AdjustmentKind
    amount_minor: int
    label: str = ""

    def __post_init__(self) -> None:
        kind = _KINDS.get(self.kind)
        if kind is None:
            raise BadInput(f"adjustments: {repr(self.kind)[:40]} is not one of {', '.join(_KINDS)}")
        msgspec.structs.force_setattr(self, "kind", kind)  # a caller may write "discount"
        check_int(f"adjustments, {kind}", self.amount_minor, *_BOUNDS[kind])
        allowed = "at most 200 characters without control characters"
        check_text("adjustments, label", self.label, _LABEL, allowed, is_secret=True)


def sum_of(adjustments: Iterable[Adjustment]) -> int:
    """Return what these add to the price."""
    return sum(each.amount_minor for each in adjustments if each.kind is not AdjustmentKind.TAX_INCLUDED)
