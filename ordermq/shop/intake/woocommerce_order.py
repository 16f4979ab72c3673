"""The Order that one order of WooCommerce makes. Pure.

Amounts come from the totals and never from ``price``, which is a float that was not rounded. Totals of
lines are without tax, also in a shop whose prices include it; the tax stands beside them. Shipping and
fees are taken with their tax.

    unit price    subtotal of the line / quantity, rounded down; what is left is a ``rounding``
    discount      total of the line - its subtotal
    tax           total_tax of the line

The parts may differ from ``total``, because the shop may round the tax of all lines at once: by half a
unit of the last decimal that the shop writes for each amount, and by one unit at least. The difference
is a ``rounding`` of the order.
"""

from collections.abc import Callable, Iterator, Sequence
from datetime import UTC, datetime
from decimal import Decimal
from html import unescape
from typing import Any

import msgspec

from ordermq.errors import BadInput
from ordermq.shop.adjustment import Adjustment, AdjustmentKind, sum_of
from ordermq.shop.intake.amounts import adjustments_of, amount_of, decimal_of, instant_of, rounded
from ordermq.shop.intake.identify import customer_id_of, product_id_of
from ordermq.shop.intake.mapping import ReadOptions
from ordermq.shop.intake.settling import contact_of, order_of
from ordermq.shop.model import Item, Order
from ordermq.shop.money import decimals_of, written

Text = str | int | None
Amount = Any  # a decimal as text; plug-ins write numbers


class _Line(msgspec.Struct):
    """A line of goods, of shipping or a fee: all have a name and a total without tax."""

    name: Text = ""
    method_title: Text = ""
    product_id: Text = 0
    variation_id: Text = 0
    sku: Text = ""
    quantity: Amount = 0
    subtotal: Amount = None
    total: Amount = None
    total_tax: Amount = None


class _Address(msgspec.Struct):
    first_name: Text = ""
    last_name: Text = ""
    email: Text = ""
    phone: Text = ""


class _GiftCard(msgspec.Struct):
    amount: Amount = None


class StoreOrder(msgspec.Struct):
    """An order as the REST API answers it, with the fields that are used."""

    id: int | str
    status: str
    total: Amount
    line_items: list[_Line]
    currency: str | None = None
    date_created: str | None = None
    date_created_gmt: str | None = None
    date_paid: Text = None
    date_paid_gmt: Text = None
    transaction_id: Text = ""
    customer_id: Text = 0
    billing: _Address | list[Any] | None = None
    shipping: _Address | list[Any] | None = None
    shipping_lines: list[_Line] | None = None
    shipping_total: Amount = None
    shipping_tax: Amount = None
    fee_lines: list[_Line] | None = None
    gift_cards: list[_GiftCard] | None = None
    refunds: list[Any] | None = None

    @property
    def is_paid(self) -> bool:
        """Whether the money was taken before: it has a date, or a payment that is under way no longer."""
        has_payment = bool(self.transaction_id) and self.status.lower() == "processing"
        return bool(self.date_paid or self.date_paid_gmt) or has_payment


def order_in(
    source: StoreOrder, order_id: str, options: ReadOptions, value_of: Callable[[str], str]
) -> Order:
    """Return the order. ``value_of`` returns any field's value. Raises BadInput."""
    currency = (source.currency or "").strip().upper() or options.mapping.currency
    if not currency:
        raise BadInput("currency: the file names none; name it as currency in the file of --mapping")
    lines = [each for each in source.line_items if not _is_removed(each)]
    if not lines:
        raise BadInput("no lines of goods")
    items = tuple(_item(each, currency, options) for each in lines)
    total_minor = amount_of(_text(source.total), currency, "total")
    parts = _parts(source, currency)
    rounding = total_minor - sum(item.amount_minor for item in items) - sum_of(parts)
    _check_rounding(rounding, source, lines, currency, total_minor)
    billing, shipping = _address(source.billing), _address(source.shipping)
    phone, email = _text(billing.phone) or _text(shipping.phone), _text(billing.email)
    return order_of(
        options,
        shop="woocommerce",
        order_id=order_id,
        customer_id=_customer_id(source, email, phone, order_id),
        currency=currency,
        items=items,
        adjustments=(*parts, *adjustments_of([(AdjustmentKind.ROUNDING, rounding, "")])),
        total_minor=total_minor,
        contact=contact_of(phone, email, _name(billing) or _name(shipping)),
        placed_at=_placed_at(source, options),
        is_paid=source.is_paid,
        references=[_text(source.transaction_id)],
        value_of=value_of,
    )


