"""An order as a shop hands it over. Pure.

Every value is checked when the object is made, so an ``Order`` that exists can be
stored and processed. Money is integer minor units (cents) of one ISO 4217 currency.
"""

import hashlib
import re
import unicodedata
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from datetime import UTC, datetime
from enum import StrEnum
from types import MappingProxyType
from typing import Literal

import msgspec

from ordermq.errors import BadInput
from ordermq.shop import phone
from ordermq.shop.adjustment import MAX_ADJUSTMENTS, Adjustment, sum_of
from ordermq.shop.fields import MAX_AMOUNT_MINOR, check_instant, check_int, check_text
from ordermq.shop.money import is_currency

MAX_ITEMS = 1000
MAX_ATTRIBUTES = 20
MAX_QUANTITY = 1_000_000

# A colon separates the parts of a message_id, so an order_id must not hold one.
_ORDER_ID = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,63}")
_ID = re.compile(r"[!-~]{1,64}")
_CARD_TOKEN = re.compile(r"[!-~]{1,128}")
_REFERENCE = re.compile(r"[!-~]{1,128}")
_EMAIL = re.compile(r"[^\s@\x00-\x1f\x7f\ud800-\udfff]{1,64}@[^\s@\x00-\x1f\x7f\ud800-\udfff]{1,189}")
_NAME = re.compile(r"[^\x00-\x1f\x7f\ud800-\udfff]{1,200}")
_ATTRIBUTE = re.compile(r"[A-Za-z][A-Za-z0-9_.-]{0,39}")


