"""Attributes of an order, and the options by which orders are chosen."""

import json

import click
import pytest

from ordermq.errors import BadInput, ConfigError
from ordermq.shop import Order
from ordermq.shop.cli.choosing import OrderFilter, saved_filter, where
from ordermq.shop.intake.record import decode
from tests.support.shop import an_order

LINE = {
    "order_id": "A-1", "customer_id": "c", "currency": "EUR", "total_minor": 5, "card_token": "t",
    "items": [{"product_id": "p", "quantity": 1, "unit_price_minor": 5}],
}  # fmt: skip


@pytest.mark.parametrize(
    "attributes",
    [
        {"Merchant.id-1_x": "acme"},
        {"m": "ü" * 200},
        {f"a{n}": "x" for n in range(20)},
    ],
)
def test_attributes_are_a_bounded_map_of_texts(attributes):
    assert an_order("A-1", attributes=attributes).attributes == attributes


@pytest.mark.parametrize(
    "attributes",
    [
        {"1x": "a"}, {"": "a"}, {"x" * 41: "a"}, {"a b": "x"}, {"m": ""}, {"m": "x" * 201}, {"m": "a\nb"},
        {"m": "\ud800"}, {"m": 7}, {7: "m"}, {f"a{n}": "x" for n in range(21)}, ["m"],
    ],
)  # fmt: skip
def test_other_attributes_are_refused_by_name(attributes):
    with pytest.raises(BadInput, match="attributes"):
        an_order("A-1", attributes=attributes)


def test_a_file_of_json_lines_has_them_and_a_nested_value_is_refused():
    assert decode(json.dumps({**LINE, "attributes": {"m": "acme"}}), Order).attributes == {"m": "acme"}
    with pytest.raises(BadInput, match="attributes"):
        decode(json.dumps({**LINE, "attributes": {"m": ["acme"]}}), Order)


def test_attributes_count_by_meaning_in_the_content_of_an_order():
    plain, one = an_order("A-1"), an_order("A-1", attributes={"a": "\u00fc", "b": "2"})
    assert plain.content_hash() == an_order("A-1", attributes={}).content_hash()
    assert one.content_hash() == an_order("A-1", attributes={"b": "2", "a": "u\u0308"}).content_hash()
    assert one.content_hash() != plain.content_hash()
    assert one.content_hash() != an_order("A-1", attributes={"a": "\u00fc", "b": "3"}).content_hash()
    assert len({plain, one, an_order("A-1")}) == 2


FILTERS = ("acme: --where merchant=acme --state paid", "late:--attention", "bad: --nonsense", "worse: '")


def test_a_saved_filter_holds_options_and_others_come_on_top():
    acme = saved_filter(FILTERS, "acme")
    assert acme == OrderFilter("paid", where=(("merchant", "acme"),))
    assert acme.and_also("placed", attention=True, where=[("a", "1")]) == OrderFilter(
        "placed", attention=True, where=(("merchant", "acme"), ("a", "1"))
    )
    assert saved_filter(FILTERS, "late") == OrderFilter(attention=True)


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("none", "shop.filters has no 'none'; there are: acme, bad, late, worse"),
        ("bad", "shop.filters 'bad': No such option"),
        ("worse", "shop.filters 'worse': No closing quotation"),
    ],
)
def test_a_filter_that_is_none_says_what_is_wrong(name, words):
    with pytest.raises(ConfigError, match=words):
        saved_filter(FILTERS, name)


@click.command()
@where
def chosen(where):
    pass


@pytest.mark.parametrize("given", [["acme"], ["m=a", "m=b"], ["=a"], ["m="], ["1=a"]])
def test_a_condition_that_can_find_nothing_is_refused(given):
    with pytest.raises(click.BadParameter):
        chosen.make_context("x", [word for each in given for word in ("--where", each)])
