"""What all contenders send: an order of about 300 bytes, the same properties if they choose them."""

from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Any

import pika

from ordermq.message.envelope import Envelope, Publishing
from ordermq.message.headers import to_properties
from ordermq.message.payload import Payload, encode

PREFIX = "orders"
QUEUE = "bench"
FULL_QUEUE = f"{PREFIX}.{QUEUE}"
PRODUCTS = 100

_OCCURRED_AT = datetime(2026, 3, 1, 10, 15, 30, tzinfo=UTC)
_TRACEPARENT = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"


class Order(Payload, frozen=True, kw_only=True):
    """One line of an order, and where it goes."""

    order_id: str
    customer_id: str
    product_id: str
    quantity: int
    unit_price_minor: int
    currency: str
    name: str
    street: str
    city: str
    postal_code: str
    country: str


def values(number: int) -> dict[str, Any]:
    """Return the order as a framework takes it that makes JSON of what it is given."""
    return {
        "order_id": f"2026-03-01-{number:08}",
        "customer_id": f"customer-{number % 5000:06}",
        "product_id": product(number),
        "quantity": quantity(number),
        "unit_price_minor": 4995,
        "currency": "EUR",
        "name": "Wilhelmine Obermayer-Schmidt",
        "street": "Lange Strasse beim Alten Markt 117",
        "city": "Frankfurt am Main",
        "postal_code": "60311",
        "country": "DE",
    }


def product(number: int) -> str:
    """Return what the order is for; each of the products in its turn."""
    return f"sku-{number % PRODUCTS:04}"


def quantity(number: int) -> int:
    return 1 + number % 3


def body(number: int) -> bytes:
    """Return the order's JSON."""
    return encode(Order(**values(number)))


def message_id(number: int) -> str:
    return f"2026-03-01-{number:08}:1:{QUEUE}"


def envelope(number: int) -> Envelope:
    return Envelope(
        message_id=message_id(number),
        type="Order",
        version=1,
        correlation_id=f"2026-03-01-{number:08}",
        traceparent=_TRACEPARENT,
        occurred_at=_OCCURRED_AT,
    )


def publishings(numbers: range) -> Iterator[Publishing]:
    """Return ordermq's publishings."""
    for number in numbers:
        yield Publishing(PREFIX, QUEUE, to_properties(envelope(number)), body(number))


def for_pika(numbers: range) -> Iterator[tuple[pika.BasicProperties, bytes]]:
    """Return the same messages in pika's words."""
    for each in publishings(numbers):
        properties = each.properties
        yield (
            pika.BasicProperties(
                message_id=properties.message_id,
                type=properties.type,
                correlation_id=properties.correlation_id,
                content_type=properties.content_type,
                timestamp=properties.timestamp_s,
                headers=dict(properties.headers),
                delivery_mode=2,
            ),
            each.body,
        )
