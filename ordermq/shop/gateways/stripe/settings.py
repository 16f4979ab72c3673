"""``[stripe]``: the account, and how webhooks are checked."""

from dataclasses import dataclass

from ordermq.config import Loaded
from ordermq.config.secret import Secret
from ordermq.config.settings import setting
from ordermq.errors import ConfigError
from ordermq.shop.settings import SERVICE

SECTION = "stripe"


@dataclass(frozen=True)
class StripeSettings:
    """Keys and limits; durations in seconds."""

    secret_key: Secret = setting(Secret, "secret or restricted API key: sk_... or rk_...")
    webhook_secret: Secret = setting(
        Secret, "signing secret of the webhook endpoint, whsec_...; while it is changed, both with a space"
    )
    url: str = setting("https://api.stripe.com", "address of the API", shape=SERVICE)
    search_first: bool = setting(
        False,
        "search Stripe for each key that the table of keys does not know before it is used; for the time "
        "after a database came from a backup",
    )
    webhook_tolerance_s: float = setting(
        300.0, "a webhook whose signature is older, or this far ahead, is refused", ge=1, le=3600
    )


def stripe_settings(config: Loaded) -> StripeSettings:
    """Return the section. Raises ConfigError if its module is not in force."""
    if SECTION not in config.extra:
        raise ConfigError(
            'there is no section [stripe]: write modules = ["ordermq.shop", "ordermq.shop.gateways.stripe"]'
        )
    settings: StripeSettings = config.section(SECTION)
    return settings
