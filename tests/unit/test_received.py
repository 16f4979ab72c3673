"""Reading deliveries: what each becomes, and that none stops its neighbours."""

import json
import re
import sys

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from msgspec.structs import replace

from ordermq.amqp import wire
from ordermq.consumer import received
from ordermq.consumer.received import Unreadable
from ordermq.message.envelope import MAX_HOP, Delivery, Properties, Publishing
from ordermq.message.headers import (
    ATTEMPT,
    FIRST_FAILED_AT,
    HOP,
    LAST_ERROR,
    MAX_ERROR_CHARS,
    OCCURRED_AT,
    REPLAYED,
    TRACEPARENT,
    VERSION,
    to_properties,
)
from ordermq.message.payload import Payload
from ordermq.task import DONE, Registry, handler
from ordermq.task.handler import handler_of, handlers_in


class Reserve(Payload):
    order_id: str


class Release(Payload):
    order_id: str


@handler(queue="stock", message=Reserve, key="order_id", batch=10)
def reserve(messages, tx):
    return [DONE] * len(messages)


@handler(queue="stock", message=Release, key="order_id")
def release(message, tx):
    return DONE


ONE = Registry(handlers_in({"reserve": reserve}))
TWO = Registry(handlers_in({"reserve": reserve, "release": release}))


def delivery(tag, body=b'{"order_id":"o1"}', *, redelivered=False, headers=None, **properties):
    return Delivery(
        tag, 1, "orders", "stock", redelivered, Properties(headers=headers or {}, **properties), body
    )


def plan(deliveries, queue, registry):
    return received.plan(received.read(deliveries, queue, registry), queue, registry)


def read(delivery, queue, registry):
    """Return what becomes of one delivery, decoded or found unreadable."""
    [message] = received.read([delivery], queue, registry)
    return received.decode(message, queue, registry)


def test_a_plain_body_from_any_client_is_handled():
    [[message]] = plan([delivery(1)], "stock", ONE).batches

    assert message.handler is handler_of(reserve)
    assert message.payload == Reserve(order_id="o1")
    assert message.envelope.message_id.startswith("sha256:")
    assert (message.envelope.correlation_id, message.envelope.attempt, message.envelope.hop) == ("o1", 1, 0)


def test_the_same_bytes_without_an_id_are_one_message_with_two_tags():
    [[message]] = plan([delivery(1), delivery(2)], "stock", ONE).batches
    assert message.tags == (1, 2)


def test_of_two_hops_of_one_message_the_later_is_handled():
    first = delivery(1, message_id="m", headers={HOP: 0})
    second = delivery(2, message_id="m", headers={HOP: 1, ATTEMPT: 2})
    for order in ([first, second], [second, first]):
        [[message]] = plan(order, "stock", ONE).batches
        assert message.envelope.hop == 1
        assert sorted(message.tags) == [1, 2]


@pytest.mark.parametrize(("sent", "read"), [(1_000_001, 1_000_001), (2**31 - 1, MAX_HOP), (2**62, MAX_HOP)])
def test_a_message_sent_again_however_often_is_read_at_its_hop_or_the_highest(sent, read):
    [[message]] = plan([delivery(1, headers={HOP: sent, ATTEMPT: 2**40})], "stock", ONE).batches
    assert (message.envelope.hop, message.envelope.attempt) == (read, 1_000_000)


def test_of_two_messages_that_share_an_id_neither_is_acked_with_the_other():
    good, garbage = delivery(1, message_id="m"), delivery(2, b"{", message_id="m", headers={HOP: 3})
    broken = delivery(3, message_id="m", headers={HOP: 9, ATTEMPT: "x"})
    for order in ([good, garbage, broken], [broken, garbage, good]):
        todo = plan(order, "stock", ONE)
        assert [[message.tags for message in batch] for batch in todo.batches] == [[(1,)]]
        assert sorted(message.tags for message in todo.unreadable) == [(2,), (3,)]


def test_a_batch_never_has_two_messages_of_one_id():
    bodies = [b'{"order_id":"o1"}', b'{"order_id":"o2"}']
    arrived = [delivery(n, body, message_id="m") for n, body in enumerate(bodies)]
    assert [len(batch) for batch in plan(arrived, "stock", ONE).batches] == [1, 1]


def test_neighbours_of_unreadable_messages_keep_their_order_and_their_batches():
    todo = plan(
        [
            delivery(1, message_id="a", type="Reserve"),
            delivery(2, b"\xff", message_id="b", type="Reserve"),
            delivery(3, message_id="c", type="Reserve"),
            delivery(4, message_id="d", type="Release"),
            delivery(5, message_id="e", type="Other"),
            delivery(6, message_id="f"),
            delivery(7, message_id="g", type="Reserve", headers={VERSION: 2}),
        ],
        "stock",
        TWO,
    )
    assert [[message.tags for message in batch] for batch in todo.batches] == [[(1,), (3,)], [(4,)]]
    assert {message.tags[0]: message.fault.split(":")[0] for message in todo.unreadable} == {
        2: "MalformedMessage",
        5: "UnknownMessageType",
        6: "MalformedMessage",
        7: "UnsupportedVersion",
    }


