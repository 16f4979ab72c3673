"""The services of third parties that the order pipeline calls over HTTP."""

from ordermq.shop.gateways.payment import (
    Captured,
    Declined,
    GivenBack,
    LedgerEntry,
    PaymentGateway,
    Pending,
    Refunded,
)
from ordermq.shop.gateways.sms import SmsGateway

__all__ = [
    "Captured",
    "Declined",
    "GivenBack",
    "LedgerEntry",
    "PaymentGateway",
    "Pending",
    "Refunded",
    "SmsGateway",
]
