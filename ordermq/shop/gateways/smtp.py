"""E-mail by the mail server of the settings. Where a copy of its books can be read, it is read by HTTP."""

import ssl
from collections.abc import Iterator
from typing import Self

from ordermq.clock import utc_now
from ordermq.config import Loaded
from ordermq.config.address import is_loopback
from ordermq.errors import ConfigError, OutcomeUnknown
from ordermq.shop.gateways.email import Email, EmailGateway
from ordermq.shop.gateways.http import JsonClient
from ordermq.shop.gateways.mime import Letterhead, address_of
from ordermq.shop.gateways.smtp_client import SmtpClient, SmtpServer
from ordermq.shop.settings import SECTION, ShopSettings

_PAGE = 1000
_NONE = "none"


class SmtpGateway(EmailGateway):
    """The mail server at ``shop.smtp_host``, a connection for each e-mail; without a host it sends nothing.

    SMTP has no books, so what was sent can be listed only if ``shop.mail_ledger_url`` names some.
    """

    def __init__(
        self, client: SmtpClient | None, letterhead: Letterhead | None, ledger: JsonClient | None = None
    ) -> None:
        self._client = client
        self._letterhead = letterhead
        self._ledger = ledger
        self.can_send = client is not None and letterhead is not None
        self.can_list = self.can_send and ledger is not None

    @classmethod
    def from_config(cls, config: Loaded) -> Self:
        return cls.from_settings(config.section(SECTION))

    @classmethod
    def from_settings(cls, settings: ShopSettings) -> Self:
        """Return the gateway of these settings; connects with the first e-mail. Raises ConfigError."""
        if not settings.smtp_host:
            return cls(None, None)
        ledger = JsonClient(
            settings.mail_ledger_url,
            connect_timeout_s=settings.gateway_connect_timeout_s,
            timeout_s=settings.gateway_timeout_s,
        )
        return cls(
            SmtpClient(_server(settings)), _letterhead(settings), ledger if settings.mail_ledger_url else None
        )

    def send(self, email: Email, *, timeout_s: float | None = None) -> str:
        client, letterhead = self._ready()
        message = letterhead.message(email, utc_now())
        return client.send(
            letterhead.envelope_sender, email.to, message.as_bytes(), utf8=not email.to.isascii(),
            timeout_s=timeout_s,
        )  # fmt: skip

    def sent(self) -> Iterator[list[str]]:
        _, letterhead = self._ready()
        after = 0
        while self._ledger is not None:
            answer = self._ledger.get(f"/v1/ledger?after={after}&limit={_PAGE}")
            if answer.status != 200:
                raise OutcomeUnknown(f"reading shop.mail_ledger_url: it answered {answer.status}")
            mails = answer.lines()
            if not mails:
                return
            found = [letterhead.reference_of(str(each.get("message_id", ""))) for each in mails]
            yield [reference for reference in found if reference is not None]
            after = int(mails[-1]["n"])

    def _ready(self) -> tuple[SmtpClient, Letterhead]:
        if self._client is None or self._letterhead is None:
            raise ConfigError("shop.smtp_host is empty: no e-mail can be sent")
        return self._client, self._letterhead


def _server(settings: ShopSettings) -> SmtpServer:
    is_plain = settings.smtp_security == _NONE
    if is_plain and not is_loopback(settings.smtp_host):
        raise ConfigError(
            f"shop.smtp_security is none and {settings.smtp_host} is another machine: addresses and the"
            " login would cross the network unencrypted; set it to starttls or tls"
        )
    return SmtpServer(
        host=settings.smtp_host,
        port=settings.smtp_port,
        tls=None if is_plain else _tls_context(settings.smtp_ca_file),
        starttls=settings.smtp_security == "starttls",
        username=settings.smtp_user,
        password=settings.smtp_password,
        connect_timeout_s=settings.gateway_connect_timeout_s,
        timeout_s=settings.gateway_timeout_s,
    )


def _tls_context(ca_file: str) -> ssl.SSLContext:
    try:
        context = ssl.create_default_context(cafile=ca_file or None)
    except OSError as exc:
        raise ConfigError(f"shop.smtp_ca_file {ca_file!r} cannot be used: {exc}") from exc
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    return context


def _letterhead(settings: ShopSettings) -> Letterhead:
    if not settings.mail_from:
        raise ConfigError("shop.smtp_host is set and shop.mail_from is empty: whom are the e-mails from?")
    reply_to = settings.mail_reply_to
    return Letterhead(
        settings.name,
        address_of("shop.mail_from", settings.mail_from),
        address_of("shop.mail_reply_to", reply_to) if reply_to else None,
    )