class Item(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """One line: ``quantity`` units; freight and adjustments are the whole line's. Raises BadInput."""

    product_id: str
    quantity: int
    unit_price_minor: int
    freight_minor: int = 0
    adjustments: tuple[Adjustment, ...] = ()

    def __post_init__(self) -> None:
        check_text("product_id", self.product_id, _ID, "1 to 64 printable ASCII characters without spaces")
        check_int("quantity", self.quantity, 1, MAX_QUANTITY)
        check_int("unit_price_minor", self.unit_price_minor, 0, MAX_AMOUNT_MINOR)
        check_int("freight_minor", self.freight_minor, 0, MAX_AMOUNT_MINOR)
        if self.adjustments:
            _check_adjustments(self.adjustments)
            if self.amount_minor < 0:
                raise BadInput(f"adjustments: the line comes to {self.amount_minor}, which is below 0")

    @property
    def amount_minor(self) -> int:
        """What the line costs, freight and the line's own adjustments included."""
        return self.quantity * self.unit_price_minor + self.freight_minor + sum_of(self.adjustments)


class Contact(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """How to reach the customer. Personal data, so ``repr`` shows none of it. Raises BadInput.

    A phone number is tidied: separators go, and a leading 00 becomes +. One that is no
    number costs the customer the text and not the order.
    """

    phone: str | None = None
    email: str | None = None
    name: str | None = None

    def __post_init__(self) -> None:
        if self.phone is not None:
            if not isinstance(self.phone, str):
                raise BadInput("contact.phone: the value is not text")
            msgspec.structs.force_setattr(self, "phone", phone.tidied(self.phone))
        if self.email is not None:
            check_text("contact.email", self.email, _EMAIL, "name@host", is_secret=True)
        if self.name is not None:
            allowed = "1 to 200 characters without control characters"
            check_text("contact.name", self.name, _NAME, allowed, is_secret=True)

    def __repr__(self) -> str:
        return "Contact(***)"


class PaidBefore(msgspec.Struct, frozen=True, kw_only=True):
    """The money was taken before the order came. ``reference`` is what the payment service calls the capture.

    Raises BadInput.
    """

    state: Literal["paid"] = "paid"
    reference: str

    def __post_init__(self) -> None:
        if self.state != "paid":
            raise BadInput(f"payment.state: {repr(self.state)[:40]} is not paid; leave payment out then")
        allowed = "1 to 128 printable ASCII characters without spaces"
        check_text("payment.reference", self.reference, _REFERENCE, allowed)


class Notify(StrEnum):
    """By what the customer of an order is told what happens to it."""

    TEXT = "text"
    EMAIL = "email"
    BOTH = "both"
    NONE = "none"


class Order(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """What a customer ordered and how it is paid. Raises BadInput naming the field.

    ``total_minor`` must be the sum of the items and the adjustments: a shop that computes
    another total gets the error here, before its customer sees it. 0 is allowed.
    ``card_token`` may be missing if there is nothing to charge. ``notify`` None: by text,
    or by e-mail if the contact has an address and no phone. ``placed_at`` None means now.
    ``attributes`` are what ``ordermq order list --where`` finds the order by; no personal data.
    """

    order_id: str
    customer_id: str
    currency: str
    items: tuple[Item, ...]
    total_minor: int
    card_token: str | None = None
    contact: Contact = Contact()
    placed_at: datetime | None = None
    adjustments: tuple[Adjustment, ...] = ()
    payment: PaidBefore | None = None
    notify: Notify | None = None
    attributes: dict[str, str] = {}

    def __post_init__(self) -> None:
        allowed = "1 to 64 of A-Z a-z 0-9 _ . - beginning with a letter or digit"
        check_text("order_id", self.order_id, _ORDER_ID, allowed)
        check_text("customer_id", self.customer_id, _ID, "1 to 64 printable ASCII characters without spaces")
        _check_currency(self.currency)
        if not 1 <= len(self.items) <= MAX_ITEMS:
            raise BadInput(f"items: {len(self.items)} lines; 1 to {MAX_ITEMS} are allowed")
        if self.adjustments:
            _check_adjustments(self.adjustments)
        self._check_total()
        if self.card_token is None:
            if self.is_charged:
                raise BadInput("card_token: missing, although there is something to charge")
        else:
            check_card_token(self.card_token)
        if self.notify is not None:
            _check_notify(self)
        if self.placed_at is not None:
            check_instant("placed_at", self.placed_at)
        if self.attributes:
            check_attributes(self.attributes)

    def __hash__(self) -> int:
        return hash(self.order_id)

    def _check_total(self) -> None:
        check_int("total_minor", self.total_minor, 0, MAX_AMOUNT_MINOR)
        amount_minor = sum(item.amount_minor for item in self.items) + sum_of(self.adjustments)
        if self.total_minor != amount_minor:
            and_more = " and adjustments" if self.adjustments else ""
            raise BadInput(
                f"total_minor: {self.total_minor} is not the sum of the items{and_more}, {amount_minor}"
            )

    @property
    def is_charged(self) -> bool:
        """Whether the card is to be charged: the order costs something and is not paid already."""
        return self.total_minor > 0 and self.payment is None

    @property
    def has_adjustments(self) -> bool:
        """Whether the order or one of its lines has any."""
        return bool(self.adjustments) or any(item.adjustments for item in self.items)

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
        written in, text counts in its composed form (NFC), lines, adjustments and attributes count in any
        order, and a contact without any field is no contact.
        """
        return _VERSION_2 + _sha256(_encoder.encode(self._normalised()))

    def has_content(self, stored: bytes) -> bool:
        """Return whether the order's content has the hash ``stored``, by the rule of its version.

        Version 1 was a hash of the fields as they were written, without a byte before it: of an order in
        another spelling than then, only its rows can tell (``earlier.py``).
        """
        forms = [_encoder.encode(self._normalised())]
        if is_by_meaning(stored):
            stored = stored[1:]
        else:
            forms.append(_encoder.encode(self))
        return any(stored == _sha256(each) for form in forms for each in self._spellings(form))

    def means(self, earlier: "Order") -> bool:
        """Return whether this is the order ``earlier``; without an instant it may have been placed at any."""
        if self.placed_at is None:
            earlier = msgspec.structs.replace(earlier, placed_at=None)
        return self._normalised() == earlier._normalised()

    def _spellings(self, form: bytes) -> Iterator[bytes]:
        """Yield ``form``, and as it was hashed before phone numbers were tidied: with 00 for the +."""
        yield form
        if (number := self.contact.phone) and number.startswith("+"):
            yield form.replace(f'"phone":"{number}"'.encode(), f'"phone":"00{number[1:]}"'.encode())

    def _normalised(self) -> "Order":
        contact = msgspec.structs.replace(
            self.contact, name=_composed(self.contact.name), email=_composed(self.contact.email)
        )
        placed_at = self.placed_at and self.placed_at.astimezone(UTC)
        items = self.items
        if self.has_adjustments:
            items = tuple(map(_normalised_item, items))
        items = tuple(sorted(items, key=msgspec.structs.astuple))
        adjustments = self.adjustments and _normalised_adjustments(self.adjustments)
        attributes = self.attributes and _normalised_attributes(self.attributes)
        return msgspec.structs.replace(
            self, contact=contact, placed_at=placed_at, items=items, adjustments=adjustments,
            attributes=attributes,
        )  # fmt: skip


def check_card_token(token: object) -> None:
    """Raise BadInput unless ``token`` can be one of a card; the error does not show it."""
    allowed = "1 to 128 printable ASCII characters without spaces"
    check_text("card_token", token, _CARD_TOKEN, allowed, is_secret=True)


_NOTIFY = {each.value: each for each in Notify}
_VERSION_2 = b"\x02"
_VERSION_2_BYTES = 1 + hashlib.sha256().digest_size

_encoder = msgspec.json.Encoder()


def is_by_meaning(content_hash: bytes) -> bool:
    """Return whether a stored hash is one of what the order means, as it is since version 2."""
    return content_hash[:1] == _VERSION_2 and len(content_hash) == _VERSION_2_BYTES


def _sha256(form: bytes) -> bytes:
    return hashlib.sha256(form).digest()


def _composed(text: str | None) -> str | None:
    return None if text is None else unicodedata.normalize("NFC", text)


def _normalised_item(item: Item) -> Item:
    return msgspec.structs.replace(item, adjustments=_normalised_adjustments(item.adjustments))


def _normalised_adjustments(adjustments: tuple[Adjustment, ...]) -> tuple[Adjustment, ...]:
    composed = (msgspec.structs.replace(each, label=_composed(each.label)) for each in adjustments)
    return tuple(sorted(composed))


def _normalised_attributes(attributes: Mapping[str, str]) -> dict[str, str]:
    return {name: unicodedata.normalize("NFC", value) for name, value in sorted(attributes.items())}


def check_attributes(attributes: Mapping[str, str]) -> None:
    """Raise BadInput unless these are attributes that an order may have."""
    if not isinstance(attributes, dict) or len(attributes) > MAX_ATTRIBUTES:
        raise BadInput(f"attributes: not a dict of at most {MAX_ATTRIBUTES} texts by their names")
    for name, value in attributes.items():
        allowed = "a name of 1 to 40 of A-Z a-z 0-9 _ . - beginning with a letter"
        check_text("attributes", name, _ATTRIBUTE, allowed)
        check_text(f"attributes.{name}", value, _NAME, "1 to 200 characters without control characters")


def _check_adjustments(adjustments: Sequence[Adjustment]) -> None:
    if len(adjustments) > MAX_ADJUSTMENTS:
        raise BadInput(f"adjustments: {len(adjustments)}; at most {MAX_ADJUSTMENTS} are allowed")


def _check_notify(order: Order) -> None:
    if order.notify not in _NOTIFY:
        raise BadInput(f"notify: {repr(order.notify)[:40]} is not one of {', '.join(_NOTIFY)}")
    msgspec.structs.force_setattr(order, "notify", _NOTIFY[order.notify])  # a caller may write "both"


def _check_currency(currency: object) -> None:
    if not isinstance(currency, str) or not is_currency(currency):
        raise BadInput(f"currency: {repr(currency)[:40]} is not a currency of ISO 4217, such as EUR")
