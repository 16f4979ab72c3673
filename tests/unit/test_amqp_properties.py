"""Basic properties, to and from pika."""

from datetime import UTC, datetime

import pika

from ordermq.amqp.properties import from_pika, to_pika
from ordermq.message.envelope import Properties


class Long(int):
    """As pika returns 64-bit integers."""

    def __repr__(self):
        return f"{int(self)}L"


def test_what_goes_out_comes_back():
    properties = Properties(
        message_id="m",
        type="T",
        correlation_id="c",
        content_type="application/json",
        content_encoding="utf-8",
        timestamp_s=1,
        headers={"a": "b", "n": 1},
    )

    assert from_pika(to_pika(properties)) == properties


def test_every_publishing_is_persistent():
    assert to_pika(Properties()).delivery_mode == 2


def test_odd_bytes_stay_distinguishable_text():
    ids = [from_pika(pika.BasicProperties(message_id=raw)).message_id for raw in (b"\xff", b"\xfe", "ÿ")]

    assert ids == ["\\xff", "\\xfe", "ÿ"]


def test_header_values_are_of_plain_types_however_deep():
    at = datetime(2026, 1, 1, tzinfo=UTC)
    headers = {"x-death": [{"count": Long(3), "time": at, "queue": "q"}], "n": Long(2), b"\xff": True}

    plain = from_pika(pika.BasicProperties(headers=headers)).headers

    assert plain == {"x-death": [{"count": 3, "time": at, "queue": "q"}], "n": 2, "\\xff": True}
    assert "L" not in repr(plain)
    assert plain["\\xff"] is True
