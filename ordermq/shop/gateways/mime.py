"""An e-mail as the bytes that SMTP carries: text and HTML, and headers that nothing can be added to. Pure.

Invariants
    MIM1  A value never becomes a header of its own: what holds a line end is refused.
    MIM2  The Message-ID is made of the reference alone, so an e-mail that comes twice after all is shown
        once by most mail programs, and ``reference_of`` finds the order again.
"""

import re
from dataclasses import dataclass
from datetime import datetime
from email.headerregistry import Address
from email.message import EmailMessage
from email.policy import SMTP, SMTPUTF8

from ordermq.errors import ConfigError, GatewayRefused
from ordermq.shop.gateways.email import Email

# What may stand unquoted in front of the @, and a name of letters, digits and dashes behind it; in ASCII
# or, with SMTPUTF8, in any script.
_ATOM = r"(?:[A-Za-z0-9!#$%&'*+/=?^_`{|}~-]|[^\x00-\x9f\s\ud800-\udfff])+"
_LABEL = r"(?:[A-Za-z0-9-]|[^\x00-\x9f\s\ud800-\udfff])+"
_ADDRESS = re.compile(rf"(?P<local>{_ATOM}(?:\.{_ATOM})*)@(?P<domain>{_LABEL}(?:\.{_LABEL})*)")
_NAMED = re.compile(r"(?P<name>[^<>\x00-\x1f\x7f]*?)\s*<(?P<address>[^<>]+)>")
_MESSAGE_ID = re.compile(r"<([A-Za-z0-9_=/-]+)/([A-Za-z0-9_-]+)@[^>]+>")

# A colon and a dot cannot stand everywhere in a Message-ID; these may, and are in no order_id.
_TO_ID = str.maketrans(":.", "/=")
_FROM_ID = str.maketrans("/=", ":.")


def is_usable(address: str) -> bool:
    """Return whether a mail can be addressed to ``address``, as it stands."""
    return _ADDRESS.fullmatch(address) is not None


@dataclass(frozen=True)
class Letterhead:
    """What every e-mail of this shop has in its head."""

    shop: str
    sender: Address
    reply_to: Address | None

    @property
    def envelope_sender(self) -> str:
        """The address that the server tells of e-mails it could not deliver."""
        return self.sender.addr_spec

    def message(self, email: Email, made_at: datetime) -> EmailMessage:
        """Return ``email`` as a message. Raises GatewayRefused for an address that is none."""
        match = _ADDRESS.fullmatch(email.to)
        if match is None:
            raise GatewayRefused("the e-mail address cannot be used")
        policy = SMTP if email.to.isascii() else SMTPUTF8
        message = EmailMessage(policy.clone(cte_type="7bit"))
        try:
            message["From"] = self.sender
            message["To"] = Address(username=match["local"], domain=match["domain"])
            if self.reply_to is not None:
                message["Reply-To"] = self.reply_to
            message["Subject"] = email.subject
        except ValueError:
            raise GatewayRefused("the subject holds a line end") from None  # MIM1
        message["Date"] = made_at
        message["Message-ID"] = self._message_id(email.reference)
        message["Auto-Submitted"] = "auto-generated"
        message.set_content(email.text)
        message.add_alternative(email.html, subtype="html")
        return message

    def _message_id(self, reference: str) -> str:
        return f"<{reference.translate(_TO_ID)}/{self.shop}@{self.sender.domain}>"

    def reference_of(self, message_id: str) -> str | None:
        """Return the reference that a Message-ID of this shop was made of; None for every other one."""
        match = _MESSAGE_ID.fullmatch(message_id)
        return match[1].translate(_FROM_ID) if match and match[2] == self.shop else None


def address_of(setting: str, text: str) -> Address:
    """Read ``orders@shop.example`` or ``Our Shop <orders@shop.example>``. Raises ConfigError."""
    named = _NAMED.fullmatch(text.strip())
    address = _ADDRESS.fullmatch(named["address"] if named else text.strip())
    if address is None or not address[0].isascii():
        raise ConfigError(
            f"{setting} = {text[:80]!r}: write an address in ASCII, such as orders@shop.example, or with a"
            " name, such as Our Shop <orders@shop.example>"
        )
    name = named["name"].strip().strip('"') if named else ""
    return Address(name, username=address["local"], domain=address["domain"])
