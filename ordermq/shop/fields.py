"""Checks of single fields, which name the field and never repeat personal data. Pure."""

import re
from datetime import UTC, datetime

from ordermq.errors import BadInput

MAX_AMOUNT_MINOR = 2**53 - 1  # the largest that a JSON reader with doubles reads exactly


def check_text(
    field: str, value: object, pattern: re.Pattern[str], allowed: str, *, is_secret: bool = False
) -> None:
    """Raise BadInput unless ``value`` is text that ``pattern`` matches; ``allowed`` says so in words."""
    if not isinstance(value, str) or not pattern.fullmatch(value):
        shown = "the value" if is_secret else repr(value)[:80]
        raise BadInput(f"{field}: {shown} is not {allowed}")


def check_int(field: str, value: object, least: int, most: int) -> None:
    """Raise BadInput unless ``value`` is a whole number from ``least`` to ``most``."""
    # Python takes a bool for an int, but a quantity of True is a mistake of the caller.
    if not isinstance(value, int) or isinstance(value, bool) or not least <= value <= most:
        raise BadInput(f"{field}: {str(value)[:40]} is not a whole number from {least} to {most}")


def check_instant(field: str, value: datetime) -> None:
    """Raise BadInput unless ``value`` has a time zone and a form in UTC."""
    if value.tzinfo is None:
        raise BadInput(f"{field}: has no time zone")
    try:
        value.astimezone(UTC)
    except OverflowError:
        raise BadInput(f"{field}: {value.isoformat()} is outside of the years 1 to 9999 in UTC") from None
