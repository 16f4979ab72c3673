"""A mail server that fails on purpose: real SMTP, and what it took can be read.

with SmtpFaults() as server:
    gateway = MyGateway("127.0.0.1", server.port)
    server.fail_next(MailFault.MUTE)
"""

import asyncio
from collections.abc import Iterator
from contextlib import contextmanager
from email import message_from_bytes, policy
from enum import Enum
from typing import Any, Self

from aiosmtpd.controller import Controller
from aiosmtpd.smtp import SMTP, Envelope, Session

from ordermq.testing import FaultProxy
from ordermq.testing.stack.ports import free_ports

_HOLD_S = 30.0


class MailFault(Enum):
    """What goes wrong with the next e-mail."""

    LATER = "4xx for the recipient, not sent"
    LATER_AFTER_DATA = "4xx for the whole message, not sent"
    REFUSED = "5xx for the whole message, not sent"
    LOST = "the connection ends before the message, not sent"
    CUT = "sent, and the connection ends without an answer"
    MUTE = "sent, and no answer comes"


class SmtpFaults:
    """The server, at ``port`` of 127.0.0.1; closed at the end of its ``with`` block.

    ``refused_address`` gets a 5xx as a recipient. No answer means that the connection is held for
    ``hold_s`` seconds, or until the client leaves.
    """

    refused_address = "nobody@shop.example"

    def __init__(self, *, hold_s: float = _HOLD_S) -> None:
        self._hooks = _Hooks(self.refused_address, hold_s)
        self._controller = Controller(
            self._hooks, hostname="127.0.0.1", port=free_ports(1)[0], server_hostname="localhost",
            enable_SMTPUTF8=True,
        )  # fmt: skip
        self._controller.start()
        self._link = FaultProxy(self._controller.port)
        self.port = self._link.port

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *error: object) -> None:
        self._link.close()
        self._controller.stop()

    def fail_next(self, fault: MailFault, times: int = 1) -> None:
        """Let the next ``times`` e-mails fail like this."""
        self._hooks.next += [fault] * times

    @contextmanager
    def gone(self) -> Iterator[None]:
        """Let no connection come up while the block runs."""
        self._link.refuse()
        self._link.cut()
        try:
            yield
        finally:
            self._link.heal()

    def subjects(self, address: str) -> list[str]:
        """Return the subjects of the e-mails that were taken for an address."""
        return [subject for to, subject in self._hooks.taken if to == address]


class _Hooks:
    """What aiosmtpd asks about a message."""

    def __init__(self, refused_address: str, hold_s: float) -> None:
        self.next: list[MailFault] = []
        self.taken: list[tuple[str, str]] = []
        self._refused_address = refused_address
        self._hold_s = hold_s

    async def handle_RCPT(
        self, server: SMTP, session: Session, envelope: Envelope, address: str, options: list[str]
    ) -> str:
        """Take a recipient, or refuse it; what goes wrong later is decided here too."""
        if address == self._refused_address:
            return f"550 5.1.1 <{address}>: no such mailbox"
        fault = self.next.pop(0) if self.next else None
        session.fault = fault  # type: ignore[attr-defined] # a session takes what its handler keeps
        if fault is MailFault.LATER:
            return f"451 4.3.0 <{address}>: try again later"
        if fault is MailFault.LOST:
            _hang_up(server)
        envelope.rcpt_tos.append(address)
        return "250 2.1.5 OK"

    async def handle_DATA(self, server: SMTP, session: Session, envelope: Envelope) -> str:
        """Take the whole message, or refuse it."""
        fault = session.fault  # type: ignore[attr-defined] # see above
        if fault is MailFault.LATER_AFTER_DATA:
            return "452 4.3.1 no room for <anybody>"
        if fault is MailFault.REFUSED:
            return "554 5.7.1 refused"
        message = message_from_bytes(envelope.original_content or b"", policy=policy.default)
        self.taken += [(address, str(message["Subject"])) for address in envelope.rcpt_tos]
        if fault is MailFault.MUTE:
            await asyncio.sleep(self._hold_s)
        if fault in (MailFault.MUTE, MailFault.CUT):
            _hang_up(server)
        return "250 2.0.0 accepted"


def _hang_up(server: SMTP) -> None:
    transport: Any = server.transport
    if transport is not None:
        transport.abort()
