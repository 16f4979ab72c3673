"""The file of --mapping: what it may say, and that nothing else goes unnoticed."""

import re
from dataclasses import astuple, fields
from pathlib import Path
from zoneinfo import ZoneInfo

import pytest

from ordermq.errors import UsageError
from ordermq.shop.cli.exports import read_options
from ordermq.shop.intake import PaidOrders, ReadOptions, read_mapping
from ordermq.shop.model import Notify

PAGE = Path(__file__).parents[2] / "docs" / "order-files.md"
FULL = """
currency = "EUR"
time_zone = "Europe/Berlin"
order_id_from = "Id"
card_token_from = "Payment Reference"
card_token = "tok_on_account"
payment_reference_from = "Payment ID"
notify = "none"

[products]
"Tea  Pot - Blue" = "POT-B"
"""


def read(tmp_path, text):
    path = tmp_path / "mapping.toml"
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    return read_mapping(path)


def test_every_key_is_read_and_each_may_be_missing(tmp_path):
    found = read(tmp_path, FULL)
    assert (found.currency, found.time_zone, found.notify) == ("EUR", ZoneInfo("Europe/Berlin"), Notify.NONE)
    assert (found.order_id_from, found.payment_reference_from) == ("Id", "Payment ID")
    assert (found.card_token_from, found.card_token) == ("Payment Reference", "tok_on_account")
    assert found.products == {"Tea Pot - Blue": "POT-B"}
    assert read(tmp_path, "").currency is None
    assert read(tmp_path, b"\xef\xbb\xbfcurrency = 'EUR'").currency == "EUR"


def test_the_example_of_the_documentation_is_a_mapping(tmp_path):
    *_, block = re.findall(r"^```toml\n(.+?)^```$", PAGE.read_text(), re.DOTALL | re.MULTILINE)
    assert block.count("=") >= len(fields(read(tmp_path, block)))
    assert None not in astuple(read(tmp_path, block))


def test_a_card_token_does_not_show(tmp_path):
    assert "tok_on_account" not in repr(read(tmp_path, FULL))


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ('curency = "EUR"', "unknown key 'curency'; possible: currency"),
        ('currency = "EURO"', "currency: 'EURO' is not a currency"),
        ("currency = 7", "currency: is not text in quotes"),
        ('order_id_from = " "', "order_id_from: is not text"),
        ('time_zone = "Berlin"', "time_zone: 'Berlin' is not a time zone"),
        ('time_zone = "../etc/passwd"', "time_zone: '../etc/passwd' is not a time zone"),
        ('card_token = "two words"', "card_token: the value is not"),
        ('notify = "fax"', "notify: 'fax' is not one of text, email"),
        ('products = "P"', "products: is not a table; write"),
        ('[products]\n"Pot" = "a b"', "products: 'Pot': 'a b' is not"),
        ('[products]\n"Pot" = 7', "products: 'Pot': 7 is not"),
        ('[products]\n"Pot" = "A"\n" Pot" = "B"', "products: ' Pot': stands twice"),
        ("currency = EUR", "is not TOML"),
        (b"\xff", "is not TOML"),
    ],
)
def test_what_is_wrong_is_named_with_its_key(tmp_path, text, said):
    with pytest.raises(UsageError) as raised:
        read(tmp_path, text)
    assert said in str(raised.value)
    assert "mapping.toml" in str(raised.value)


def test_a_mapping_that_is_missing_or_has_no_use_is_an_error(tmp_path):
    with pytest.raises(UsageError, match="cannot read --mapping"):
        read_mapping(tmp_path / "none.toml")
    with pytest.raises(UsageError, match="no use with --format native"):
        read_options("native", "skip", tmp_path / "none.toml")
    assert read_options("native", "place", None) == ReadOptions(PaidOrders.PLACE)
