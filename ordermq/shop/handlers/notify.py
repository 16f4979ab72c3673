"""Queue ``notify``: text the customer, at most once for each order and template, and for each refund."""

from dataclasses import dataclass, field
from functools import partial
from typing import Self

from ordermq.config import Loaded
from ordermq.shop.commands import NOTIFY, SendNotification
from ordermq.shop.gateways import TextGateway
from ordermq.shop.gateways.chosen import text_gateway
from ordermq.shop.handlers.batch import KEPT_IF_ARCHIVED
from ordermq.shop.handlers.notification import Delivered, NotificationHandler, give_up
from ordermq.shop.notifications import NotificationChannel
from ordermq.shop.phone import check_region, dialable
from ordermq.shop.settings import SECTION, ShopSettings
from ordermq.shop.templates import Facts, render
from ordermq.task import external


@dataclass(frozen=True, slots=True)
class SmsRequest:
    """One text to send."""

    to: str = field(repr=False)
    text: str = field(repr=False)
    reference: str
    timeout_s: float


@external(
    queue=NOTIFY, message=SendNotification, key="order_id",
    on_dead=partial(give_up, NotificationChannel.TEXT), retry=KEPT_IF_ARCHIVED, dependency="sms",
)  # fmt: skip
class SendNotificationHandler(NotificationHandler[SendNotification, SmsRequest]):
    """Sends one text for each message. One instance serves all threads."""

    channel = NotificationChannel.TEXT

    def __init__(self, gateway: TextGateway, *, region: str = "") -> None:
        self._gateway = gateway
        self._region = region

    @classmethod
    def from_config(cls, config: Loaded) -> Self:
        settings: ShopSettings = config.section(SECTION)
        check_region(settings.phone_region)
        return cls(text_gateway(config), region=settings.phone_region)

    def call(self, request: SmsRequest) -> Delivered:
        """Send the text."""
        return Delivered(
            self._gateway.send(
                request.to, request.text, reference=request.reference, timeout_s=request.timeout_s
            )
        )

    def _reason_to_skip(self, address: str | None) -> str | None:
        if address is None:
            return "no phone number"
        return None if dialable(address, self._region) else "the phone number cannot be used"

    def _request(self, address: str, facts: Facts, reference: str, timeout_s: float) -> SmsRequest:
        return SmsRequest(dialable(address, self._region) or address, render(facts), reference, timeout_s)
