"""Olist's orders: exact money, and each kind of dirt refused with its own reason."""

import json
from collections import Counter
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ordermq.cli.records import Line, Reject
from ordermq.errors import BadInput
from ordermq.shop.intake import Entry, read_orders
from ordermq.shop.intake.olist import read_olist
from ordermq.shop.model import Order
from ordermq.shop.money import minor_units, written

DATA = Path(__file__).parents[2].parent / "shared" / "data" / "olist_orders.jsonl.gz"

GOOD: dict[str, Any] = {
    "order_id": "a1",
    "customer_id": "c1",
    "status": "delivered",
    "purchased_at": "2016-10-04T09:59:03Z",
    "approved_at": None,
    "items": [
        {"product_id": "p1", "seller_id": "s1", "price": 89.9, "freight": 24.87},
        {"product_id": "p1", "seller_id": "s1", "price": 89.9, "freight": 24.87},
    ],
    "payments": [
        {"type": "voucher", "installments": 1, "value": 29.54},
        {"type": "credit_card", "installments": 1, "value": 200.0},
    ],
}


def read_one(source: dict[str, Any] | str) -> Entry | Reject:
    text = source if isinstance(source, str) else json.dumps(source)
    (found,) = read_olist([Line(9, text)])
    return found


def order(source: dict[str, Any]) -> Order:
    found = read_one(source)
    assert isinstance(found, Entry), found
    return found.order


def reason(source: dict[str, Any] | str) -> str:
    found = read_one(source)
    assert isinstance(found, Reject)
    assert found.line == 9
    return found.reason


def test_one_entry_is_one_unit_and_money_is_exact_centavos() -> None:
    read = order(GOOD)
    assert [
        (item.product_id, item.quantity, item.unit_price_minor, item.freight_minor) for item in read.items
    ] == [
        ("p1", 1, 8990, 2487),
        ("p1", 1, 8990, 2487),
    ]
    assert (read.total_minor, read.currency) == (22954, "BRL")
    assert read.quantities() == {"p1": 2}


def test_the_same_customer_always_gets_the_same_phone_in_a_range_not_in_use() -> None:
    phone = order(GOOD).contact.phone
    assert phone is not None
    assert phone.startswith("+5500")
    assert phone == order({**GOOD, "order_id": "a2"}).contact.phone
    assert phone != order({**GOOD, "customer_id": "c2"}).contact.phone


def test_an_order_without_items_or_payments_is_refused() -> None:
    assert reason({**GOOD, "items": []}) == "no items"
    assert reason({**GOOD, "payments": []}) == "no payments"


@pytest.mark.parametrize(("paid", "is_taken"), [(29.53, True), (29.55, True), (29.52, False), (29.56, False)])
def test_payments_may_differ_from_the_total_by_one_centavo(paid: float, is_taken: bool) -> None:
    payments = [{"value": paid}, {"value": 200.0}]
    assert isinstance(read_one({**GOOD, "payments": payments}), Entry) is is_taken
    if not is_taken:
        assert "payments differ from the total" in reason({**GOOD, "payments": payments})


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("{", "not JSON"),
        ("[]", "not an order of this format"),
        ("null", "not an order of this format"),
        ('{"order_id": "a", "order_id": "b"}', "stands twice"),
        ("[" * 100_000, "nested deeper"),
        ('{"price": NaN}', "NaN"),
        ('{"order_id": "a\\u0000"}', "\\u0000"),
    ],
)
def test_bad_json_is_refused_with_what_is_wrong(text: str, said: str) -> None:
    assert said in reason(text)


def test_a_price_that_is_no_amount_is_refused() -> None:
    for price in ("NaN", "1e999999999", "-1", "0.001", "1e15"):
        text = json.dumps(GOOD).replace("89.9,", f"{price},", 1)
        assert reason(text)


def test_a_reject_names_its_order_and_keeps_the_beginning_of_its_record() -> None:
    found = read_one({**GOOD, "items": [], "status": "x" * 2000})
    assert isinstance(found, Reject)
    assert found.record_id == "a1"
    assert len(found.record) < 600


@given(st.text() | st.binary().map(lambda data: data.decode("latin-1")))
def test_no_text_makes_the_reader_raise(text: str) -> None:
    read_one(text)


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(list(GOOD)), inner, max_size=4)
    ),
    max_leaves=8,
)


@given(st.dictionaries(st.sampled_from(list(GOOD)), json_values))
def test_no_json_makes_the_reader_raise(changes: dict[str, Any]) -> None:
    read_one({**GOOD, **changes})


@given(st.integers(0, 10**15 - 1), st.sampled_from([("EUR", 2), ("JPY", 0), ("KWD", 3)]))
def test_minor_units_are_exact_for_any_amount(amount_minor: int, currency: tuple[str, int]) -> None:
    code, decimals = currency
    amount = Decimal(amount_minor).scaleb(-decimals)
    assert minor_units(amount, code, "price") == amount_minor
    assert minor_units(Decimal(f"{amount:f}" + ("00" if decimals else "")), code, "price") in (
        amount_minor,
        amount_minor * 100,
    )


def test_an_amount_is_written_with_its_currencys_decimals() -> None:
    assert (written(1299, "EUR"), written(350, "JPY"), written(5, "KWD")) == ("12.99", "350", "0.005")


@given(st.decimals())
def test_what_is_no_amount_is_refused_not_rounded(amount: Decimal) -> None:
    try:
        minor = minor_units(amount, "EUR", "price")
    except BadInput:
        return
    assert Decimal(minor) == amount * 100


def test_the_published_sample_has_the_dirt_it_is_known_for() -> None:
    if not DATA.exists():
        pytest.skip("the real Olist sample is not beside the checkout; made-up lines were read instead")
    counts: Counter[str] = Counter()
    with DATA.open("rb") as file:
        for found in read_orders(file, "olist"):
            counts["taken" if isinstance(found, Entry) else found.reason.partition(":")[0]] += 1
    assert counts == {
        "taken": 19_755,
        "no items": 173,
        "no payments": 1,
        "payments differ from the total": 71,
    }