@pytest.mark.parametrize(
    ("bad", "why"),
    [
        ({"message_id": "a b"}, "message_id is not"),
        ({"message_id": "x" * 201}, "message_id is not"),
        ({"message_id": "a\x00"}, "message_id is not"),
        ({"type": "amqp-1.0"}, "an AMQP 1.0 value"),
        ({"headers": {"x-message-id": "x" * 300}}, "AMQP 1.0 message-id"),
        ({"headers": {"x-message-id": b"\x01\x02"}}, "AMQP 1.0 message-id"),
        ({"headers": {"x-correlation-id": "x" * 300}}, "AMQP 1.0 correlation-id"),
        ({"correlation_id": "\x1b[31m"}, "correlation_id is not"),
        ({"content_type": "application/x-python-serialize"}, "content_type"),
        ({"content_encoding": "gzip"}, "content_encoding"),
        ({"headers": {ATTEMPT: 0}}, ATTEMPT),
        ({"headers": {ATTEMPT: "2"}}, ATTEMPT),
        ({"headers": {HOP: -1}}, HOP),
        ({"headers": {HOP: True}}, HOP),
        ({"headers": {"x-ordermq-occurred-at": "yesterday"}}, "RFC 3339"),
        ({"headers": {"x-ordermq-occurred-at": "2026-01-01T00:00:00"}}, "time zone"),
        ({"headers": {"x-ordermq-occurred-at": "0001-01-01T00:00:00+14:00"}}, "RFC 3339"),
        ({"body": b'{"order_id":"two words"}'}, "order_id is not"),
    ],
)
def test_an_envelope_out_of_bounds_is_unreadable_and_storable(bad, why):
    [message] = plan([delivery(1, **bad)], "stock", ONE).unreadable
    assert why in message.fault
    assert message.envelope.message_id.isprintable()
    assert 0 < len(message.envelope.message_id) <= 200


def test_an_instant_before_1970_can_be_read_and_sent_again():
    [[message]] = plan([delivery(1, headers={OCCURRED_AT: "1969-07-20T20:17:40Z"})], "stock", ONE).batches
    properties = to_properties(message.envelope)
    assert properties.timestamp_s == 0
    assert properties.headers[OCCURRED_AT] == "1969-07-20T20:17:40+00:00"


def test_an_unreadable_message_that_was_replayed_is_not_taken_for_its_first_delivery():
    [message] = plan([delivery(1, headers={VERSION: 0, HOP: 1, REPLAYED: 1})], "stock", ONE).unreadable
    assert (message.envelope.hop, message.envelope.replay_no) == (1, 1)
    [message] = plan([delivery(1, headers={HOP: "x", REPLAYED: -1})], "stock", ONE).unreadable
    assert (message.envelope.hop, message.envelope.replay_no) == (0, 0)


@pytest.mark.parametrize(
    ("redelivered", "headers", "is_suspect"),
    [
        (False, {}, False),
        (False, {"x-delivery-count": 0}, False),
        (False, {"x-delivery-count": "many"}, False),
        (True, {"x-delivery-count": 1}, True),
        (False, {"x-acquired-count": 1}, True),
        (True, {}, True),
    ],
)
def test_what_the_broker_delivered_again_is_a_suspect(redelivered, headers, is_suspect):
    [found] = received.read([delivery(1, redelivered=redelivered, headers=headers)], "stock", ONE)
    assert found.is_suspect is is_suspect


def test_a_message_that_came_twice_is_a_suspect_if_either_is():
    for tags in ([1, 2], [2, 1]):
        [found] = received.read([delivery(tag, redelivered=tag == 2) for tag in tags], "stock", ONE)
        assert (found.is_suspect, sorted(found.tags)) == (True, [1, 2])


def test_a_last_error_travels_shortened_and_is_read_as_one_clean_line():
    [[message]] = plan(
        [delivery(1, headers={LAST_ERROR: "no\n\x1b[31mred\x00 password=hunter2 \u202e"})], "stock", ONE
    ).batches
    assert message.envelope.last_error.isprintable()
    assert "hunter2" not in message.envelope.last_error
    sent = to_properties(replace(message.envelope, last_error="\U0001f300" * 400)).headers[LAST_ERROR]
    assert 200 < len(sent.encode()) <= 300


@pytest.mark.parametrize(
    ("value", "read"), [(7, None), (b"\xff", None), ("", None), (["x"], None), ("x", "x")]
)
def test_a_last_error_of_any_kind_makes_no_message_unreadable(value, read):
    [[message]] = plan([delivery(1, headers={LAST_ERROR: value})], "stock", ONE).batches
    assert message.envelope.last_error == read


