"""The handlers of the order pipeline; name this module in ``consumer.handlers``."""

from ordermq.orders.handlers.alert import AlertOperatorHandler
from ordermq.orders.handlers.capture import CapturePaymentHandler
from ordermq.orders.handlers.inventory import release_stock, reserve_stock
from ordermq.orders.handlers.notify import SendNotificationHandler
from ordermq.orders.handlers.points import award_points
from ordermq.orders.handlers.refund import RefundPaymentHandler
from ordermq.orders.handlers.shipping import create_shipment

__all__ = [
    "AlertOperatorHandler",
    "CapturePaymentHandler",
    "RefundPaymentHandler",
    "SendNotificationHandler",
    "award_points",
    "create_shipment",
    "release_stock",
    "reserve_stock",
]
