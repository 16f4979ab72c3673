"""The handlers of the order pipeline that every shop has; ``points`` chooses the others."""

from ordermq.shop.handlers.alert import AlertOperatorHandler
from ordermq.shop.handlers.capture import CapturePaymentHandler
from ordermq.shop.handlers.email import SendEmailHandler
from ordermq.shop.handlers.expire import expire_payments
from ordermq.shop.handlers.inventory import release_stock, reserve_stock
from ordermq.shop.handlers.notify import SendNotificationHandler
from ordermq.shop.handlers.refund import RefundPaymentHandler
from ordermq.shop.handlers.shipping import create_shipment

__all__ = [
    "AlertOperatorHandler",
    "CapturePaymentHandler",
    "RefundPaymentHandler",
    "SendEmailHandler",
    "SendNotificationHandler",
    "create_shipment",
    "expire_payments",
    "release_stock",
    "reserve_stock",
]