def test_a_last_error_of_any_sender_is_bounded():
    [[message]] = plan([delivery(1, headers={LAST_ERROR: "\x1b" * 1_000_000})], "stock", ONE).batches
    assert len(message.envelope.last_error) <= MAX_ERROR_CHARS


# --- whatever comes -----------------------------------------------------------

OURS = [VERSION, ATTEMPT, HOP, REPLAYED, OCCURRED_AT, FIRST_FAILED_AT, LAST_ERROR, TRACEPARENT]

names = st.sampled_from([*OURS, "x-delivery-count"])
texts = st.text(max_size=20) | st.sampled_from(
    ["2026-01-01T00:00:00Z", "9999-12-31T23:59:59-14:00", "\x00", " ", "x" * 256]
)
scalars = st.one_of(
    st.none(), st.booleans(), st.integers(-(2**63), 2**64), st.integers(0, 3), st.floats(), texts,
    st.binary(max_size=20), st.datetimes(), st.decimals(),
)  # fmt: skip
values = st.recursive(
    scalars,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(texts, inner, max_size=3),
    max_leaves=4,
)
foreign_properties = st.builds(
    Properties,
    message_id=st.none() | texts | st.sampled_from(["m1", "m2"]),
    type=st.none() | texts | st.sampled_from(["Reserve", "Release"]),
    correlation_id=st.none() | texts,
    content_type=st.none() | texts | st.just("application/json; charset=latin-1"),
    content_encoding=st.none() | texts | st.just("gzip"),
    timestamp_s=st.none() | st.integers(0, 2**64),
    headers=st.dictionaries(names | texts, values, max_size=4),
)
json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=4,
)


@st.composite
def damaged(draw):
    """A body that was good once: cut off, bits flipped, a piece doubled, something put in."""
    fields = {
        "order_id": draw(st.just("o1") | json_values),
        **draw(st.dictionaries(st.text(), json_values, max_size=3)),
    }
    body = bytearray(json.dumps(fields, ensure_ascii=draw(st.booleans())).encode(errors="surrogatepass"))
    for _ in range(draw(st.integers(0, 3))):
        at = draw(st.integers(0, len(body)))
        match draw(st.sampled_from(["cut", "flip", "double", "insert"])):
            case "cut":
                del body[at:]
            case "flip" if at < len(body):
                body[at] ^= 1 << draw(st.integers(0, 7))
            case "double":
                body[at:at] = body[at : at + draw(st.integers(1, 30))]
            case _:
                body[at:at] = draw(
                    st.binary(max_size=4) | st.sampled_from([b"NaN", b"1e999", b"\\u0000", b"\\ud800"])
                )
    return bytes(body)


@st.composite
def deliveries(draw):
    bodies = damaged() | st.binary(max_size=200) | st.just(b'{"order_id":"o1"}')
    return [
        Delivery(tag, 1, "orders", "stock", draw(st.booleans()), draw(foreign_properties), draw(bodies))
        for tag in range(1, draw(st.integers(1, 3)) + 1)
    ]


@given(deliveries(), st.sampled_from([ONE, TWO]))
@settings(max_examples=300)
def test_whatever_is_delivered_is_sorted_out_and_costs_its_neighbours_nothing(strange, registry):
    neighbour = delivery(99, message_id="neighbour", type="Reserve")
    todo = plan([*strange, neighbour], "stock", registry)
    readable = [message for batch in todo.batches for message in batch]
    messages = readable + todo.unreadable
    assert sorted(tag for message in messages for tag in message.tags) == [*range(1, len(strange) + 1), 99]
    assert (99,) in [message.tags for message in readable]
    for message in messages:
        assert re.fullmatch("[ -~]{1,200}", message.envelope.message_id)
    for message in todo.unreadable:
        assert 0 < len(message.fault) < 1000
        message.fault.encode("utf-8", "strict")


def carried(properties):
    """What becomes of ``properties`` on their way over the wire."""
    frames = wire.publish_frames(1, Publishing("", "stock", properties, b""), 131_072)
    method_bytes = 8 + int.from_bytes(frames[3:7])
    return wire.read_properties(frames, method_bytes + 7 + 12)


@given(deliveries())
@settings(max_examples=150)
def test_what_can_be_read_can_be_read_again_when_it_is_sent_again(strange):
    for each in strange:
        message = read(each, "stock", ONE)
        if isinstance(message, Unreadable):
            continue
        again = read(replace(each, properties=carried(to_properties(message.envelope))), "stock", ONE)
        assert (again.payload, again.envelope) == (message.payload, message.envelope)


@pytest.mark.parametrize("header", [*OURS, "x-delivery-count", "x-other"])
def test_a_header_nested_as_deep_as_python_goes_is_no_more_than_unreadable(header):
    value = []
    for _ in range(sys.getrecursionlimit() + 100):
        value = [value]
    todo = plan([delivery(1, headers={header: value}), delivery(2, message_id="b")], "stock", ONE)
    assert [message.tags for message in todo.batches[-1]][-1] == (2,)
