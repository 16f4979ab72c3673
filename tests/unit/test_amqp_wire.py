"""Frames of messages: what pika would have written and read, with any cut between two reads."""

import struct
from datetime import UTC, datetime
from decimal import Decimal

import pika
import pika.data
import pika.exceptions
import pika.frame
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ordermq.amqp import wire
from ordermq.amqp.wire import Receiver, publish_frames, read_properties
from ordermq.message.envelope import Delivery, Properties, Publishing

FRAME_MAX = 4096

short = st.text(max_size=40)
plain_values = st.one_of(
    st.text(max_size=60), st.integers(-(2**63), 2**63 - 1), st.booleans(), st.none(), st.binary(max_size=20)
)
values = st.recursive(
    plain_values,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(short, inner, max_size=3),
    max_leaves=6,
)
properties = st.builds(
    Properties,
    message_id=short,
    type=st.none() | short,
    correlation_id=st.none() | short,
    content_type=st.none() | short,
    content_encoding=st.none() | short,
    timestamp_s=st.none() | st.integers(0, 2**63),
    headers=st.dictionaries(short, values, max_size=5),
)
bodies = st.binary(max_size=200) | st.sampled_from([b"x" * n for n in (4087, 4088, 4089, 10_000)])


def is_written_by_pika(ours: Properties) -> bool:
    """Whether this pika would write it as we do: before 1.4 it marked a long number with another letter."""
    pieces: list[bytes] = []
    pika.data.encode_value(pieces, -(2**40))
    return pieces[0][:1] == b"l" or all(
        type(value) is not int or -(2**31) <= value < 2**31 for value in ours.headers.values()
    )


def as_pika(ours: Properties) -> pika.BasicProperties:
    return pika.BasicProperties(
        content_type=ours.content_type,
        content_encoding=ours.content_encoding,
        headers=ours.headers or None,
        delivery_mode=2,
        correlation_id=ours.correlation_id,
        message_id=ours.message_id,
        timestamp=ours.timestamp_s,
        type=ours.type,
    )


def body_frames(channel: int, body: bytes) -> list[bytes]:
    most = FRAME_MAX - 8
    return [pika.frame.Body(channel, body[at : at + most]).marshal() for at in range(0, len(body), most)]


def delivered(channel: int, tag: int, ours: pika.BasicProperties, body: bytes, *, redelivered=False) -> bytes:
    """The frames a broker sends for a message, as pika writes them."""
    method = pika.spec.Basic.Deliver("consumer", tag, redelivered, "orders", "points")
    head = pika.frame.Header(channel, len(body), ours).marshal()
    return b"".join([pika.frame.Method(channel, method).marshal(), head, *body_frames(channel, body)])


class Feed:
    """A receiver with a consumer on channel 1, a publisher on 2, and what came of what it is fed."""

    def __init__(self):
        self.passed: list[bytes] = []
        self.deliveries: list[Delivery] = []
        self.confirms: list[tuple[int, bool, bool]] = []
        self.receiver = Receiver(self.passed.append)
        self.receiver.on_delivery(1, self.deliveries.append, 7)
        self.receiver.on_confirm(2, lambda *confirm: self.confirms.append(confirm))


@given(properties.filter(is_written_by_pika), bodies, short, short)
@settings(max_examples=300)
def test_a_publishing_is_written_as_pika_writes_it(ours, body, exchange, routing_key):
    method = pika.spec.Basic.Publish(exchange=exchange, routing_key=routing_key, mandatory=True)
    expected = [
        pika.frame.Method(3, method).marshal(),
        pika.frame.Header(3, len(body), as_pika(ours)).marshal(),
        *body_frames(3, body),
    ]

    assert publish_frames(3, Publishing(exchange, routing_key, ours, body), FRAME_MAX) == b"".join(expected)


@given(properties)
@settings(max_examples=300)
def test_properties_are_read_as_they_were_written(ours):
    assert read_properties(b"".join(as_pika(ours).encode()), 0) == ours


@given(st.lists(st.tuples(properties, bodies, st.booleans()), max_size=4), st.data())
@settings(max_examples=200)
def test_every_message_arrives_whole_wherever_the_stream_was_cut(messages, data):
    frames = [
        delivered(1, tag, as_pika(ours), body, redelivered=again)
        for tag, (ours, body, again) in enumerate(messages, 1)
    ]
    heartbeat = pika.frame.Heartbeat().marshal()
    ack = pika.frame.Method(2, pika.spec.Basic.Ack(9, True)).marshal()
    nack = pika.frame.Method(2, pika.spec.Basic.Nack(10, False)).marshal()
    stream = heartbeat + ack + b"".join(frames) + nack + heartbeat
    feed = Feed()

    at = 0
    while at < len(stream):
        step = data.draw(st.integers(1, len(stream)), label="read")
        feed.receiver.feed(stream[at : at + step])
        at += step

    assert feed.deliveries == [
        Delivery(tag, 7, "orders", "points", again, ours, body)
        for tag, (ours, body, again) in enumerate(messages, 1)
    ]
    assert feed.confirms == [(9, True, False), (10, False, True)]
    assert feed.passed == [heartbeat, heartbeat]


