"""The ids of ordermq, made of what a shop's export holds. Pure.

The same export always gives the same ids, whatever else stands in the file. Text that names a
customer is hashed, because a customer_id stands in logs and events.
"""

import hashlib
import re
import unicodedata
from collections.abc import Mapping, Sequence

from ordermq.errors import BadInput
from ordermq.shop.intake.mapping import normalised

_PRODUCT_ID = re.compile(r"[!-~]{1,64}")
_TOKEN = re.compile(r"[!-~]{1,128}")
_NOT_OF_AN_ORDER_ID = re.compile(r"[^A-Za-z0-9_.-]+")
_NOT_OF_A_SLUG = re.compile(r"[^a-z0-9]+")

_LONGEST_ID = 64
_LONGEST_SLUG = 36


def order_id_of(name: str) -> str:
    """Return the order_id of an order's name in its shop: of ``#AB-1/26`` ``AB-1-26``; "" of no name.

    What an order_id cannot hold becomes a hyphen, so two names may give one order_id.
    """
    order_id = _NOT_OF_AN_ORDER_ID.sub("-", name.strip()).lstrip("_.-").rstrip("-")
    if len(order_id) > _LONGEST_ID:
        order_id = f"{order_id[: _LONGEST_ID - 17]}-{_hash(name)[:16]}"
    return order_id


def product_id_of(name: str, sku: str, ids: Sequence[str], products: Mapping[str, str]) -> str:
    """Return the product_id of a line: its SKU, what the mapping says, the shop's own id, or of its name.

    A SKU that holds spaces, or other characters that no product_id has, is made one as a name
    is: readable, with a hash that keeps two of them apart. Raises BadInput if nothing names
    the product.
    """
    sku, name = sku.strip(), normalised(name)
    if _PRODUCT_ID.fullmatch(sku):
        return sku
    if sku:
        return products.get(normalised(sku)) or f"sku:{_slug(sku)}"
    for each in (name, *ids):
        if each in products:
            return products[each]
    if ids:
        return ids[0]
    if not name:
        raise BadInput("a line without a product: it has neither a SKU nor a name")
    return f"name:{_slug(name)}"


def customer_id_of(email: str, phone: str, order_id: str) -> str:
    """Return the customer_id of a customer without one: of the e-mail address, the phone, or the order."""
    if email.strip():
        return f"customer-{_hash(email.strip().casefold())[:24]}"
    if digits := re.sub(r"[^0-9]", "", phone):
        return f"customer-{_hash(digits)[:24]}"
    return f"guest-{_hash(order_id)[:24]}"


def token_of(text: str) -> str | None:
    """Return ``text`` if it can be a card token or a payment's reference."""
    return text.strip() if _TOKEN.fullmatch(text.strip()) else None


def _slug(text: str) -> str:
    plain = unicodedata.normalize("NFKD", text).encode("ascii", "ignore").decode().lower()
    words = _NOT_OF_A_SLUG.sub("-", plain).strip("-")[:_LONGEST_SLUG].rstrip("-")
    return f"{words}-{_hash(text)[:12]}".lstrip("-")


def _hash(text: str) -> str:
    return hashlib.sha256(unicodedata.normalize("NFC", text).encode("utf-8", "replace")).hexdigest()
