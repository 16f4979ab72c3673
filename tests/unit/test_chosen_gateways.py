"""Gateways that settings name: made from the settings, or refused in words before anything starts."""

import pytest

from ordermq.cli.program import registry_of
from ordermq.config import load
from ordermq.errors import ConfigError
from ordermq.shop import ShopSettings
from ordermq.shop import module as shop
from ordermq.shop.gateways import PointsGateway, TextGateway
from ordermq.shop.gateways.chosen import payment_gateway, points_gateway, text_gateway
from ordermq.shop.gateways.http_payment import HttpPaymentGateway
from ordermq.shop.gateways.http_text import HttpTextGateway
from ordermq.shop.handlers.notify import SendNotificationHandler
from ordermq.shop.handlers.points import AwardPointsHandler

HERE = __name__


def config(**settings):
    names = {f"ORDERMQ_SHOP_{name.upper()}": value for name, value in settings.items()}
    return load(environ={"ORDERMQ_CONFIG": "", **names}, extra_sections={"shop": ShopSettings})


class Pigeons(TextGateway):
    def __init__(self, loft):
        self.loft = loft

    @classmethod
    def from_config(cls, config):
        return cls(config.section("shop").name)

    def send(self, to, text, *, reference, timeout_s=None):
        return f"{self.loft}-{reference}"

    def sent(self):
        yield []


class Wordless(TextGateway):
    @classmethod
    def from_config(cls, config):
        return cls()


class Points(PointsGateway):
    @classmethod
    def from_config(cls, config):
        return cls()

    def book(self, booking, *, timeout_s=None):
        pass


def test_the_gateways_over_http_are_the_defaults():
    assert isinstance(payment_gateway(config()), HttpPaymentGateway)
    assert isinstance(text_gateway(config()), HttpTextGateway)


def test_a_class_that_a_setting_names_is_made_from_the_settings_and_given_to_the_handlers():
    chosen = config(text_gateway=f"{HERE}:Pigeons", name="north")
    assert text_gateway(chosen).loft == "north"
    assert isinstance(SendNotificationHandler.from_config(chosen)._gateway, Pigeons)


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("no_such_package.sms:Gateway", "it cannot be imported: No module named 'no_such_package'"),
        (f"{HERE}:Gone", "it cannot be imported: .*Gone"),
        (f"{HERE}:Points", "it is not a subclass of ordermq.shop.gateways.TextGateway"),
        (f"{HERE}:config", "it is not a subclass"),
        (f"{HERE}:Wordless", "it does not define send, sent"),
    ],
)
def test_a_name_that_is_no_gateway_is_refused_with_its_setting_and_source(name, words):
    with pytest.raises(ConfigError, match=words) as refused:
        text_gateway(config(text_gateway=name))
    assert "shop.text_gateway" in str(refused.value)
    assert "ORDERMQ_SHOP_TEXT_GATEWAY" in str(refused.value)
    assert refused.value.exit_code == 78


@pytest.mark.parametrize("name", ["gateway", "my.module.Class", "my.module:", ":Class", "my module:Class"])
def test_a_name_of_another_shape_is_refused_when_the_settings_are_read(name):
    with pytest.raises(ConfigError, match=r"shop\.payment_gateway.*package\.module:Class"):
        config(payment_gateway=name)


def test_points_are_the_table_s_unless_a_class_is_named():
    def of(config):
        return registry_of([shop], config).of_queue("points")

    assert all(not each.is_external for each in of(config()))
    chosen = config(points_gateway=f"{HERE}:Points")
    assert AwardPointsHandler in [each.call for each in of(chosen)]
    assert isinstance(points_gateway(chosen), Points)
