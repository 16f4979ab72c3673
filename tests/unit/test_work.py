"""Reading deliveries: what each becomes, and that none stops its neighbours."""

from dataclasses import replace

import pytest

from ordermq.consumer.work import plan
from ordermq.message.envelope import Delivery, Properties
from ordermq.message.headers import (
    ATTEMPT,
    HOP,
    LAST_ERROR,
    MAX_ERROR_CHARS,
    OCCURRED_AT,
    REPLAY,
    VERSION,
    to_properties,
)
from ordermq.message.payload import Payload
from ordermq.task import DONE, Registry, handler
from ordermq.task.handler import handlers_in


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


def test_a_plain_body_from_any_client_is_handled():
    [(found, [work])] = plan([delivery(1)], "stock", ONE).batches

    assert found.call is reserve
    assert work.payload == Reserve(order_id="o1")
    assert work.envelope.message_id.startswith("sha256:")
    assert (work.envelope.correlation_id, work.envelope.attempt, work.envelope.hop) == ("o1", 1, 0)


def test_the_same_bytes_without_an_id_are_one_message_with_two_tags():
    [(_, [work])] = plan([delivery(1), delivery(2)], "stock", ONE).batches
    assert work.tags == [1, 2]


def test_of_two_hops_of_one_message_the_later_is_handled():
    first = delivery(1, message_id="m", headers={HOP: 0})
    second = delivery(2, message_id="m", headers={HOP: 1, ATTEMPT: 2})
    for order in ([first, second], [second, first]):
        [(_, [work])] = plan(order, "stock", ONE).batches
        assert work.envelope.hop == 1
        assert sorted(work.tags) == [1, 2]


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
    assert [[work.tags for work in works] for _, works in todo.batches] == [[[1], [3]], [[4]]]
    assert {work.tags[0]: work.fault.split(":")[0] for work in todo.unreadable} == {
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
    [work] = plan([delivery(1, **bad)], "stock", ONE).unreadable
    assert why in work.fault
    assert work.envelope.message_id.isprintable()
    assert 0 < len(work.envelope.message_id) <= 200


def test_an_instant_before_1970_can_be_read_and_sent_again():
    [(_, [work])] = plan([delivery(1, headers={OCCURRED_AT: "1969-07-20T20:17:40Z"})], "stock", ONE).batches
    properties = to_properties(work.envelope)
    assert properties.timestamp_s == 0
    assert properties.headers[OCCURRED_AT] == "1969-07-20T20:17:40+00:00"


def test_an_unreadable_message_that_was_replayed_is_not_taken_for_its_first_delivery():
    [work] = plan([delivery(1, headers={VERSION: 0, HOP: 1, REPLAY: 1})], "stock", ONE).unreadable
    assert (work.envelope.hop, work.envelope.replay_no) == (1, 1)
    [work] = plan([delivery(1, headers={HOP: "x", REPLAY: -1})], "stock", ONE).unreadable
    assert (work.envelope.hop, work.envelope.replay_no) == (0, 0)


@pytest.mark.parametrize(
    ("redelivered", "headers", "is_suspect"),
    [
        (False, {}, False),
        (False, {"x-delivery-count": 1}, False),
        (True, {"x-delivery-count": 2}, True),
        (True, {}, True),
    ],
)
def test_what_the_broker_delivered_again_is_a_suspect(redelivered, headers, is_suspect):
    todo = plan([delivery(1, redelivered=redelivered, headers=headers)], "stock", ONE)
    assert (len(todo.suspects), len(todo.batches)) == ((1, 0) if is_suspect else (0, 1))


def test_a_last_error_travels_shortened_and_is_read_as_one_clean_line():
    [(_, [work])] = plan(
        [delivery(1, headers={LAST_ERROR: "no\n\x1b[31mred\x00 password=hunter2 \u202e"})], "stock", ONE
    ).batches
    assert work.envelope.last_error.isprintable()
    assert "hunter2" not in work.envelope.last_error
    sent = to_properties(replace(work.envelope, last_error="\U0001f300" * 400)).headers[LAST_ERROR]
    assert 200 < len(sent.encode()) <= 300


@pytest.mark.parametrize(
    ("value", "read"), [(7, None), (b"\xff", None), ("", None), (["x"], None), ("x", "x")]
)
def test_a_last_error_of_any_kind_makes_no_message_unreadable(value, read):
    [(_, [work])] = plan([delivery(1, headers={LAST_ERROR: value})], "stock", ONE).batches
    assert work.envelope.last_error == read


def test_a_last_error_is_bounded_whoever_sent_it():
    [(_, [work])] = plan([delivery(1, headers={LAST_ERROR: "\x1b" * 1_000_000})], "stock", ONE).batches
    assert len(work.envelope.last_error) <= MAX_ERROR_CHARS
