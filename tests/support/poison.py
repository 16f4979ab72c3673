"""Everything a foreign client may throw at a queue."""

from datetime import UTC, datetime
from decimal import Decimal

import pika

from ordermq.message.headers import ATTEMPT, FIRST_FAILED_AT, HOP, OCCURRED_AT, REPLAYED, VERSION

GOOD = b'{"order_id":"nobody-knows-it"}'
HUGE_BYTES = 17 * 1024 * 1024

NESTED = []
for _ in range(100):
    NESTED = [NESTED]

BODIES = {
    "not UTF-8": b'{"order_id":"\xff\xfe"}',
    "UTF-16": GOOD.decode().encode("utf-16"),
    "byte order mark": b"\xef\xbb\xbf" + GOOD,
    "empty": b"",
    "truncated": GOOD[:-4],
    "nested 100,000 times": b'{"order_id":"o","x":' + b"[" * 100_000 + b"]" * 100_000 + b"}",
    "nested without an end": b"[" * 200_000,
    "an integer of 5000 digits": b'{"order_id":"o","x":' + b"9" * 5000 + b"}",
    "NaN": b'{"order_id":"o","x":NaN}',
    "infinite": b'{"order_id":"o","x":-1e999}',
    "a key twice": b'{"order_id":"a","order_id":"b"}',
    "a NUL": b'{"order_id":"a\\u0000"}',
    "a NUL elsewhere": b'{"order_id":"a","x":"\\u0000"}',
    "half of a surrogate pair": b'{"order_id":"o","x":"\\ud800"}',
    "a wrong type": b'{"order_id":7}',
    "a list": b'[{"order_id":"a"}]',
    "an id that is none": b'{"order_id":"two words"}',
    "an id too long": b'{"order_id":"' + b"x" * 300 + b'"}',
    "a negative quantity": b'{"order_id":"negative","quantity":-3}',
    "a price of 1e308": b'{"order_id":"dear","unit_price_minor":1e308}',
    "over the limit": b'{"order_id":"' + b"x" * 300_000 + b'"}',
}
PROPERTIES = {
    "unknown type": {"type": "ReserveEverything"},
    "no type": {"type": None},
    "a type that is none": {"type": "Reserve\nStock"},
    "no message_id": {"message_id": None},
    "a message_id with a space": {"message_id": "two words"},
    "a message_id too long": {"message_id": "m" * 255},
    "bad content_type": {"content_type": "application/x-python-serialize"},
    "bad content_encoding": {"content_encoding": "gzip"},
    "a correlation_id that paints": {"correlation_id": "\x1b[31mred"},
}
HEADERS = {
    "unknown schema version": {VERSION: 99},
    "version 0": {VERSION: 0},
    "a version that is text": {VERSION: "1"},
    "a version that is true": {VERSION: True},
    "a huge attempt": {ATTEMPT: 2**62},
    "an attempt that is a table": {ATTEMPT: {"a": {"b": [1, None]}}},
    "a negative hop": {HOP: -1},
    "a replay that is bytes": {REPLAYED: b"\xff"},
    "an instant that is none": {OCCURRED_AT: "yesterday"},
    "an instant without a zone": {OCCURRED_AT: datetime(2026, 1, 1, tzinfo=UTC)},
    "an instant that is deep": {FIRST_FAILED_AT: NESTED},
    "a huge header": {"x-huge": "h" * 100_000, VERSION: 99},
    "a thousand headers": {**{f"x-{n}": n for n in range(1000)}, VERSION: 99},
    "odd types": {"a": None, "b": Decimal("1.5"), "c": [b"\xff", {"d": -(2**63)}], VERSION: 99},
}
POISON = {
    **{name: ({}, body) for name, body in BODIES.items()},
    **{name: (properties, None) for name, properties in PROPERTIES.items()},
    **{name: ({"headers": headers}, None) for name, headers in HEADERS.items()},
}


def message_of(number, properties, body, of_type="ReserveStock"):
    fixed = {"message_id": f"poison-{number}", "type": of_type}
    return pika.BasicProperties(
        **fixed | properties
    ), body if body is not None else b'{"order_id":"unknown-%d"}' % number


def send_if_the_broker_takes_it(foreign, body):
    """RabbitMQ 4 refuses more than 16 MB by itself."""
    properties = pika.BasicProperties(message_id="huge", type="ReserveStock")
    try:
        foreign.basic_publish("orders", "inventory", body, properties)
    except pika.exceptions.ChannelClosedByBroker:
        return []
    return [(properties, body)]
