"""The SMS service. It knows no idempotency, on purpose: what is asked twice is sent twice.

=================================  ===============================================================
``POST /v1/messages``              to, text, reference -> 202 with message_id | 422 | 503 | no answer
``GET  /v1/messages?reference=R``  every message sent with this reference
``GET  /v1/messages/count``        how many were sent, of how many references, how many more than once
``GET  /v1/ledger?after=&limit=``  JSON lines: every message sent, in order, numbered by ``n``
``POST /v1/behaviour``             see ``behaviour``; GET returns the present one
=================================  ===============================================================
"""

from collections import defaultdict
from datetime import datetime
from pathlib import Path
from typing import Annotated

import msgspec

from ordermq.clock import utc_now
from ordermq.shop.sandbox.behaviour import Behaviour, Fault
from ordermq.shop.sandbox.service import NoAnswer, Refused, Reply, Request, ledger_pages, reply
from ordermq.shop.sandbox.third_party import Name, Suffered, ThirdParty, decode


class MessageRequest(msgspec.Struct, frozen=True):
    """What ``POST /v1/messages`` takes."""

    to: Annotated[str, msgspec.Meta(pattern=r"^\+?[0-9 ]{4,20}$")]
    text: Annotated[str, msgspec.Meta(min_length=1, max_length=1600)]
    reference: Name


class SentSms(msgspec.Struct, frozen=True, tag="message", tag_field="kind"):
    """A message on its way. ``n`` is its number in the ledger, from 1."""

    n: int
    message_id: str
    to: str
    text: str
    reference: str
    at: datetime


SmsRecord = SentSms | Suffered | Behaviour
MESSAGE = msgspec.json.Decoder(MessageRequest)


class SandboxSms(ThirdParty):
    """The SMS service, its journal in ``folder``."""

    def __init__(self, folder: Path) -> None:
        super().__init__(folder / "sms.jsonl", SmsRecord)
        self._by_reference: defaultdict[str, list[SentSms]] = defaultdict(list)
        self._ledger: list[SentSms] = []
        self._replay()

    def handle(self, request: Request) -> Reply | NoAnswer:
        """Answer one request. Called from many threads at once; raises Refused."""
        match request.method, request.path:
            case "POST", "/v1/messages":
                return self._send(decode(MESSAGE, request.body))
            case "GET", "/v1/messages":
                return self._list(request.query.get("reference", ""))
            case "GET", "/v1/messages/count":
                return self._count()
            case "GET", "/v1/ledger":
                return ledger_pages(self._entries, request.query)
            case method, "/v1/behaviour":
                return self._behave(method, request.body)
        raise Refused(404, f"no {request.method} {request.path[:100]} here")

    def _send(self, wanted: MessageRequest) -> Reply | NoAnswer:
        key = f"{wanted.to} {wanted.reference}"
        with self._lock:
            fault = self._next_fault(wanted.to, key)
            if fault is Fault.ERROR:
                raise Refused(503, "try again later", (("Retry-After", "1"),))
            if fault is Fault.LOST:
                return NoAnswer(self._behaviour.hold_s)
            if self._behaviour.declines(wanted.to, key):
                raise Refused(422, "this number takes no messages")
            number = len(self._ledger) + 1
            sent = SentSms(number, f"sms_{number:09d}", wanted.to, wanted.text, wanted.reference, utc_now())
            self._write(sent)
        if fault is Fault.MUTE:
            return NoAnswer(self._behaviour.hold_s)
        return reply(202, message_id=sent.message_id, status="accepted", reference=sent.reference)

    def _list(self, reference: str) -> Reply:
        if not reference:
            raise Refused(400, "the query must name a reference")
        with self._lock:
            found = list(self._by_reference.get(reference, ()))
        return reply(200, messages=[msgspec.to_builtins(sent) for sent in found])

    def _count(self) -> Reply:
        with self._lock:
            repeated = sum(len(sent) > 1 for sent in self._by_reference.values())
            return reply(200, count=len(self._ledger), references=len(self._by_reference), repeated=repeated)

    def _entries(self, first: int, count: int) -> list[SentSms]:
        with self._lock:
            return self._ledger[first : first + count]

    def _apply(self, record: SentSms) -> None:
        self._by_reference[record.reference].append(record)
        self._ledger.append(record)
