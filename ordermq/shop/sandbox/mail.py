"""The mail server: real SMTP on a port of its own. It has no keys: what is sent twice arrives twice.

=================================  ==============================================================
SMTP                               250 for the message | 550 or 451 for the recipient | no answer
``GET  /v1/messages/count``        how many were accepted, of how many Message-IDs, and repetitions
``GET  /v1/ledger?after=&limit=``  JSON lines: every e-mail accepted, in order, numbered by ``n``
``POST /v1/behaviour``             see ``behaviour``; GET returns the present one
=================================  ==============================================================

The end of the address before the @ decides, as in ``anna0005@example.com``. *Not done and no answer*
closes the connection before the message; *done without an answer* holds it after the whole message.
*The first time* is counted for each e-mail to an address.
"""

import asyncio
import encodings.idna  # noqa: F401 # sockets need it, and this process may soon be unable to read it
from collections import Counter
from datetime import datetime
from email import policy
from email.message import EmailMessage
from email.parser import BytesParser
from pathlib import Path
from typing import Any

import msgspec
from aiosmtpd.controller import Controller
from aiosmtpd.smtp import SMTP, Envelope, Session

from ordermq.clock import utc_now
from ordermq.shop.sandbox.behaviour import Behaviour, Fault
from ordermq.shop.sandbox.service import NoAnswer, Refused, Reply, Request, ledger_pages, reply
from ordermq.shop.sandbox.third_party import Suffered, ThirdParty


class AcceptedMail(msgspec.Struct, frozen=True, tag="mail", tag_field="kind"):
    """An e-mail for one recipient. ``n`` is its number in the ledger, from 1."""

    n: int
    message_id: str
    to: str
    subject: str
    text: str
    html: str
    at: datetime


MailRecord = AcceptedMail | Suffered | Behaviour


class SandboxMail(ThirdParty):
    """The mail server's books, in ``folder``; ``MailListener`` fills them."""

    def __init__(self, folder: Path) -> None:
        super().__init__(folder / "mail.jsonl", MailRecord)
        self._ledger: list[AcceptedMail] = []
        self._ids: Counter[str] = Counter()
        self._to: Counter[str] = Counter()
        self._replay()

    def handle(self, request: Request) -> Reply | NoAnswer:
        """Answer one request about the books. Called from many threads at once; raises Refused."""
        match request.method, request.path:
            case "GET", "/v1/messages/count":
                with self._lock:
                    repeated = sum(count > 1 for count in self._ids.values())
                    return reply(200, count=len(self._ledger), references=len(self._ids), repeated=repeated)
            case "GET", "/v1/ledger":
                return ledger_pages(self._entries, request.query)
            case method, "/v1/behaviour":
                return self._behave(method, request.body)
        raise Refused(404, f"no {request.method} {request.path[:100]} here")

    @property
    def hold_s(self) -> float:
        """How long a connection without an answer is held."""
        return self._behaviour.hold_s

    def fault(self, address: str) -> Fault | None:
        """Return what goes wrong with the next e-mail to ``address``; None if it takes none at all."""
        name = address.rpartition("@")[0]
        with self._lock:
            key = f"{address} {self._to[address]}"
            if self._behaviour.declines(name, key):
                return None
            return self._next_fault(name, key)

    def accept(self, recipients: list[str], content: bytes) -> None:
        """Write an e-mail into the books, once for each recipient."""
        message = BytesParser(policy=policy.default).parsebytes(content)
        with self._lock:
            for to in recipients:
                self._write(
                    AcceptedMail(
                        len(self._ledger) + 1, str(message["Message-ID"]), to, str(message["Subject"]),
                        _body(message, "plain"), _body(message, "html"), utc_now(),
                    )
                )  # fmt: skip

    def _entries(self, first: int, count: int) -> list[AcceptedMail]:
        with self._lock:
            return self._ledger[first : first + count]

    def _apply(self, record: AcceptedMail) -> None:
        self._ledger.append(record)
        self._ids[record.message_id] += 1
        self._to[record.to] += 1


class MailListener(Controller):
    """Serves SMTP on 127.0.0.1, in a thread of its own, from ``start()`` to ``stop()``."""

    def __init__(self, port: int, mail: SandboxMail) -> None:
        super().__init__(
            MailHooks(mail), hostname="127.0.0.1", port=port, server_hostname="localhost",
            enable_SMTPUTF8=True,
        )  # fmt: skip


class MailHooks:
    """What aiosmtpd asks about a message."""

    def __init__(self, mail: SandboxMail) -> None:
        self._mail = mail

    async def handle_RCPT(
        self, server: SMTP, session: Session, envelope: Envelope, address: str, options: list[str]
    ) -> str:
        """Take a recipient, or refuse it; what goes wrong later is decided here too."""
        fault = self._mail.fault(address)
        if fault is None:
            return "550 5.1.1 no such mailbox"
        if fault is Fault.ERROR:
            return "451 4.3.0 try again later"
        if fault is Fault.LOST:
            _hang_up(server)
        session.is_mute = fault is Fault.MUTE  # type: ignore[attr-defined] # a session takes what its handler keeps
        envelope.rcpt_tos.append(address)
        return "250 2.1.5 OK"

    async def handle_DATA(self, server: SMTP, session: Session, envelope: Envelope) -> str:
        """Take the whole message."""
        await asyncio.sleep(self._mail.latency_s)
        self._mail.accept(envelope.rcpt_tos, envelope.original_content or b"")
        if session.is_mute:  # type: ignore[attr-defined] # see above
            await asyncio.sleep(self._mail.hold_s)
            _hang_up(server)
        return "250 2.0.0 accepted"


def _hang_up(server: SMTP) -> None:
    transport: Any = server.transport
    if transport is not None:
        transport.abort()


def _body(message: EmailMessage, kind: str) -> str:
    part = message.get_body((kind,))
    return str(part.get_content()).replace("\r\n", "\n") if part is not None else ""
