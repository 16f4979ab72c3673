"""An order as a shop hands it over. Pure.

Every value is checked when the object is made, so an ``Order`` that exists can be
stored and processed. Money is integer minor units (cents) of one ISO 4217 currency.
"""

import hashlib
import re
import unicodedata
from collections import Counter
from collections.abc import Mapping
from datetime import UTC, datetime
from types import MappingProxyType

import msgspec

from ordermq.errors import BadInput
from ordermq.shop.money import is_currency

MAX_ITEMS = 1000
MAX_QUANTITY = 1_000_000
MAX_AMOUNT_MINOR = 2**53 - 1  # the largest that a JSON reader with doubles reads exactly

# A colon separates the parts of a message_id, so an order_id must not hold one.
_ORDER_ID = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,63}")
_ID = re.compile(r"[!-~]{1,64}")
_CARD_TOKEN = re.compile(r"[!-~]{1,128}")
_PHONE = re.compile(r"\+?[0-9]{6,15}")
_EMAIL = re.compile(r"[^\s@\x00-\x1f\x7f\ud800-\udfff]{1,64}@[^\s@\x00-\x1f\x7f\ud800-\udfff]{1,189}")
_NAME = re.compile(r"[^\x00-\x1f\x7f\ud800-\udfff]{1,200}")


class Item(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """One line: ``quantity`` units of a product, and the freight of the whole line. Raises BadInput."""

    product_id: str
    quantity: int
    unit_price_minor: int
    freight_minor: int = 0

    def __post_init__(self) -> None:
        _check_text("product_id", self.product_id, _ID, "1 to 64 printable ASCII characters without spaces")
        _check_int("quantity", self.quantity, 1, MAX_QUANTITY)
        _check_int("unit_price_minor", self.unit_price_minor, 0, MAX_AMOUNT_MINOR)
        _check_int("freight_minor", self.freight_minor, 0, MAX_AMOUNT_MINOR)

    @property
    def amount_minor(self) -> int:
        """What the line costs, freight included."""
        return self.quantity * self.unit_price_minor + self.freight_minor


class Contact(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """How to reach the customer. Personal data, so ``repr`` shows none of it. Raises BadInput."""

    phone: str | None = None
    email: str | None = None
    name: str | None = None

    def __post_init__(self) -> None:
        if self.phone is not None:
            _check_text(
                "contact.phone", self.phone, _PHONE, "6 to 15 digits after an optional +", is_secret=True
            )
        if self.email is not None:
            _check_text("contact.email", self.email, _EMAIL, "name@host", is_secret=True)
        if self.name is not None:
            allowed = "1 to 200 characters without control characters"
            _check_text("contact.name", self.name, _NAME, allowed, is_secret=True)

    def __repr__(self) -> str:
        return "Contact(***)"


class Order(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """What a customer ordered and how it is paid. Raises BadInput naming the field.

    ``total_minor`` must be the sum of the items: a shop that computes another total
    gets the error here, before its customer sees it. ``placed_at`` None means now.
    """

    order_id: str
    customer_id: str
    currency: str
    items: tuple[Item, ...]
    total_minor: int
    card_token: str
    contact: Contact = Contact()
    placed_at: datetime | None = None

    def __post_init__(self) -> None:
        allowed = "1 to 64 of A-Z a-z 0-9 _ . - beginning with a letter or digit"
        _check_text("order_id", self.order_id, _ORDER_ID, allowed)
        _check_text("customer_id", self.customer_id, _ID, "1 to 64 printable ASCII characters without spaces")
        _check_currency(self.currency)
        allowed = "1 to 128 printable ASCII characters without spaces"
        _check_text("card_token", self.card_token, _CARD_TOKEN, allowed, is_secret=True)
        if not 1 <= len(self.items) <= MAX_ITEMS:
            raise BadInput(f"items: {len(self.items)} lines; 1 to {MAX_ITEMS} are allowed")
        _check_int("total_minor", self.total_minor, 1, MAX_AMOUNT_MINOR)
        amount_minor = sum(item.amount_minor for item in self.items)
        if self.total_minor != amount_minor:
            raise BadInput(f"total_minor: {self.total_minor} is not the sum of the items, {amount_minor}")
        if self.placed_at is not None:
            _check_instant("placed_at", self.placed_at)

    def __repr__(self) -> str:
        return f"Order({self.order_id!r})"

    def quantities(self) -> Mapping[str, int]:
        """Return the units of each product; lines of the same product are added up."""
        units: Counter[str] = Counter()
        for item in self.items:
            units[item.product_id] += item.quantity
        return MappingProxyType(units)

    def content_hash(self) -> bytes:
        """Return a hash of what the order means: it tells an order that comes again from another with its id.

        The first byte is the version of the rule, which is 2: an instant counts and not the zone it is
        written in, text counts in its composed form (NFC), lines count in any order, and a contact
        without any field is no contact.
        """
        return _VERSION_2 + hashlib.sha256(_encoder.encode(self._normalised())).digest()

    def has_content(self, stored: bytes) -> bool:
        """Return whether the order's content has the hash ``stored``, by the rule of its version.

        Version 1 was a hash of the fields as they were written, without a byte before it.
        """
        if stored[:1] == _VERSION_2 and len(stored) == _VERSION_2_BYTES:
            return stored == self.content_hash()
        return stored in (_sha256(self), _sha256(self._normalised()))

    def _normalised(self) -> "Order":
        contact = msgspec.structs.replace(
            self.contact, name=_composed(self.contact.name), email=_composed(self.contact.email)
        )
        placed_at = self.placed_at and self.placed_at.astimezone(UTC)
        items = tuple(sorted(self.items, key=msgspec.structs.astuple))
        return msgspec.structs.replace(self, contact=contact, placed_at=placed_at, items=items)


_VERSION_2 = b"\x02"
_VERSION_2_BYTES = 1 + hashlib.sha256().digest_size

_encoder = msgspec.json.Encoder()


def _sha256(order: Order) -> bytes:
    return hashlib.sha256(_encoder.encode(order)).digest()


def _composed(text: str | None) -> str | None:
    return None if text is None else unicodedata.normalize("NFC", text)


def _check_currency(currency: object) -> None:
    if not isinstance(currency, str) or not is_currency(currency):
        raise BadInput(f"currency: {repr(currency)[:40]} is not a currency of ISO 4217, such as EUR")


def _check_text(
    field: str, value: object, pattern: re.Pattern[str], allowed: str, *, is_secret: bool = False
) -> None:
    if not isinstance(value, str) or not pattern.fullmatch(value):
        shown = "the value" if is_secret else repr(value)[:80]
        raise BadInput(f"{field}: {shown} is not {allowed}")


def _check_int(field: str, value: object, least: int, most: int) -> None:
    # Python takes a bool for an int, but a quantity of True is a mistake of the caller.
    if not isinstance(value, int) or isinstance(value, bool) or not least <= value <= most:
        raise BadInput(f"{field}: {str(value)[:40]} is not a whole number from {least} to {most}")


def _check_instant(field: str, value: datetime) -> None:
    if value.tzinfo is None:
        raise BadInput(f"{field}: has no time zone")
    try:
        value.astimezone(UTC)
    except OverflowError:
        raise BadInput(f"{field}: {value.isoformat()} is outside of the years 1 to 9999 in UTC") from None
