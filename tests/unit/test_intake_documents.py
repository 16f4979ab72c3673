"""JSON objects cut out of a file of any size and any layout."""

import io
import json
import tracemalloc
from itertools import chain

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ordermq.cli.records import MAX_LINE_BYTES, Line, Reject
from ordermq.errors import BadInput
from ordermq.shop.intake import Entry, read_orders
from ordermq.shop.intake.documents import Documents
from tests.support.exports import woocommerce_order

BEGINNING = r'\{\s*"id"\s*:'


def read(data, size=7):
    chunks = (data[at : at + size] for at in range(0, len(data), size))
    return list(Documents(iter(chunks), BEGINNING).read())


values = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.text(max_size=6)
    | st.sampled_from(['"', "}", "\\", "{[", "\n"]),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=3), inner, max_size=3),
    max_leaves=10,
)
objects = st.dictionaries(st.text(max_size=4), values, max_size=4)


@given(st.lists(objects, max_size=5), st.sampled_from([None, 0, 2, "\t"]), st.integers(1, 40), st.booleans())
def test_what_was_written_is_what_is_read_however_it_arrives(written, indent, size, is_array):
    if is_array:
        data = json.dumps(written, indent=indent).encode()
    else:
        data = "\n".join(json.dumps(each, indent=indent, ensure_ascii=False) for each in written).encode(
            "utf-8", "replace"
        )
    found = read(data, size)
    assert [json.loads(each.text) for each in found] == [
        each if is_array else json.loads(json.dumps(each, ensure_ascii=False).encode("utf-8", "replace"))
        for each in written
    ]


@given(st.binary(max_size=60) | st.text('{}[]",:\\ \n1a', max_size=60).map(str.encode), st.integers(1, 9))
def test_no_bytes_make_the_reader_loop_or_raise_anything_else(data, size):
    try:
        found = read(data, size)
    except BadInput:  # it is an array, and cut
        return
    numbers = [each.number if isinstance(each, Line) else each.line for each in found]
    assert numbers == sorted(numbers)


def test_each_object_has_the_line_where_it_begins():
    data = b'[\n  {\n    "id": 1\n  },\n\n  {"id": 2}, {"id": 3}\n]\n'
    assert [each.number for each in read(data)] == [2, 6, 6]


def test_what_stands_between_objects_is_rejected_and_costs_none():
    found = read(b'{"id": 1}\nhello\n{"id": 2}\n')
    assert [isinstance(each, Reject) for each in found] == [False, True, False]


def test_an_array_that_is_not_closed_was_cut():
    with pytest.raises(BadInput, match="it was cut"):
        read(b'[{"id": 1}, {"id": 2}')


def test_an_object_that_is_too_long_costs_no_other_one():
    data = b'[{"id": 1},\n{"id": 2, "x": "' + b"x" * (3 * MAX_LINE_BYTES) + b'"},\n{"id": 3}]'
    first, bad, last = read(data, 64 * 1024)
    assert (first.text, last.text) == ('{"id": 1}', '{"id": 3}')
    assert bad.reason == f"longer than {MAX_LINE_BYTES} bytes"


def test_an_object_that_is_not_utf_8_costs_no_other_one():
    lines = [json.dumps(woocommerce_order(n)).encode() for n in (1, 2, 3)]
    lines[1] = lines[1].replace(b'"bacs"', b'"b\xffcs"').replace(b"MUG-B", b"MUG-\xff")
    found = list(read_orders(io.BytesIO(b"[" + b",".join(lines) + b"]"), "woocommerce"))
    assert [isinstance(each, Entry) for each in found] == [True, False, True]
    assert found[1].reason.startswith("not UTF-8")


def test_memory_does_not_grow_with_an_array_on_one_line():
    text = json.dumps(woocommerce_order(1)).encode()
    chunks = chain([b"["], *((text, b",") for _ in range(6000)), [text + b"]"])
    tracemalloc.start()
    try:
        count = sum(isinstance(each, Line) for each in Documents(chunks, BEGINNING).read())
        peak_bytes = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert count == 6001
    assert peak_bytes < 2 * 1024 * 1024
