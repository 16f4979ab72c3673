"""Amounts in a shop's export: decimals as it writes them, and the times beside them. Pure."""

import re
from collections.abc import Iterable
from datetime import UTC, datetime, tzinfo
from decimal import ROUND_HALF_UP, Decimal

from ordermq.errors import BadInput
from ordermq.shop.adjustment import Adjustment, AdjustmentKind
from ordermq.shop.money import decimals_of, minor_units

_DECIMAL = re.compile(r"-?[0-9]{1,15}(\.[0-9]{1,18})?", re.ASCII)
_OFFSET = re.compile(r"\s*(?:UTC|GMT)$")

LONGEST_LABEL = 200


def decimal_of(text: str, field: str) -> Decimal:
    """Return the amount that ``text`` says, 0 if it is blank. Raises BadInput naming ``field``."""
    text = text.strip()
    if not text:
        return Decimal(0)
    if not _DECIMAL.fullmatch(text):
        raise BadInput(f"{field}: {text[:40]!r} is not an amount like 12.99")
    return Decimal(text)


def amount_of(text: str, currency: str, field: str) -> int:
    """Return the amount in minor units, exactly. Raises BadInput naming ``field``."""
    return minor_units(decimal_of(text, field), currency, field)


def rounded(amount: Decimal, currency: str) -> int:
    """Return the amount in minor units, rounded half up as shops do."""
    scaled = amount.scaleb(decimals_of(currency))
    return int(scaled.to_integral_value(ROUND_HALF_UP))


def adjustments_of(found: Iterable[tuple[AdjustmentKind, int, str]]) -> tuple[Adjustment, ...]:
    """Return an adjustment of each amount that is not 0, with a label that fits."""
    return tuple(
        Adjustment(kind, amount_minor, " ".join(label.split())[:LONGEST_LABEL])
        for kind, amount_minor, label in found
        if amount_minor
    )


def instant_of(text: str, zone: tzinfo | None, field: str) -> datetime:
    """Return the instant of a time such as ``2026-03-08 01:30:00 -0500``.

    A time without an offset is in ``zone``. Raises BadInput naming ``field``.
    """
    try:
        instant = datetime.fromisoformat(_OFFSET.sub("+00:00", text.strip()))
        if instant.tzinfo is None and zone is not None:
            instant = instant.replace(tzinfo=zone)
        if instant.tzinfo is not None:
            return instant.astimezone(UTC)
    except (ValueError, OverflowError) as exc:
        raise BadInput(f"{field}: {text[:40]!r} is not a time like 2026-03-08 01:30:00 -0500") from exc
    raise BadInput(f"{field}: {text[:40]!r} has no time zone; name it as time_zone in the file of --mapping")
