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
    grants={
        "consumer-payment": ["SELECT, INSERT, UPDATE (object_id) ON stripe.keys"],
        "stripe-webhook": [
            "SELECT (key, order_id, object_id) ON stripe.keys",
            "SELECT, INSERT, UPDATE (received_at), DELETE ON stripe.events",
            "SELECT (routing_key, correlation_id, type, refusals, available_at) ON ordermq.outbox",
            "UPDATE (available_at) ON ordermq.outbox",
        ],
    },
)
