"""A phone number that people wrote costs no order, whatever it looks like."""

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ordermq.errors import ConfigError
from ordermq.shop.model import Contact
from ordermq.shop.phone import MAX_CHARS, check_region, dialable, is_number, tidied


@pytest.mark.parametrize(
    ("written", "number"),
    [
        ("+4930123456", "+4930123456"),
        ("030123456", "030123456"),
        ("+49 30/12 34-56", "+4930123456"),
        ("'+4930123456", "+4930123456"),
        ("0049 30 123456", "+4930123456"),
        ("+49 (0)30 123456", "+4930123456"),
        ("0049 (0) 30.123.456", "+4930123456"),
        ("(0)30 123456", "030123456"),
        ("(555) 123\u20114567", "5551234567"),
        ("\u202a+49\u00a0170\u20091234567\u202c", "+491701234567"),
        ("\uff0b49 30 123456", "+4930123456"),
        ("\u0660\u0661\u0662\u0663\u0664\u0665\u0666", "0123456"),
    ],
)
def test_a_number_in_any_usual_spelling_is_tidied(written: str, number: str) -> None:
    assert tidied(written) == number
    assert is_number(number)


@pytest.mark.parametrize(
    ("written", "kept"),
    [
        ("call me", "call me"),
        ("+1 555 123 4567 x89", "+1 555 123 4567 x89"),
        ("12345", "12345"),
        ("a\x00b\ud800", "a b"),
        ("x" * 100, "x" * MAX_CHARS),
        ("+49 30 1234567890123", "+49 30 1234567890123"),
    ],
)
def test_what_is_no_number_is_kept_for_people(written: str, kept: str) -> None:
    assert tidied(written) == kept
    assert not is_number(kept)


@pytest.mark.parametrize("written", ["", " ", "'", "\u200b", "\x00"])
def test_a_number_without_a_character_is_no_number_and_no_contact(written: str) -> None:
    assert Contact(phone=written) == Contact()
    assert msgspec.json.decode(b'{"phone": "\'"}', type=Contact).phone is None


@pytest.mark.parametrize(
    ("phone", "region", "number"),
    [
        ("+4930123456", "", "+4930123456"),
        ("030123456", "", "030123456"),
        ("call me", "", None),
        ("+4930123456", "FR", "+4930123456"),
        ("030123456", "DE", "+4930123456"),
        ("0612345678", "FR", "+33612345678"),
        ("5551234567", "US", "+15551234567"),
        ("+1 555 123 4567 x89", "US", "+15551234567"),
        ("call me", "DE", None),
        ("1234567890123456", "DE", None),
        ("12", "DE", None),
    ],
)
def test_a_national_number_is_one_of_the_region_that_is_set(
    phone: str, region: str, number: str | None
) -> None:
    assert dialable(phone, region) == number


def test_a_region_that_is_no_country_is_refused() -> None:
    check_region("")
    check_region("DE")
    with pytest.raises(ConfigError, match="phone_region"):
        check_region("XX")


@given(st.text())
def test_no_text_costs_the_order_and_a_tidied_one_stays_as_it_is(written: str) -> None:
    phone = Contact(phone=written).phone
    if phone is not None:
        phone.encode()
        assert 1 <= len(phone) <= MAX_CHARS
        assert "\x00" not in phone
        assert tidied(phone) == phone
