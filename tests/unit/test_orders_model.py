"""An order that exists can be stored and processed."""

import hashlib
from datetime import UTC, datetime, timedelta, timezone

import msgspec
import pytest

from ordermq.errors import BadInput
from ordermq.shop.adjustment import MAX_ADJUSTMENTS, Adjustment, AdjustmentKind
from ordermq.shop.fields import MAX_AMOUNT_MINOR
from ordermq.shop.model import MAX_ITEMS, Contact, Item, Notify, Order, PaidBefore


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
        ({"total_minor": 0}, "total_minor"),
        ({"total_minor": -50, "adjustments": (Adjustment("discount", -1100),)}, "total_minor"),
        ({"adjustments": (Adjustment("fee", 1),) * (MAX_ADJUSTMENTS + 1)}, "adjustments"),
        ({"card_token": None}, "card_token"),
        ({"payment": PaidBefore(reference="ch_1"), "card_token": "a b"}, "card_token"),
        ({"notify": "pigeon"}, "notify"),
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
        ({"adjustments": (Adjustment("discount", -1051),)}, "adjustments"),
    ],
)
def test_an_item_out_of_bounds_names_its_field(changes, field):
    with pytest.raises(BadInput, match=f"^{field}: "):
        an_item(**changes)


@pytest.mark.parametrize(
    ("changes", "field"),
    [
        ({"phone": 4930123456}, "contact.phone"),
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
    assert not value or str(value) not in str(caught.value)


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


@pytest.mark.parametrize("version", [2, 1])
def test_an_order_stored_with_00_before_its_number_is_recognised_when_it_comes_again(version):
    order = an_order(contact=Contact(phone="00 49 30 123456"))
    assert order == an_order(contact=Contact(phone="+4930123456"))
    as_written = msgspec.json.encode(order).replace(b"+4930", b"004930")
    stored = (b"" if version == 1 else b"\x02") + hashlib.sha256(as_written).digest()
    assert order.has_content(stored)
    assert not an_order(contact=Contact(phone="+4930123457")).has_content(stored)
    assert not an_order(contact=Contact(phone="4930123456")).has_content(stored)


def test_the_hash_of_an_order_as_orders_were_before_has_not_changed():
    assert an_order().content_hash().hex() == (
        "02" + hashlib.sha256(
            b'{"order_id":"o-1","customer_id":"c-1","currency":"EUR","items":[{"product_id":"p-1","quantity":2,'
            b'"unit_price_minor":500,"freight_minor":50}],"total_minor":1050,"card_token":"tok_0001",'
            b'"contact":{"phone":"+4930123456"}}'
        ).hexdigest()
    )  # fmt: skip


def test_the_total_is_the_sum_of_items_and_adjustments_and_may_be_0():
    line = (Adjustment("discount", -100), Adjustment("tax_included", 33))
    whole = (Adjustment("shipping", 490, "DHL"), Adjustment("tax", 76), Adjustment("fee", -16))
    order = an_order(items=(an_item(adjustments=line),), adjustments=whole, total_minor=1500)
    assert order.items[0].amount_minor == 950
    assert order.is_charged
    free = an_order(adjustments=(Adjustment("gift_card", -1050),), total_minor=0, card_token=None)
    assert not free.is_charged


def test_an_order_that_is_paid_already_needs_no_card():
    order = an_order(payment=PaidBefore(reference="ch_1"), card_token=None)
    assert not order.is_charged
    assert order.content_hash() != an_order().content_hash()


def test_a_payment_that_is_not_made_yet_is_not_called_paid():
    with pytest.raises(BadInput, match=r"payment\.state: 'pending' is not paid"):
        PaidBefore(state="pending", reference="ch_1")
    with pytest.raises(BadInput, match=r"payment\.reference"):
        PaidBefore(reference="")


@pytest.mark.parametrize(
    ("kind", "amount_minor"),
    [
        ("discount", 1), ("gift_card", 1), ("shipping", -1), ("tax", -1), ("tax_included", -1),
        ("fee", 2**53), ("rounding", True), ("coupon", -1), (None, 0),
    ],
)  # fmt: skip
def test_an_adjustment_of_a_wrong_kind_or_sign_is_refused(kind, amount_minor):
    with pytest.raises(BadInput, match=r"^adjustments"):
        Adjustment(kind, amount_minor)


def test_a_kind_and_a_way_to_notify_may_be_written_as_text():
    assert Adjustment("fee", -1).kind is AdjustmentKind.FEE
    assert an_order(notify="both").notify is Notify.BOTH


def test_adjustments_count_in_any_order_and_their_labels_in_any_form():
    first, second = Adjustment("discount", -5, "Caf\u00e9"), Adjustment("discount", -5, "A")
    other_form = Adjustment("discount", -5, "Cafe\u0301")
    orders = [
        an_order(adjustments=adjustments, items=(an_item(adjustments=adjustments),) * 2, total_minor=2070)
        for adjustments in [(first, second), (second, other_form)]
    ]
    assert orders[0].content_hash() == orders[1].content_hash()


def test_an_order_with_all_it_may_hold_is_the_same_after_json():
    order = an_order(
        adjustments=(Adjustment("discount", -50, "WELCOME"),), total_minor=1005,
        items=(an_item(adjustments=(Adjustment("fee", 5),)),), payment=PaidBefore(reference="ch_1"),
        notify="email", card_token=None,
    )  # fmt: skip
    assert msgspec.json.decode(msgspec.json.encode(order), type=Order) == order


@pytest.mark.parametrize("currency", ["ZZZ", "RMB", "XAU", "XXX", "XTS", "eur", "EU", "", None, 978])
def test_a_currency_in_which_nobody_can_pay_is_refused(currency):
    with pytest.raises(BadInput, match=r"currency: .* is not a currency of ISO 4217"):
        an_order(currency=currency)


def test_an_order_read_from_json_is_checked_too():
    text = msgspec.json.encode(an_order()).replace(b'"total_minor":1050', b'"total_minor":1')
    with pytest.raises(BadInput, match="total_minor"):
        msgspec.json.decode(text, type=Order)
