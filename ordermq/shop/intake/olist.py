"""Olist's Brazilian orders: one JSON object for each line, money in BRL as decimal numbers.

    {order_id, customer_id, status, purchased_at, approved_at|null,
     items: [{product_id, seller_id, price, freight}], payments: [{type, installments, value}]}

One item entry is one unit. An order is refused if it has no items, no payments, or
payments that differ from its total (price + freight) by more than 0.01: then nothing says
what was sold or what was paid.

The source has no card and no phone. An order gets a card token that the sandbox payment
service approves, and a phone number that is made of its customer_id, in a range that is
not in use. So the same file always gives the same orders.
"""

import hashlib
from collections.abc import Iterable, Iterator
from datetime import datetime
from decimal import Decimal

import msgspec

from ordermq.cli.records import Line, Reject, reject
from ordermq.errors import BadInput
from ordermq.shop.intake.record import Entry, decode, order_id_in
from ordermq.shop.model import Contact, Item, Order
from ordermq.shop.money import minor_units, written

CURRENCY = "BRL"
CARD_TOKEN = "tok_olist_0001"  # noqa: S105 # a card of the sandbox that is approved, not a real one
TOLERANCE_MINOR = 1


class _Item(msgspec.Struct):
    product_id: str
    price: Decimal
    freight: Decimal


class _Payment(msgspec.Struct):
    value: Decimal


class _Order(msgspec.Struct):
    order_id: str
    customer_id: str
    purchased_at: datetime
    items: list[_Item]
    payments: list[_Payment]


def read_olist(lines: Iterable[Line | Reject]) -> Iterator[Entry | Reject]:
    """Yield the order of each line, or a reject. Never raises because of a line."""
    for line in lines:
        if isinstance(line, Reject):
            yield line
            continue
        try:
            yield Entry(line.number, _order(decode(line.text, _Order)))
        except BadInput as exc:
            yield reject(line, exc, order_id_in(line.text))


def sandbox_phone(customer_id: str) -> str:
    """Return the customer's number: +55 00 and eight digits. No Brazilian area code is 00.

    The last digit is 1, because some other endings mean a fault to the sandbox SMS service.
    """
    digits = int.from_bytes(hashlib.sha256(customer_id.encode()).digest()[:8], "big") % 10**7
    return f"+5500{digits:07}1"


def _order(source: _Order) -> Order:
    if not source.items:
        raise BadInput("no items")
    if not source.payments:
        raise BadInput("no payments")
    items = tuple(
        Item(
            product_id=each.product_id,
            quantity=1,
            unit_price_minor=minor_units(each.price, CURRENCY, "price"),
            freight_minor=minor_units(each.freight, CURRENCY, "freight"),
        )
        for each in source.items
    )
    total_minor = sum(item.amount_minor for item in items)
    paid_minor = sum(minor_units(each.value, CURRENCY, "payment value") for each in source.payments)
    if abs(paid_minor - total_minor) > TOLERANCE_MINOR:
        raise BadInput(
            f"payments differ from the total: {written(paid_minor, CURRENCY)} paid,"
            f" {written(total_minor, CURRENCY)} ordered"
        )
    return Order(
        order_id=source.order_id,
        customer_id=source.customer_id,
        currency=CURRENCY,
        items=items,
        total_minor=total_minor,
        card_token=CARD_TOKEN,
        contact=Contact(phone=sandbox_phone(source.customer_id)),
        placed_at=source.purchased_at,
    )
