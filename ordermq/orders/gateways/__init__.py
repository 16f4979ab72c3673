"""The services outside that the order pipeline calls, over HTTP."""

from ordermq.orders.gateways.payment import Captured, Declined, LedgerEntry, PaymentGateway, Refunded
from ordermq.orders.gateways.sms import SmsGateway

__all__ = ["Captured", "Declined", "LedgerEntry", "PaymentGateway", "Refunded", "SmsGateway"]
