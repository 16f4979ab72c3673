"""Amounts as people write them, and as integers in minor units. Pure."""

from decimal import Context, Decimal, DecimalException, Inexact, InvalidOperation, Overflow

from ordermq.errors import BadInput

# ISO 4217 currencies whose minor unit is not a hundredth.
_NO_DECIMALS = {
    "BIF", "CLP", "DJF", "GNF", "ISK", "JPY", "KMF", "KRW", "PYG", "RWF", "UGX", "UYI", "VND", "VUV", "XAF",
    "XOF", "XPF",
}  # fmt: skip
_THREE_DECIMALS = {"BHD", "IQD", "JOD", "KWD", "LYD", "OMR", "TND"}

_EXACT = Context(prec=60, traps=[Inexact, InvalidOperation, Overflow])


def decimals_of(currency: str) -> int:
    """Return how many decimals an amount in ``currency`` has (ISO 4217)."""
    if currency in _NO_DECIMALS:
        return 0
    return 3 if currency in _THREE_DECIMALS else 2


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


def written(amount_minor: int, currency: str) -> str:
    """Return the amount as a person writes it: ``12.99``, ``350`` in yen."""
    decimals = decimals_of(currency)
    return f"{Decimal(amount_minor).scaleb(-decimals):.{decimals}f}"