def _item(line: _Line, currency: str, options: ReadOptions) -> Item:
    quantity = _quantity(line)
    net, tax = _amount(line.total, "total of a line"), _amount(line.total_tax, "total_tax of a line")
    net_minor, gross_minor = rounded(net, currency), rounded(net + tax, currency)
    # A plug-in may have raised the total above the subtotal: then there is no discount.
    before_minor = max(net_minor, rounded(_amount(line.subtotal, "subtotal of a line"), currency))
    unit_price_minor, rest = divmod(before_minor, quantity)
    name = unescape(_text(line.name))
    ids = [text for each in (line.variation_id, line.product_id) if (text := _text(each)) not in ("", "0")]
    return Item(
        product_id=product_id_of(name, _text(line.sku), ids, options.mapping.products),
        quantity=quantity,
        unit_price_minor=unit_price_minor,
        adjustments=adjustments_of(
            [
                (AdjustmentKind.ROUNDING, rest, ""),
                (AdjustmentKind.DISCOUNT, net_minor - before_minor, ""),
                (AdjustmentKind.TAX, gross_minor - net_minor, ""),
            ]
        ),
    )


def _parts(source: StoreOrder, currency: str) -> tuple[Adjustment, ...]:
    """Return the adjustments of the order: shipping, fees and gift cards."""
    found: list[tuple[AdjustmentKind, int, str]] = []
    shipping = _amount(source.shipping_total, "shipping_total") + _amount(source.shipping_tax, "shipping_tax")
    methods = ", ".join(_text(each.method_title) for each in source.shipping_lines or ())
    found.append((AdjustmentKind.SHIPPING, rounded(shipping, currency), unescape(methods)))
    for each in source.fee_lines or ():
        fee = _amount(each.total, "total of a fee") + _amount(each.total_tax, "total_tax of a fee")
        found.append((AdjustmentKind.FEE, rounded(fee, currency), unescape(_text(each.name))))
    for card in source.gift_cards or ():
        paid_minor = rounded(abs(_amount(card.amount, "amount of a gift card")), currency)
        found.append((AdjustmentKind.GIFT_CARD, -paid_minor, ""))
    return adjustments_of(found)


def _check_rounding(
    rounding: int, source: StoreOrder, lines: Sequence[_Line], currency: str, total_minor: int
) -> None:
    """Raise BadInput if the parts differ from the total by more than their rounding explains."""
    amounts = [amount for amount in _amounts(source, lines) if amount]
    shown = max(-int(amount.as_tuple().exponent) for amount in (*amounts, _amount(source.total, "total")))
    unit_minor = 10 ** max(0, decimals_of(currency) - shown)
    if abs(rounding) > unit_minor * max(1, len(amounts) // 2):
        raise BadInput(
            f"total differs from its parts: the lines with tax, shipping and fees come to"
            f" {written(total_minor - rounding, currency)}, but total is {written(total_minor, currency)}"
        )


def _amounts(source: StoreOrder, lines: Sequence[_Line]) -> Iterator[Decimal]:
    """Yield the amounts that the shop rounded, each on its own."""
    yield _amount(source.shipping_total, "shipping_total")
    yield _amount(source.shipping_tax, "shipping_tax")
    for each in (*lines, *(source.fee_lines or ())):
        yield _amount(each.total, "total of a line")
        yield _amount(each.total_tax, "total_tax of a line")


def _is_removed(line: _Line) -> bool:
    return _amount(line.quantity, "quantity") == 0 and not _amount(line.total, "total of a line")


def _quantity(line: _Line) -> int:
    quantity = _amount(line.quantity, "quantity")
    if quantity != int(quantity) or quantity < 1:
        raise BadInput(f"quantity: {str(quantity)[:40]} is not a whole number from 1")
    return int(quantity)


def _placed_at(source: StoreOrder, options: ReadOptions) -> datetime | None:
    if source.date_created_gmt:
        return instant_of(source.date_created_gmt, UTC, "date_created_gmt")
    if source.date_created:
        return instant_of(source.date_created, options.mapping.time_zone, "date_created")
    return None


def _customer_id(source: StoreOrder, email: str, phone: str, order_id: str) -> str:
    """Return the shop's id of a customer; 0 is every guest, so a guest is known by the address."""
    customer = _text(source.customer_id)
    is_known = customer.isascii() and customer.isdigit() and int(customer) > 0
    return customer if is_known else customer_id_of(email, phone, order_id)


def _address(found: _Address | list[Any] | None) -> _Address:
    return found if isinstance(found, _Address) else _Address()  # PHP writes an empty one as a list


def _name(address: _Address) -> str:
    return f"{_text(address.first_name)} {_text(address.last_name)}".strip()


def _amount(value: Amount, field: str) -> Decimal:
    if value is None:
        return Decimal(0)
    if isinstance(value, bool) or not isinstance(value, str | int | Decimal):
        raise BadInput(f"{field}: {str(value)[:40]!r} is not an amount like 12.99")
    return decimal_of(f"{value:f}" if isinstance(value, Decimal) else str(value), field)


def _text(value: object) -> str:
    return "" if value is None else str(value).strip()
