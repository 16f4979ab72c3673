"""The services of third parties that the order pipeline calls: contracts, and the gateways over HTTP.

A shop replaces a gateway by a class of its own: docs/gateways.md.
"""

from ordermq.shop.gateways.email import Email, EmailGateway
from ordermq.shop.gateways.payment import (
    Capture,
    CaptureAnswer,
    Captured,
    Declined,
    GivenBack,
    LedgerEntry,
    PaymentGateway,
    Pending,
    Refund,
    RefundAnswer,
    Refunded,
    RequiresAction,
)
from ordermq.shop.gateways.points import PointsBooking, PointsGateway
from ordermq.shop.gateways.text import TextGateway

__all__ = [
    "Capture",
    "CaptureAnswer",
    "Captured",
    "Declined",
    "Email",
    "EmailGateway",
    "GivenBack",
    "LedgerEntry",
    "PaymentGateway",
    "Pending",
    "PointsBooking",
    "PointsGateway",
    "Refund",
    "RefundAnswer",
    "Refunded",
    "RequiresAction",
    "TextGateway",
]
