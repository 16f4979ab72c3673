"""An order that exists can be stored and processed."""

import hashlib
from datetime import UTC, datetime, timedelta, timezone

import msgspec
import pytest

from ordermq.errors import BadInput
from ordermq.shop.model import MAX_AMOUNT_MINOR, MAX_ITEMS, Contact, Item, Order


def an_item(**changes):
    return Item(
        **({"product_id": "p-1", "quantity": 2, "unit_price_minor": 500, "freight_minor": 50} | changes)
    )


def an_order(**changes):
    fixed = {
        "order_id": "o-1", "customer_id": "c-1", "currency": "EUR", "items": (an_item(),),
        "total_minor": 1050, "card_token": "tok_0001", "contact": Contact(phone="+4930123456"),
    }  # fmt: skip
    return Order(**(fixed | changes))


@pytest.mark.parametrize(
    ("changes", "field"),
    [
        ({"order_id": ""}, "order_id"),
        ({"order_id": "a:b"}, "order_id"),
        ({"order_id": "x" * 65}, "order_id"),
        ({"order_id": "naïve"}, "order_id"),
        ({"order_id": "o-1\n"}, "order_id"),
        ({"order_id": 7}, "order_id"),
        ({"customer_id": " c"}, "customer_id"),
        ({"currency": "eur"}, "currency"),
        ({"currency": "EURO"}, "currency"),
        ({"items": ()}, "items"),
        ({"items": (an_item(),) * (MAX_ITEMS + 1)}, "items"),
        ({"total_minor": 1051}, "total_minor"),
        ({"total_minor": True}, "total_minor"),
        ({"total_minor": 1050.0}, "total_minor"),
        ({"items": (an_item(unit_price_minor=0, freight_minor=0),), "total_minor": 0}, "total_minor"),
        (
            {"items": (an_item(quantity=2, unit_price_minor=MAX_AMOUNT_MINOR),), "total_minor": 2**54 + 48},
            "total_minor",
        ),
        ({"card_token": ""}, "card_token"),
        ({"card_token": "x" * 129}, "card_token"),
        ({"placed_at": datetime(2026, 1, 1)}, "placed_at"),
        ({"placed_at": datetime(1, 1, 1, tzinfo=timezone(timedelta(hours=1)))}, "placed_at"),
    ],
)
def test_an_order_that_cannot_be_processed_names_its_field(changes, field):
    with pytest.raises(BadInput, match=f"^{field}: "):
        an_order(**changes)


@pytest.mark.parametrize(
    ("changes", "field"),
    [
        ({"product_id": ""}, "product_id"),
        ({"product_id": "a b"}, "product_id"),
        ({"quantity": 0}, "quantity"),
        ({"quantity": -1}, "quantity"),
        ({"quantity": 10**7}, "quantity"),
        ({"quantity": True}, "quantity"),
        ({"unit_price_minor": -1}, "unit_price_minor"),
        ({"unit_price_minor": 2**53}, "unit_price_minor"),
        ({"freight_minor": 1.5}, "freight_minor"),
    ],
)
def test_an_item_out_of_bounds_names_its_field(changes, field):
    with pytest.raises(BadInput, match=f"^{field}: "):
        an_item(**changes)


@pytest.mark.parametrize(
    ("changes", "field"),
    [
        ({"phone": "call me"}, "contact.phone"),
        ({"phone": "+1" * 20}, "contact.phone"),
        ({"email": "nobody"}, "contact.email"),
        ({"email": "some\x00one@somewhere.example"}, "contact.email"),
        ({"email": "someone@somewhere.example\ud800"}, "contact.email"),
        ({"name": "A\x00B"}, "contact.name"),
        ({"name": ""}, "contact.name"),
    ],
)
def test_an_invalid_contact_names_its_field_and_not_its_value(changes, field):
    with pytest.raises(BadInput, match=f"^{field}: the value is not") as caught:
        Contact(**changes)
    value = next(iter(changes.values()))
    assert not value or value not in str(caught.value)


def test_a_refused_card_token_is_not_repeated():
    with pytest.raises(BadInput) as caught:
        an_order(card_token="4111 1111 1111 1111")
    assert "4111" not in str(caught.value)


def test_printing_an_order_shows_no_personal_data():
    assert repr(an_order()) == "Order('o-1')"
    assert "4930" not in repr(Contact(phone="+4930123456"))


def test_lines_of_the_same_product_are_summed():
    order = an_order(items=(an_item(), an_item(quantity=3, freight_minor=0)), total_minor=2550)
    assert dict(order.quantities()) == {"p-1": 5}


def test_the_same_content_has_the_same_hash():
    assert an_order().content_hash() == an_order().content_hash()


@pytest.mark.parametrize(
    "changes",
    [
        {"customer_id": "c-2"},
        {"card_token": "tok_0002"},
        {"contact": Contact(phone="+4930123457")},
        {"items": (an_item(product_id="p-2"),)},
        {"placed_at": datetime(2026, 1, 1, tzinfo=UTC)},
    ],
)
def test_other_content_has_another_hash(changes):
    assert an_order(**changes).content_hash() != an_order().content_hash()


@pytest.mark.parametrize(
    ("order", "spelled_otherwise"),
    [
        (
            lambda: an_order(placed_at=datetime(2026, 1, 31, 10, 30, tzinfo=timezone(timedelta(hours=1)))),
            lambda: an_order(placed_at=datetime(2026, 1, 31, 9, 30, tzinfo=UTC)),
        ),
        (
            lambda: an_order(contact=Contact(name="Zo\u00eb M.")),
            lambda: an_order(contact=Contact(name="Zoe\u0308 M.")),
        ),
        (
            lambda: an_order(items=(an_item(), an_item(product_id="p-2")), total_minor=2100),
            lambda: an_order(items=(an_item(product_id="p-2"), an_item()), total_minor=2100),
        ),
    ],
    ids=["another zone", "another form of a letter", "lines in another order"],
)
def test_the_same_content_in_another_spelling_has_the_same_hash(order, spelled_otherwise):
    assert order().content_hash() == spelled_otherwise().content_hash()


@pytest.mark.parametrize(
    "changes",
    [
        {},
        {"placed_at": datetime(2026, 1, 31, 10, 30, tzinfo=timezone(timedelta(hours=1)))},
        {"contact": Contact(name="Zoe\u0301 M.")},
    ],
)
def test_an_order_stored_with_a_hash_of_version_1_is_recognised_when_it_comes_again(changes):
    order = an_order(**changes)
    version_1 = hashlib.sha256(msgspec.json.encode(order)).digest()
    assert order.has_content(version_1)
    assert not an_order(customer_id="c-2", **changes).has_content(version_1)
    assert not order.has_content(b"")


@pytest.mark.parametrize("currency", ["ZZZ", "RMB", "XAU", "XXX", "XTS", "eur", "EU", "", None, 978])
def test_a_currency_in_which_nobody_can_pay_is_refused(currency):
    with pytest.raises(BadInput, match=r"currency: .* is not a currency of ISO 4217"):
        an_order(currency=currency)


def test_an_order_read_from_json_is_checked_too():
    text = msgspec.json.encode(an_order()).replace(b'"total_minor":1050', b'"total_minor":1')
    with pytest.raises(BadInput, match="total_minor"):
        msgspec.json.decode(text, type=Order)
