"""Attributes of an order, and the options by which orders are chosen."""

import json
from datetime import UTC, datetime
from types import SimpleNamespace

import click
import pytest
from click.testing import CliRunner

from ordermq.cli.options import common
from ordermq.errors import BadInput, ConfigError
from ordermq.shop import Order
from ordermq.shop.cli.selecting import STUCK_FOR_S, saved_filter, selects
from ordermq.shop.intake.record import decode
from ordermq.shop.saga import Status
from ordermq.shop.selection import Selection
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
    assert acme == Selection(status=Status.PAID, attributes=(("merchant", "acme"),))
    more = Selection(status=Status.PLACED, needs_person=True, older_than_s=0.0, attributes=(("a", "1"),))
    assert acme.and_also(more) == Selection(
        status=Status.PLACED,
        needs_person=True,
        older_than_s=0.0,
        attributes=(("merchant", "acme"), ("a", "1")),
    )
    assert acme.and_also(Selection()) == acme
    assert saved_filter(FILTERS, "late") == Selection(needs_person=True)


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


def choose(monkeypatch, *words, **kind):
    """Return the selection that a command with these options gets, and what it printed."""
    found = []

    @click.command()
    @click.argument("order_ids", nargs=-1)
    @selects(**kind)
    @common
    def command(program, selection):
        found.append(selection)

    section = SimpleNamespace(filters=("old: --stuck --older-than 1h",))
    program = SimpleNamespace(loaded=SimpleNamespace(section=lambda name: section))
    monkeypatch.setattr("ordermq.shop.cli.selecting.load_shop", lambda path: program)
    printed = CliRunner().invoke(command, words).output
    return (found or [None])[0], printed


ACME = (("merchant", "acme"),)


@pytest.mark.parametrize(
    ("words", "wanted"),
    [
        (["A-1", "A-2", "A-1"], Selection(order_ids=("A-1", "A-2"))),
        (["--all"], Selection()),
        (["--state", "paid", "--where", "merchant=acme"], Selection(status=Status.PAID, attributes=ACME)),
        (["--where", "merchant=acme", "--where", "paid"], Selection(status=Status.PAID, attributes=ACME)),
        (["--where", "cancelled"], Selection(status=Status.CANCELLED)),
        (["--where", "attention", "--where", "held"], Selection(needs_person=True, is_held=True)),
        (["--where", "stuck"], Selection(is_under_way=True, older_than_s=STUCK_FOR_S)),
        (["--stuck", "--older-than", "0"], Selection(is_under_way=True, older_than_s=0.0)),
        (["--filter", "old"], Selection(is_under_way=True, older_than_s=3600.0)),
        (["--filter", "old", "--stuck"], Selection(is_under_way=True, older_than_s=3600.0)),
        (["--to", "2026-01-31"], Selection(until=datetime(2026, 1, 31, tzinfo=UTC))),
        (["--before", "2026-01-31"], Selection(until=datetime(2026, 1, 31, tzinfo=UTC))),
    ],
)
def test_orders_are_chosen_by_state_and_by_attribute_and_a_word_of_where_is_a_state(
    monkeypatch, words, wanted
):
    assert choose(monkeypatch, *words)[0] == wanted


@pytest.mark.parametrize(
    ("words", "said"),
    [
        ([], "say which orders"),
        (["A-1", "--stuck"], "say which orders"),
        (["--all", "--where", "paid"], "say which orders"),
        (["--state", "paid", "--where", "placed"], "an order is in one state, not in paid and in placed"),
        (["--where", "acme"], "write NAME=VALUE"),
        (["--where", "m=a", "--where", "m=b"], "write NAME=VALUE"),
        (["--where", "=a"], "attributes"),
        (["--where", "m="], "attributes"),
        (["--where", "1=a"], "attributes"),
    ],
)
def test_a_choice_that_can_find_nothing_or_is_none_is_refused(monkeypatch, words, said):
    chosen, printed = choose(monkeypatch, *words)
    assert (chosen, said in printed) == (None, True)


def test_a_command_that_lists_chooses_every_order_without_options(monkeypatch):
    assert choose(monkeypatch, every=True)[0] == Selection()
