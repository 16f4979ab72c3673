"""Strict decoding: what is refused, and that the fast path refuses the same."""

import contextlib

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ordermq.clock import monotonic_s
from ordermq.errors import MalformedMessage
from ordermq.message.payload import MAX_BODY_BYTES, Payload, check_strict, decode, encode


class Reserve(Payload):
    order_id: str
    quantity: int = 1


@given(st.text(), st.integers(-(2**53), 2**53))
def test_what_is_encoded_decodes_to_the_same(text, quantity):
    payload = Reserve(order_id=text, quantity=quantity)
    if "\x00" in text:
        with pytest.raises(MalformedMessage):
            decode(encode(payload), Reserve)
    else:
        assert decode(encode(payload), Reserve) == payload


def test_unknown_fields_and_white_space_are_accepted():
    assert decode(b' { "order_id" : "a", "later": [1, {"b": null}] } ', Reserve) == Reserve(order_id="a")


@pytest.mark.parametrize(
    ("body", "why"),
    [
        (b"", "not JSON"),
        (b'{"order_id":"a"', "not JSON"),
        (b'{"order_id":"a"}x', "not JSON"),
        (b'\xff{"order_id":"a"}', "not JSON"),
        (b'\xef\xbb\xbf{"order_id":"a"}', "not JSON"),
        ('{"order_id":"a"}'.encode("utf-16"), "not JSON"),
        (b'{"order_id":"\xc3\x28"}', "not"),
        (b'{"order_id":"a","order_id":"b"}', "stands twice"),
        (b'{"order_id":"a","more":{"x":1,"x":2}}', "stands twice"),
        (b'{"order_id":"a\\u0000"}', "PostgreSQL cannot store"),
        (b'{"order_id":"\\ud800"}', "surrogate|not"),
        (b'{"order_id":"a","more":"\\udfff"}', "surrogate|not"),
        (b'{"order_id":"a","more":NaN}', "NaN|not JSON"),
        (b'{"order_id":"a","more":1e999}', "out of range|not JSON"),
        (b'{"order_id":"a","quantity":1.5}', "not a Reserve"),
        (b'{"order_id":"a","quantity":"1"}', "not a Reserve"),
        (b'{"quantity":1}', "order_id"),
        (b'[{"order_id":"a"}]', "not a Reserve"),
        (b'{"order_id":"a","more":' + b"[" * 100_000 + b"]" * 100_000 + b"}", "nested deeper|not JSON"),
        (b'{"order_id":"a","more":' + b"[" * 70 + b"]" * 70 + b"}", "nested deeper"),
        (b'{"order_id":"a","more":' + b"9" * 5000 + b"}", "not JSON|digits"),
        (b'{"order_id":"' + b"x" * MAX_BODY_BYTES + b'"}', "over the limit"),
    ],
)
def test_what_is_not_strict_json_of_the_type_is_refused_with_its_reason(body, why):
    with pytest.raises(MalformedMessage, match=why):
        decode(body, Reserve)


def test_brackets_and_escapes_inside_strings_do_not_count():
    body = b'{"order_id":"' + b"[" * 200 + b'\\"\\\\u0000"}'
    assert decode(body, Reserve).order_id == "[" * 200 + '"\\u0000'


def test_a_string_without_an_end_takes_time_in_proportion_to_its_length():
    body = b'7"' + b'\\"' * 120_000  # a search for its end from each quote would take minutes
    began_s = monotonic_s()
    with pytest.raises(MalformedMessage):
        decode(body, Reserve)
    assert monotonic_s() - began_s < 2.0


@given(st.binary(max_size=200))
def test_no_bytes_raise_anything_but_a_malformed_message(body):
    for read in (lambda: decode(body, Reserve), lambda: check_strict(body)):
        with contextlib.suppress(MalformedMessage):
            read()


def test_a_payload_over_the_limit_is_not_even_encoded():
    with pytest.raises(MalformedMessage, match="over"):
        encode(Reserve(order_id="x" * MAX_BODY_BYTES))


def test_a_payload_type_is_a_frozen_struct():
    assert issubclass(Payload, msgspec.Struct)
    with pytest.raises(AttributeError):
        Reserve(order_id="a").order_id = "b"
