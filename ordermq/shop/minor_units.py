"""The amounts that payment services take: their minor units are not always those of ISO 4217. Pure.

An amount passed on unchanged in one of the currencies below is charged a hundred times too high or
too low, and nothing complains. Source: docs.stripe.com/currencies and
docs.adyen.com/development-resources/currency-codes, November 2026.
"""

from collections.abc import Mapping
from dataclasses import dataclass

from ordermq.errors import GatewayRefused
from ordermq.shop.money import decimals_of, written

ISO = "iso"

# Decimals where a service counts otherwise than ISO 4217.
_DECIMALS: Mapping[str, Mapping[str, int]] = {
    ISO: {},
    "stripe": {"ISK": 2, "UGX": 2, "MGA": 0},
    "adyen": {"ISK": 2, "CLP": 2, "IDR": 0, "CVE": 0},
    "paypal": {"HUF": 0, "TWD": 0},
}
# What an amount, in the service's units, has to be a multiple of.
_MULTIPLES: Mapping[str, Mapping[str, int]] = {
    "stripe": {"ISK": 100, "UGX": 100, **dict.fromkeys(("BHD", "JOD", "KWD", "OMR", "TND"), 10)},
}

SERVICES = tuple(_DECIMALS)


@dataclass(frozen=True, slots=True)
class ServiceAmount:
    """An amount in the units of a service, which has ``exponent`` decimals."""

    amount_minor: int
    exponent: int


def from_service(amount: int, currency: str, service: str) -> int:
    """Return an amount of the service in ISO 4217's minor units, rounded down if it has no such form."""
    decimals = decimals_of(currency)
    exponent = _DECIMALS[service].get(currency, decimals)
    return int(amount * 10**decimals // 10**exponent)


def to_service(amount_minor: int, currency: str, service: str) -> ServiceAmount:
    """Return what ``service``, one of SERVICES, takes for an amount in ISO 4217's minor units.

    Raises GatewayRefused for an amount that the service cannot take exactly.
    """
    decimals = decimals_of(currency)
    exponent = _DECIMALS[service].get(currency, decimals)
    amount, rest = divmod(amount_minor * 10**exponent, 10**decimals)
    if rest or amount % _MULTIPLES.get(service, {}).get(currency, 1):
        raise GatewayRefused(f"{service} cannot take {written(amount_minor, currency)} {currency} exactly")
    return ServiceAmount(amount, exponent)
