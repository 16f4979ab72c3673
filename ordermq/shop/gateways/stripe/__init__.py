"""Stripe as the payment service, by PaymentIntents: docs/gateways.md says how it is set up.

    modules = ["ordermq.shop", "ordermq.shop.gateways.stripe"]

    [shop]
    payment_gateway = "ordermq.shop.gateways.stripe.gateway:StripeGateway"

``wsgi`` receives its webhooks. No network of Stripe was ever used to test this: it was tested against
a stub made from Stripe's public descriptions.
"""

from ordermq.module import Module

__all__ = ["module"]

module = Module(
    "stripe",
    settings="ordermq.shop.gateways.stripe.settings:StripeSettings",
    migrations="ordermq.shop.gateways.stripe.migrations",
)
