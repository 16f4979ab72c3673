"""What a caller says of orders that were exported by a shop: ``--paid``, and the file of ``--mapping``.

    currency = "EUR"                            # of orders that name none
    time_zone = "Europe/Berlin"                 # of times that are written without one
    order_id_from = "Id"                        # column or field that the order_id is made of
    card_token_from = "Payment Reference"       # column or field that holds the card token
    card_token = "tok_on_account"               # card token of orders that have none
    payment_reference_from = "Payment ID"       # column or field that names a payment made before
    notify = "none"                             # text, email, both or none, for every order

    [products]                                  # product_id by name, for products without a SKU
    "Tea Pot - Blue" = "POT-B"

Each key may be missing. A key with another name is refused.
"""

import re
import tomllib
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import tzinfo
from enum import StrEnum
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

from ordermq.errors import UsageError
from ordermq.shop.model import Notify
from ordermq.shop.money import is_currency

_PRODUCT_ID = re.compile(r"[!-~]{1,64}")
_CARD_TOKEN = re.compile(r"[!-~]{1,128}")
_MOST_BYTES = 16 * 1024 * 1024  # a name and a product_id for each of some 100,000 products


class PaidOrders(StrEnum):
    """What becomes of orders whose money was taken before: left out, or placed without a charge."""

    SKIP = "skip"
    PLACE = "place"


@dataclass(frozen=True, slots=True, kw_only=True)
class ExportMapping:
    """What an export does not say. ``None`` means that the mapping does not say it either."""

    currency: str | None = None
    time_zone: tzinfo | None = None
    order_id_from: str | None = None
    card_token_from: str | None = None
    card_token: str | None = field(default=None, repr=False)
    payment_reference_from: str | None = None
    notify: Notify | None = None
    products: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class ReadOptions:
    """How the orders of a shop's export are to be read."""

    paid: PaidOrders = PaidOrders.SKIP
    mapping: ExportMapping = ExportMapping()


def read_mapping(path: Path) -> ExportMapping:
    """Read the file of ``--mapping``. Raises UsageError naming the key that is wrong."""
    try:
        data = path.read_bytes()[: _MOST_BYTES + 1]
        if len(data) > _MOST_BYTES:
            raise UsageError(f"--mapping {path}: the file is over {_MOST_BYTES} bytes")
        found = tomllib.loads(data.decode("utf-8-sig"))
    except OSError as exc:
        raise UsageError(f"cannot read --mapping {path}: {exc.strerror}") from exc
    except (tomllib.TOMLDecodeError, UnicodeDecodeError, RecursionError) as exc:
        raise UsageError(f"--mapping {path} is not TOML: {exc}") from exc
    if unknown := sorted(found.keys() - _CHECKS.keys()):
        raise UsageError(f"--mapping {path}: unknown key {unknown[0]!r}; possible: {', '.join(_CHECKS)}")
    checked = {}
    for name, value in found.items():
        try:
            checked[name] = _CHECKS[name](value)
        except ValueError as exc:
            raise UsageError(f"--mapping {path}: {name}: {exc}") from exc
    return ExportMapping(**checked)


def _text(value: object) -> str:
    if not isinstance(value, str) or not value.strip():
        raise ValueError("is not text in quotes")
    return value.strip()


def _currency(value: object) -> str:
    if not is_currency(_text(value)):
        raise ValueError(f"{value!r:.40} is not a currency of ISO 4217, such as EUR")
    return _text(value)


def _time_zone(value: object) -> tzinfo:
    try:
        return ZoneInfo(_text(value))
    except (OSError, ValueError) as exc:
        raise ValueError(f"{value!r:.40} is not a time zone such as Europe/Berlin") from exc
    except LookupError as exc:
        raise ValueError(f"{value!r:.40} is not a time zone that this machine knows") from exc


def _card_token(value: object) -> str:
    if not _CARD_TOKEN.fullmatch(_text(value)):
        raise ValueError("the value is not 1 to 128 printable ASCII characters without spaces")
    return _text(value)


def _notify(value: object) -> Notify:
    try:
        return Notify(_text(value))
    except ValueError:
        raise ValueError(f"{value!r:.40} is not one of {', '.join(Notify)}") from None


def _products(value: object) -> Mapping[str, str]:
    if not isinstance(value, dict):
        raise ValueError('is not a table; write [products] and lines like "Tea Pot" = "POT-1" below it')
    found: dict[str, str] = {}
    for name, product_id in value.items():
        if not isinstance(product_id, str) or not _PRODUCT_ID.fullmatch(product_id):
            allowed = "1 to 64 printable ASCII characters without spaces"
            raise ValueError(f"{name!r:.80}: {product_id!r:.80} is not {allowed}")
        if found.setdefault(normalised(name), product_id) != product_id:
            raise ValueError(f"{name!r:.80}: stands twice, with two product_ids")
    return found


def normalised(name: str) -> str:
    """Return a product's name as it is compared: with single spaces."""
    return " ".join(name.split())


_CHECKS: Mapping[str, Callable[[Any], Any]] = {
    "currency": _currency,
    "time_zone": _time_zone,
    "order_id_from": _text,
    "card_token_from": _text,
    "card_token": _card_token,
    "payment_reference_from": _text,
    "notify": _notify,
    "products": _products,
}
