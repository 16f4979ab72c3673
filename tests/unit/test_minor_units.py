"""Minor units: what services take where they count otherwise than ISO 4217."""

import pytest

from ordermq.errors import GatewayRefused
from ordermq.shop.minor_units import SERVICES, ServiceAmount, from_service, to_service
from ordermq.shop.money import decimals_of, is_currency

# currency, minor units of ISO 4217 for "12" of it, and what each service is sent
TABLE = [
    ("EUR", 1200, {"iso": (1200, 2), "stripe": (1200, 2), "adyen": (1200, 2), "paypal": (1200, 2)}),
    ("JPY", 12, {"iso": (12, 0), "stripe": (12, 0), "adyen": (12, 0)}),
    ("ISK", 12, {"iso": (12, 0), "stripe": (1200, 2), "adyen": (1200, 2)}),
    ("UGX", 12, {"iso": (12, 0), "stripe": (1200, 2), "adyen": (12, 0)}),
    ("CLP", 12, {"iso": (12, 0), "stripe": (12, 0), "adyen": (1200, 2)}),
    ("MGA", 1200, {"iso": (1200, 2), "stripe": (12, 0)}),
    ("IDR", 1200, {"iso": (1200, 2), "stripe": (1200, 2), "adyen": (12, 0)}),
    ("CVE", 1200, {"iso": (1200, 2), "stripe": (1200, 2), "adyen": (12, 0)}),
    *(
        (code, 12_000, {"iso": (12_000, 3), "stripe": (12_000, 3), "adyen": (12_000, 3)})
        for code in ("BHD", "JOD", "KWD", "OMR", "TND")
    ),
    ("HUF", 1200, {"stripe": (1200, 2), "adyen": (1200, 2), "paypal": (12, 0)}),
    ("TWD", 1200, {"stripe": (1200, 2), "adyen": (1200, 2), "paypal": (12, 0)}),
]


@pytest.mark.parametrize(("currency", "amount_minor", "sent"), TABLE, ids=[row[0] for row in TABLE])
def test_a_service_is_sent_the_amount_in_its_own_units(currency, amount_minor, sent):
    for service, amount in sent.items():
        assert to_service(amount_minor, currency, service) == ServiceAmount(*amount)
        assert from_service(amount[0], currency, service) == amount_minor


@pytest.mark.parametrize(
    ("amount_minor", "currency", "service"),
    [(12_345, "KWD", "stripe"), (1250, "MGA", "stripe"), (1250, "IDR", "adyen"), (1250, "HUF", "paypal")],
)
def test_an_amount_that_a_service_cannot_take_exactly_is_refused(amount_minor, currency, service):
    with pytest.raises(GatewayRefused, match=f"{service} cannot take .* {currency} exactly"):
        to_service(amount_minor, currency, service)


def test_currencies_have_the_decimals_of_iso_4217():
    assert {code: decimals_of(code) for code in ("EUR", "JPY", "KWD", "ISK", "HUF", "IQD", "MGA")} == {
        "EUR": 2, "JPY": 0, "KWD": 3, "ISK": 0, "HUF": 2, "IQD": 3, "MGA": 2
    }  # fmt: skip
    assert not any(is_currency(code) for code in ("XAU", "CLF", "UYW", "ZZZ", "RMB", ""))
    assert set(SERVICES) == {"iso", "stripe", "adyen", "paypal"}
