"""One order of a Shopify export: whether it is to be placed, and the Order that its rows make. Pure.

The first row holds what is the order's own: statuses, totals, contact. Each row holds one line.
"""

import re
from collections.abc import Mapping, Sequence
from dataclasses import replace

import msgspec

from ordermq.errors import BadInput
from ordermq.shop.adjustment import Adjustment, AdjustmentKind
from ordermq.shop.intake.amounts import adjustments_of, amount_of, instant_of
from ordermq.shop.intake.identify import customer_id_of, product_id_of
from ordermq.shop.intake.mapping import PaidOrders, ReadOptions
from ordermq.shop.intake.settling import contact_of, order_of
from ordermq.shop.intake.shopify_total import Charges, ExportedAmounts, explain
from ordermq.shop.model import Item, Order

Cells = Mapping[str, str]

NAME = "name"
NEEDED = (
    "Name", "Financial Status", "Subtotal", "Total", "Lineitem quantity", "Lineitem name", "Lineitem price",
)  # fmt: skip
POSSIBLE = (
    "id", "email", "created at", "cancelled at", "currency", "shipping", "taxes", "duties", "discount code",
    "discount amount", "refunded amount", "fulfillment status", "lineitem sku", "lineitem discount",
    "lineitem requires shipping", "shipping method", "phone", "shipping phone", "billing phone",
    "shipping name", "billing name", "payment reference", "payment id", "payment references",
)  # fmt: skip

_PAID = "paid"
_TO_BE_CHARGED = ("pending", "authorized")
_SHIPPED = ("fulfilled", "partial", "restocked")
_PHONES = ("shipping phone", "phone", "billing phone")
_NAMES = ("shipping name", "billing name")
_REFERENCES = ("payment reference", "payment id", "payment references")

_WHOLE = re.compile(r"[0-9]{1,9}", re.ASCII)
_ZERO = re.compile(r"0*(\.0*)?")


def word_against(first: Cells, options: ReadOptions) -> str | None:
    """Return the word for which the order is not to be placed, None if it is to be."""
    status = first.get("financial status", "").lower()
    shipped = first.get("fulfillment status", "").lower()
    if first.get("cancelled at"):
        return "cancelled"
    if status not in (_PAID, *_TO_BE_CHARGED):
        return status or "no Financial Status"
    if not _ZERO.fullmatch(first.get("refunded amount", "")):
        return "partially_refunded"
    if shipped in _SHIPPED:
        return shipped
    return _PAID if status == _PAID and options.paid is PaidOrders.SKIP else None


def statuses_of(first: Cells) -> str:
    """Return what the row says of the order's state, for a person."""
    names = ("Financial Status", "Fulfillment Status", "Refunded Amount", "Cancelled at")
    said = {name: first.get(name.lower()) for name in names}
    return ", ".join(f"{name} {value}" for name, value in said.items() if value)


def order_in(rows: Sequence[Cells], first: Cells, order_id: str, options: ReadOptions) -> Order:
    """Return the order of these rows, of which ``first`` holds the totals. Raises BadInput."""
    mapping = options.mapping
    currency = first.get("currency", "").upper() or mapping.currency
    if not currency:
        raise BadInput("currency: the file names none; name it as currency in the file of --mapping")
    goods = [row for row in rows if _is_line(row) and not _is_tip(row)]
    tips = [row for row in rows if _is_line(row) and _is_tip(row)]
    if not goods:
        raise BadInput("no lines of goods")
    items = [_item(row, currency, mapping.products) for row in goods]
    found = _amounts(first, currency, items, tips)
    charges = explain(found)
    code = first.get("discount code", "")
    if discounted := _discounted(goods, items, charges.discount, code, currency):
        items, charges = list(discounted), replace(charges, discount=0)
    email, created = first.get("email", ""), first.get("created at", "")
    return order_of(
        options,
        shop="shopify",
        order_id=order_id,
        customer_id=customer_id_of(email, _first_of(first, _PHONES), order_id),
        currency=currency,
        items=tuple(items),
        adjustments=_adjustments(first, charges),
        total_minor=found.total,
        contact=contact_of(_first_of(first, _PHONES), email, _first_of(first, _NAMES)),
        placed_at=instant_of(created, mapping.time_zone, "Created at") if created else None,
        is_paid=first["financial status"].lower() == _PAID,
        references=[first.get(name, "") for name in _REFERENCES],
        value_of=lambda column: first.get(column.lower(), ""),
    )