def test_what_is_of_no_interest_is_passed_on_whole_and_in_order():
    returned = pika.frame.Method(2, pika.spec.Basic.Return(312, "NO_ROUTE", "orders", "nowhere")).marshal()
    header = pika.frame.Header(2, 2, pika.BasicProperties(message_id="m")).marshal()
    body = pika.frame.Body(2, b"{}").marshal()
    foreign_channel = delivered(5, 1, pika.BasicProperties(), b"{}")
    broken = pika.frame.Heartbeat().marshal()[:-1] + b"\x00"
    feed = Feed()

    feed.receiver.feed(returned + header + body + foreign_channel + broken)

    assert feed.passed[:3] == [returned, header, body]
    assert b"".join(feed.passed[3:-1]) == foreign_channel
    assert feed.passed[-1] == broken
    assert feed.deliveries == []


def test_a_channel_that_is_gone_leaves_nothing_behind():
    feed = Feed()
    whole = delivered(1, 1, pika.BasicProperties(), b"{}")
    feed.receiver.feed(whole[: len(whole) - 12])

    feed.receiver.forget(1)
    feed.receiver.on_delivery(1, feed.deliveries.append, 8)
    feed.receiver.feed(whole[len(whole) - 12 :] + delivered(1, 1, pika.BasicProperties(), b"[]"))

    assert [(each.epoch, each.body) for each in feed.deliveries] == [(8, b"[]")]


def test_odd_bytes_stay_distinguishable_text():
    raw = [b"\xff", b"\xfe", "ÿ".encode()]

    ids = [read_properties(b"\x00\x80" + bytes([len(each)]) + each, 0).message_id for each in raw]

    assert ids == ["\\xff", "\\xfe", "ÿ"]


def test_header_values_are_of_plain_types_however_deep():
    at = datetime(2026, 1, 1, tzinfo=UTC)
    headers = {"x-death": [{"count": 2**40, "time": at, "queue": "q"}], "n": 2**33, "d": Decimal("1.5")}

    read = read_properties(b"".join(pika.BasicProperties(headers=headers).encode()), 0).headers

    time = read["x-death"][0].pop("time")
    assert time.replace(tzinfo=UTC) == headers["x-death"][0].pop("time")  # naive before pika 1.4
    assert read == headers
    assert type(read["x-death"][0]["count"]) is int
    assert "L" not in repr(read["n"])


def test_a_short_string_of_a_client_with_every_property_is_skipped_where_nobody_reads_it():
    theirs = pika.BasicProperties(
        content_type="application/json", priority=3, reply_to="r", expiration="60000", message_id="m",
        timestamp=5, type="T", user_id="guest", app_id="a", cluster_id="c",
    )  # fmt: skip

    read = read_properties(b"".join(theirs.encode()), 0)

    assert read == Properties("m", "T", None, "application/json", None, 5, {})


@pytest.mark.parametrize(
    ("bad", "error"),
    [
        ({"headers": {"price": 1.5}}, TypeError),
        ({"headers": {"inner": [{"price": float("nan")}]}}, TypeError),
        ({"headers": {"n": 2**70}}, struct.error),
        ({"headers": {"long": "x" * FRAME_MAX}}, ValueError),
        ({"message_id": "x" * 256}, pika.exceptions.ShortStringTooLong),
        ({"type": "é" * 128}, pika.exceptions.ShortStringTooLong),
        ({"message_id": "\ud800"}, UnicodeEncodeError),
        ({"message_id": b"raw"}, AttributeError),
        ({"timestamp_s": -1}, struct.error),
    ],
)
def test_what_amqp_cannot_carry_raises_before_a_byte_is_written(bad, error):
    with pytest.raises(error):
        publish_frames(1, Publishing("", "work", Properties(**bad), b"{}"), FRAME_MAX)


def test_names_that_come_from_outside_are_remembered_only_so_many():
    for number in range(5000):
        raw = b"key-%d" % number
        read_properties(b"\x00\x20" + bytes([len(raw)]) + raw, 0)

    assert wire._name.cache_info().currsize <= 1024
