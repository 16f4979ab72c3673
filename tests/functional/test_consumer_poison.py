"""Everything a foreign client may throw at a queue, against a real consumer process."""

from collections import Counter
from datetime import UTC, datetime
from decimal import Decimal
from pathlib import Path

import pika
import pytest

from ordermq.message.headers import ATTEMPT, FIRST_FAILED_AT, HOP, OCCURRED_AT, REPLAY, VERSION
from ordermq.testing import wait_until
from tests.support.shop import an_order

GOOD = b'{"order_id":"nobody-knows-it"}'
HUGE_BYTES = 17 * 1024 * 1024
GROWS_BY_MB = 400  # measured: 160, from 44; nearly all of it is the one huge body

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
    "a replay that is bytes": {REPLAY: b"\xff"},
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


@pytest.fixture
def foreign(vhost):
    """A channel of a client that knows nothing of us."""
    broker = vhost.broker
    credentials = pika.PlainCredentials(broker.username, broker.password)
    parameters = pika.ConnectionParameters("127.0.0.1", broker.port, vhost.name, credentials)
    with pika.BlockingConnection(parameters) as connection:
        channel = connection.channel()
        channel.confirm_delivery()
        yield channel


def test_every_poison_ends_as_one_dead_letter_and_costs_neighbours_and_memory_nothing(pipeline, foreign):
    pipeline.stock(p_1=100)
    pipeline.begin("relay", "inventory")
    pipeline.wait_ready()
    consumer = pipeline.process("inventory")
    before_mb = peak_mb(consumer)
    messages = [message_of(number, *poison) for number, poison in enumerate(POISON.values())]
    huge = b'{"order_id":"' + b"x" * HUGE_BYTES + b'"}'

    pipeline.place([an_order(f"o-{n}") for n in range(20)])
    for properties, body in [*messages, *messages]:  # twice, as after a restart of the broker
        foreign.basic_publish("orders", "inventory", body, properties)
    messages += send_if_the_broker_takes_it(foreign, huge)
    pipeline.place([an_order(f"o-{n}") for n in range(20, 40)])

    pipeline.wait_for(40, "reserved")
    wait_until(lambda: graves(pipeline) >= len(messages), 20, what="every poison in its grave")
    grown_mb = peak_mb(consumer) - before_mb
    assert consumer.poll() is None
    assert pipeline.stop("inventory") == {"inventory": 0}
    assert pipeline.depth("inventory") == 0
    kept = Counter(bytes(body) for (body,) in pipeline.rows("SELECT body FROM ordermq.dead_letters"))
    assert kept == Counter(body for _, body in messages)
    assert pipeline.count("reserved") == 40
    assert pipeline.value("SELECT count(*) FROM ordermq.starts") == 0
    assert grown_mb < GROWS_BY_MB


def message_of(number, properties, body):
    fixed = {"message_id": f"poison-{number}", "type": "ReserveStock"}
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


def graves(pipeline):
    return pipeline.value("SELECT count(*) FROM ordermq.dead_letters")


def peak_mb(process):
    """The most memory the process has ever held."""
    lines = Path(f"/proc/{process.pid}/status").read_text().splitlines()
    [peak_kb] = [int(line.split()[1]) for line in lines if line.startswith("VmHWM:")]
    return peak_kb / 1024
