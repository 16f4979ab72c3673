"""The gateways that the settings name, each ``package.module:Class``."""

from pkgutil import resolve_name
from typing import Protocol, Self, TypeVar

from ordermq.config import Loaded
from ordermq.errors import ConfigError
from ordermq.shop.gateways.email import EmailGateway
from ordermq.shop.gateways.payment import PaymentGateway
from ordermq.shop.gateways.points import PointsGateway
from ordermq.shop.gateways.text import TextGateway
from ordermq.shop.settings import SECTION, ShopSettings


class _Configured(Protocol):
    @classmethod
    def from_config(cls, config: Loaded) -> Self: ...


G = TypeVar("G", bound=_Configured)


def payment_gateway(config: Loaded) -> PaymentGateway:
    """Return the payment gateway of ``shop.payment_gateway``. Raises ConfigError."""
    return _made("payment_gateway", PaymentGateway, config)  # type: ignore[type-abstract] # a subclass is made


def text_gateway(config: Loaded) -> TextGateway:
    """Return the text gateway of ``shop.text_gateway``. Raises ConfigError."""
    return _made("text_gateway", TextGateway, config)  # type: ignore[type-abstract] # a subclass is made


def email_gateway(config: Loaded) -> EmailGateway:
    """Return the e-mail gateway of ``shop.email_gateway``. Raises ConfigError."""
    return _made("email_gateway", EmailGateway, config)  # type: ignore[type-abstract] # a subclass is made


def points_gateway(config: Loaded) -> PointsGateway:
    """Return the points gateway of ``shop.points_gateway``. Raises ConfigError."""
    return _made("points_gateway", PointsGateway, config)  # type: ignore[type-abstract] # a subclass is made


def _made(key: str, contract: type[G], config: Loaded) -> G:
    settings: ShopSettings = config.section(SECTION)
    dotted: str = getattr(settings, key)
    where = f"{SECTION}.{key} = {dotted!r} ({config.origins.get(f'{SECTION}.{key}', 'default')})"
    try:
        chosen = resolve_name(dotted)
    except (ImportError, AttributeError, SyntaxError, ValueError) as exc:
        raise ConfigError(
            f"{where}: it cannot be imported: {exc}; install it beside ordermq, or name its folder in"
            " PYTHONPATH"
        ) from exc
    if not isinstance(chosen, type) or not issubclass(chosen, contract):
        raise ConfigError(f"{where}: it is not a subclass of ordermq.shop.gateways.{contract.__name__}")
    if missing := sorted(getattr(chosen, "__abstractmethods__", ())):
        raise ConfigError(f"{where}: it does not define {', '.join(missing)}")
    return chosen.from_config(config)
