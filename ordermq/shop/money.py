"""Amounts as people write them, and as integers in minor units. Pure."""

from collections.abc import Mapping
from decimal import Context, Decimal, DecimalException, Inexact, InvalidOperation, Overflow
from functools import cache

from ordermq.errors import BadInput

_EXACT = Context(prec=60, traps=[Inexact, InvalidOperation, Overflow])


@cache
def _decimals() -> Mapping[str, int]:
    """Return the decimals of every currency of ISO 4217 that has a minor unit: not of gold or of XXX."""
    from iso4217 import Currency  # noqa: PLC0415 # reads its table when imported, 50 ms that few commands need

    # Four decimals have only the units of account of Chile and Uruguay, in which nobody pays.
    return {each.code: each.exponent for each in Currency if each.exponent in (0, 2, 3)}


def is_currency(code: str) -> bool:
    """Return whether amounts can be in ``code``: a currency in force today, with a minor unit."""
    return code in _decimals()


def decimals_of(currency: str) -> int:
    """Return how many decimals an amount in ``currency`` has (ISO 4217).

    A stored order may be in a currency that was withdrawn since, as BGN in 2026: 2, as most have.
    """
    return _decimals().get(currency, 2)


def minor_units(amount: Decimal, currency: str, field: str) -> int:
    """Return ``amount`` in the currency's minor units, exactly. Raises BadInput naming ``field``."""
    decimals = decimals_of(currency)
    if not amount.is_finite() or amount.adjusted() > 15:
        raise BadInput(f"{field}: {amount:.12g} is not an amount")
    try:
        scaled = _EXACT.scaleb(amount, decimals)
        if scaled == _EXACT.to_integral_value(scaled):
            return int(scaled)
    except DecimalException:
        pass  # it has more digits than any amount
    raise BadInput(f"{field}: {amount:.12g} has more than {currency}'s {decimals} decimals")


def read_amount(text: str, currency: str, field: str) -> int:
    """Return what a person typed, as ``12.99``, in minor units. Raises BadInput naming ``field``."""
    try:
        amount_minor = minor_units(Decimal(text), currency, field)
    except InvalidOperation as exc:
        raise BadInput(f"{field}: {text[:40]!r} is not an amount like 12.99") from exc
    if amount_minor <= 0:
        raise BadInput(f"{field}: {text[:40]!r} is not more than 0")
    return amount_minor


def written(amount_minor: int, currency: str) -> str:
    """Return the amount as a person writes it: ``12.99``, ``350`` in yen."""
    decimals = decimals_of(currency)
    return f"{Decimal(amount_minor).scaleb(-decimals):.{decimals}f}"