def _amounts(first: Cells, currency: str, items: Sequence[Item], tips: Sequence[Cells]) -> ExportedAmounts:
    def amount(name: str) -> int:
        return amount_of(first.get(name, ""), currency, name)

    return ExportedAmounts(
        currency=currency,
        lines=sum(item.amount_minor for item in items),
        tips=sum(
            _quantity(row) * amount_of(row["lineitem price"], currency, "lineitem price") for row in tips
        ),
        subtotal=amount("subtotal"),
        shipping=amount("shipping"),
        taxes=amount("taxes"),
        duties=amount("duties"),
        discount=amount("discount amount"),
        total=amount("total"),
    )


def _is_line(row: Cells) -> bool:
    """Return whether the row has a line: an edited order keeps removed lines with a quantity of 0."""
    quantity = row.get("lineitem quantity", "")
    has_any = quantity or row.get("lineitem name") or row.get("lineitem price") or row.get("lineitem sku")
    return bool(has_any) and quantity != "0"


def _is_tip(row: Cells) -> bool:
    return (
        row.get("lineitem name", "").lower() == "tip"
        and not row.get("lineitem sku")
        and row.get("lineitem requires shipping", "").lower() != "true"
    )


def _item(row: Cells, currency: str, products: Mapping[str, str]) -> Item:
    price = row.get("lineitem price", "")
    if not price:
        raise BadInput("lineitem price: empty")
    return Item(
        product_id=product_id_of(row.get("lineitem name", ""), row.get("lineitem sku", ""), (), products),
        quantity=_quantity(row),
        unit_price_minor=amount_of(price, currency, "lineitem price"),
    )


def _quantity(row: Cells) -> int:
    quantity = row.get("lineitem quantity", "")
    if not _WHOLE.fullmatch(quantity):
        raise BadInput(f"lineitem quantity: {quantity[:40]!r} is not a whole number")
    return int(quantity)


def _discounted(
    rows: Sequence[Cells], items: Sequence[Item], discount_minor: int, code: str, currency: str
) -> tuple[Item, ...] | None:
    """Return the items with the discounts of their own rows; None if these are not all of the discount."""
    own = [amount_of(row.get("lineitem discount", ""), currency, "lineitem discount") for row in rows]
    if not discount_minor or sum(own) != discount_minor:
        return None
    return tuple(
        msgspec.structs.replace(
            item, adjustments=adjustments_of([(AdjustmentKind.DISCOUNT, -amount_minor, code)])
        )
        for item, amount_minor in zip(items, own, strict=True)
    )


def _adjustments(first: Cells, charges: Charges) -> tuple[Adjustment, ...]:
    return adjustments_of(
        [
            (AdjustmentKind.DISCOUNT, -charges.discount, first.get("discount code", "")),
            (AdjustmentKind.SHIPPING, charges.shipping, first.get("shipping method", "")),
            (AdjustmentKind.TAX, charges.tax_on_top, ""),
            (AdjustmentKind.TAX_INCLUDED, charges.tax_included, ""),
            (AdjustmentKind.FEE, charges.duties, "Duties"),
            (AdjustmentKind.FEE, charges.tips, "Tip"),
        ]
    )


def _first_of(first: Cells, names: Sequence[str]) -> str:
    return next((value for name in names if (value := first.get(name))), "")
