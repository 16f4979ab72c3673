"""A file of another kind is refused before its first order, with the cause and what to type."""

import io
import json

import pytest

from ordermq.errors import BadInput
from ordermq.shop.intake import Entry, read_orders
from ordermq.shop.intake.generate import generate, json_line
from tests.support.exports import json_lines, shopify_file, shopify_order, woocommerce_order

NATIVE = b"".join(json_line(each) for each in generate(2, 1))
TABLE = b"order_id,customer_id,currency,product_id,quantity,unit_price,card_token\nA,C,EUR,P,1,1.00,t\n"
OLIST = json.dumps(
    {"order_id": "a", "customer_id": "c", "purchased_at": "2016-10-04T09:59:03Z", "approved_at": None,
     "items": [{"product_id": "p", "price": 1.5, "freight": 0}], "payments": [{"value": 1.5}]}
).encode()  # fmt: skip
SHOPIFY = shopify_file(shopify_order())
WOOCOMMERCE = json_lines(woocommerce_order())
FILES = {
    "native": [NATIVE, TABLE],
    "olist": [OLIST],
    "shopify": [SHOPIFY],
    "woocommerce": [WOOCOMMERCE, json.dumps([woocommerce_order()], indent=4).encode()],
}


def read(data, format):
    return list(read_orders(io.BytesIO(data), format))


@pytest.mark.parametrize("format", FILES)
@pytest.mark.parametrize("other", FILES)
def test_a_file_of_another_format_is_refused_with_the_option_to_type(format, other):
    for data in FILES[other]:
        if format == other:
            assert any(isinstance(each, Entry) for each in read(data, format))
        else:
            with pytest.raises(BadInput, match=f"type --format {other}$"):
                read(data, format)


def pretty(data):
    return json.dumps(json.loads(data.splitlines()[0]), indent=2).encode()


@pytest.mark.parametrize(
    ("data", "format", "said"),
    [
        (SHOPIFY.replace(b",", b";"), "shopify", "semicolons; write commas: mlr --icsv --ifs ';'"),
        (SHOPIFY.replace(b",", b"\t"), "shopify", "separated by tabs"),
        (TABLE.replace(b",", b"\t"), "native", "separated by tabs"),
        (TABLE.replace(b",", b"|"), "native", "separated by bars"),
        (pretty(NATIVE), "native", "spread over several lines; write one order a line: jq -c . FILE"),
        (pretty(OLIST), "olist", r"jq -c . FILE \| ordermq-publish orders - --format olist"),
        (b"[" + NATIVE.replace(b"\n", b",") + b"]", "native", r"JSON array; write .* jq -c '.\[\]'"),
        (b"[\n{}\n]\n", "olist", "JSON array"),
        (b'{"orders": [' + WOOCOMMERCE + b"]}", "woocommerce", r"take them out: jq -c '.orders\[\]'"),
        (b'{"code":"woocommerce_rest_cannot_view","message":"Sorry","data":{}}', "woocommerce",
         "an error that the shop answered, and no orders: .*woocommerce_rest_cannot_view"),
        (b'{"orders": [{"id": 1, "financial_status": "paid"}]}', "shopify", "inside of an object"),
        (b'{"id": 1}', "shopify", "reads the CSV of Orders, Export"),
        (b"Order ID,Date\n1,2\n", "woocommerce", "not JSON; .* REST API, version 3"),
        (b"<!DOCTYPE html><html></html>", "woocommerce", "a page of HTML"),
        (b"PK\x03\x04rest", "shopify", "a workbook of Excel"),
        ("Name,Email".encode("utf-16"), "shopify", "UTF-16; convert it to UTF-8 first"),
        (b"Name,Email\n#1,a\n", "shopify", "no column 'Financial Status'"),
    ],
)  # fmt: skip
def test_a_file_that_no_reader_takes_is_refused_with_its_cause(data, format, said):
    with pytest.raises(BadInput, match=said):
        read(data, format)


def test_a_file_whose_first_record_is_broken_is_still_read():
    first, second = NATIVE.splitlines(keepends=True)
    found = read(first[:30] + b",\n" + second, "native")
    assert [isinstance(each, Entry) for each in found] == [False, True]


def test_the_first_line_of_a_pipe_is_enough():
    class Slow(io.BytesIO):
        """Gives a line a read, and fails if it is asked for more before the first order was taken."""

        def read1(self, size=-1):
            if taken is None and self.tell() >= len(NATIVE) // 2 + 10:
                raise AssertionError("it was read too far")
            return self.readline() if size > 3 else super().read1(size)

    taken = None
    taken = next(read_orders(Slow(NATIVE), "native"))
    assert isinstance(taken, Entry)
