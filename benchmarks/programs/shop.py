"""ordermq's own pipeline with the services outside in this process, answering at once.

The handlers are the shop's, all of them; only who is called differs.
"""

from functools import partial
from typing import Any

from ordermq.module import Module
from ordermq.shop.commands import NOTIFY, PAYMENT, CapturePayment, SendNotification
from ordermq.shop.events import Step
from ordermq.shop.gateways import Capture, Captured
from ordermq.shop.handlers import (
    AlertOperatorHandler,
    RefundPaymentHandler,
    capture,
    create_shipment,
    notification,
    notify,
    release_stock,
    reserve_stock,
)
from ordermq.shop.handlers.batch import give_up
from ordermq.shop.handlers.payment import DEPENDENCY, UNTIL_KNOWN
from ordermq.shop.handlers.points import award_points
from ordermq.shop.notifications import NotificationChannel
from ordermq.shop.settings import SECTION, ShopSettings
from ordermq.task import external

__all__ = [
    "AlertOperatorHandler",
    "InProcessCapture",
    "InProcessNotification",
    "RefundPaymentHandler",
    "award_points",
    "create_shipment",
    "release_stock",
    "reserve_stock",
]

module = Module(
    SECTION, handlers=[__name__], settings=ShopSettings, migrations="ordermq.shop.migrations",
    correlation_name="order_id",
)  # fmt: skip


class Gateway:
    """A payment and SMS service that takes everything and no time."""

    def capture(self, wanted: Capture, **_: Any) -> Captured:
        return Captured(f"cap-{wanted.order_id}")

    def send(self, to: str, text: str, *, reference: str, **_: Any) -> str:
        return f"sms-{reference}"


@external(
    queue=PAYMENT, message=CapturePayment, key="order_id", on_dead=partial(give_up, Step.CAPTURE),
    retry=UNTIL_KNOWN, dependency=DEPENDENCY,
)  # fmt: skip
class InProcessCapture(capture.CapturePaymentHandler):
    """Takes the money from the service above."""

    @classmethod
    def from_config(cls, config: Any) -> "InProcessCapture":
        return cls(Gateway(), settles_s=60.0)  # type: ignore[arg-type] # it has the one method that is called


@external(
    queue=NOTIFY, message=SendNotification, key="order_id",
    on_dead=partial(notification.give_up, NotificationChannel.TEXT), dependency="sms",
)  # fmt: skip
class InProcessNotification(notify.SendNotificationHandler):
    """Sends by the service above."""

    @classmethod
    def from_config(cls, config: Any) -> "InProcessNotification":
        return cls(Gateway())  # type: ignore[arg-type] # likewise
