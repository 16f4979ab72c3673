"""Queue ``email``: send the customer an e-mail, at most once for each order and template, and refund."""

from dataclasses import dataclass
from functools import partial
from typing import Self

from ordermq.config import Loaded
from ordermq.shop.commands import EMAIL, SendEmail
from ordermq.shop.email_templates import EmailTemplates
from ordermq.shop.gateways import Email, EmailGateway
from ordermq.shop.gateways.chosen import email_gateway
from ordermq.shop.gateways.mime import is_usable
from ordermq.shop.handlers.batch import KEPT_IF_ARCHIVED
from ordermq.shop.handlers.notification import Delivered, NotificationHandler, give_up
from ordermq.shop.notifications import NotificationChannel
from ordermq.shop.settings import SECTION, ShopSettings
from ordermq.shop.templates import Facts
from ordermq.task import external


@dataclass(frozen=True, slots=True)
class EmailRequest:
    """One e-mail to send."""

    email: Email
    timeout_s: float


@external(
    queue=EMAIL, message=SendEmail, key="order_id",
    on_dead=partial(give_up, NotificationChannel.EMAIL), retry=KEPT_IF_ARCHIVED, dependency="smtp",
)  # fmt: skip
class SendEmailHandler(NotificationHandler[SendEmail, EmailRequest]):
    """Sends one e-mail for each message. One instance serves all threads."""

    channel = NotificationChannel.EMAIL

    def __init__(self, gateway: EmailGateway, templates: EmailTemplates) -> None:
        self._gateway = gateway
        self._templates = templates

    @classmethod
    def from_config(cls, config: Loaded) -> Self:
        settings: ShopSettings = config.section(SECTION)
        return cls(email_gateway(config), EmailTemplates.read(settings.mail_templates))

    def call(self, request: EmailRequest) -> Delivered:
        """Send the e-mail."""
        return Delivered(self._gateway.send(request.email, timeout_s=request.timeout_s))

    def _reason_to_skip(self, address: str | None) -> str | None:
        if not self._gateway.can_send:
            return "no mail server is configured"
        if address is None:
            return "no e-mail address"
        return None if is_usable(address) else "the e-mail address cannot be used"

    def _request(self, address: str, facts: Facts, reference: str, timeout_s: float) -> EmailRequest:
        subject, text, html = self._templates.render(facts)
        return EmailRequest(Email(address, subject, text, html, reference), timeout_s)
