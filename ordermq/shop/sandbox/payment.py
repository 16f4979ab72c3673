"""The payment gateway.

==================================  ==================================================================
``POST /v1/captures``               header Idempotency-Key; payment_id, order_id, amount_minor, currency,
                                    card_token -> 201 captured | 202 requires_action | 402 declined | 503
                                    | no answer
``GET  /v1/captures/by-key/KEY``    200 with its state | 404: nothing was done
``POST ...by-key/KEY/confirm``      what requires an action is captured, as if the customer had confirmed it
``POST ...by-key/KEY/cancel``       what requires an action is declined; what is decided stays so
``POST /v1/refunds``                header Idempotency-Key; capture_id, amount_minor, currency
                                    -> 201 refunded | 404 no such capture | 409 more than was captured
``GET  /v1/refunds/by-key/KEY``     as for captures
``GET  /v1/ledger?after=&limit=``   JSON lines: every capture and refund made, in order, numbered by ``n``
``POST /v1/behaviour``              see ``behaviour``; GET returns the present one
==================================  ==================================================================

The same key with the same content gets the same answer as the first, also after the
first got none; with other content, 409. Bad input is 400, always with a ``reason``.
Refunds fail by the rates only. Nothing is forgotten by a restart.
"""

from collections import Counter
from datetime import datetime
from pathlib import Path
from typing import Annotated, Any, TypeVar
from urllib.parse import unquote

import msgspec

from ordermq.clock import utc_now
from ordermq.shop.sandbox.behaviour import Behaviour, Fault, is_pending, needs_action, taken_minor
from ordermq.shop.sandbox.service import NoAnswer, Refused, Reply, Request, ledger_pages, reply
from ordermq.shop.sandbox.third_party import Name, Suffered, ThirdParty, decode

AmountMinor = Annotated[int, msgspec.Meta(gt=0, lt=2**53)]
Currency = Annotated[str, msgspec.Meta(pattern="^[A-Z]{3}$")]
Exponent = Annotated[int, msgspec.Meta(ge=0, le=3)]


class CaptureBody(msgspec.Struct, frozen=True):
    """What ``POST /v1/captures`` takes; amounts in the currency's minor unit."""

    payment_id: Name
    order_id: Name
    amount_minor: AmountMinor
    currency: Currency
    card_token: Annotated[str, msgspec.Meta(min_length=4, max_length=200)]
    exponent: Exponent | None = None  # decimals that the amount has; ISO 4217's if it is left out


class RefundBody(msgspec.Struct, frozen=True):
    """What ``POST /v1/refunds`` takes."""

    capture_id: Name
    amount_minor: AmountMinor
    currency: Currency
    exponent: Exponent | None = None


class CaptureRecord(msgspec.Struct, frozen=True, tag="capture", tag_field="kind"):
    """Money taken. ``n`` is its number in the ledger, from 1."""

    n: int
    capture_id: str
    key: str
    at: datetime
    request: CaptureBody


class DeclineRecord(msgspec.Struct, frozen=True, tag="decline", tag_field="kind"):
    """Money refused; in no ledger."""

    key: str
    at: datetime
    request: CaptureBody
    reason: str = "insufficient funds"


class ActionRecord(msgspec.Struct, frozen=True, tag="action", tag_field="kind"):
    """A capture that waits for the customer; in no ledger."""

    key: str
    at: datetime
    request: CaptureBody


class RefundRecord(msgspec.Struct, frozen=True, tag="refund", tag_field="kind"):
    """Money given back."""

    n: int
    refund_id: str
    order_id: str
    key: str
    at: datetime
    request: RefundBody


Entry = CaptureRecord | RefundRecord
Tried = CaptureRecord | DeclineRecord | ActionRecord
R = TypeVar("R", bound=Tried | RefundRecord)
PaymentRecord = Tried | RefundRecord | Suffered | Behaviour


class SandboxPayments(ThirdParty):
    """The gateway, its journal in ``folder``."""

    def __init__(self, folder: Path) -> None:
        super().__init__(folder / "payment.jsonl", PaymentRecord)
        self._captures: dict[str, Tried] = {}
        self._refunds: dict[str, RefundRecord] = {}
        self._by_id: dict[str, CaptureRecord] = {}
        self._refunded_minor: Counter[str] = Counter()
        self._answered: set[str] = set()  # keys of captures that were answered since the start
        self._errors: dict[str, datetime] = {}  # by key: a 500 that is its answer
        self._ledger: list[Entry] = []
        self._replay()

    def handle(self, request: Request) -> Reply | NoAnswer:
        """Answer one request. Called from many threads at once; raises Refused."""
        match request.method, request.path.split("/")[1:]:
            case "POST", ["v1", "captures"]:
                return self._capture(_key(request), decode(CAPTURE, request.body))
            case "POST", ["v1", "refunds"]:
                return self._refund("refund:" + _key(request), decode(REFUND, request.body))
            case "GET", ["v1", _, "by-key", _] if not self._behaviour.lookup:
                raise Refused(405, "this service has no look-up by key")
            case "GET" | "POST", ["v1", "captures", "by-key", key, *verdict]:
                return self._tried(unquote(key), verdict)
            case "GET", ["v1", "refunds", "by-key", key]:
                return self._found(self._refunds.get("refund:" + unquote(key)))
            case "GET", ["v1", "ledger"]:
                return ledger_pages(self._entries, request.query)
            case method, ["v1", "behaviour"]:
                return self._behave(method, request.body)
        raise Refused(404, f"no {request.method} {request.path[:100]} here")

    def _capture(self, key: str, wanted: CaptureBody) -> Reply | NoAnswer:
        with self._lock:
            self._check_stored_error(key)
            fault = self._next_fault(wanted.card_token, key)
            known = self._remembered(self._captures.get(key))
            if known and known.request != wanted:
                raise Refused(409, "this Idempotency-Key was used for another capture")
            if known is None and (fault in {Fault.NONE, Fault.MUTE} or self._stores(fault)):
                known = self._decide(key, wanted)
            self._store_error(key, fault)
        return self._answer(fault, known)

    def _remembered(self, record: R | None) -> R | None:
        """Return the record, unless so much time has passed that the service forgot its key."""
        life_s = self._behaviour.forget_keys_s
        if record is not None and life_s and (utc_now() - record.at).total_seconds() > life_s:
            return None
        return record

    def _stores(self, fault: Fault) -> bool:
        return fault is Fault.ERROR and self._behaviour.stored_errors

    def _store_error(self, key: str, fault: Fault) -> None:
        if self._stores(fault):
            self._errors[key] = utc_now()

    def _check_stored_error(self, key: str) -> None:
        stored_at, life_s = self._errors.get(key), self._behaviour.forget_keys_s
        if stored_at and not (life_s and (utc_now() - stored_at).total_seconds() > life_s):
            raise Refused(500, "an internal error; the same answer is given to the same key")

    def _decide(self, key: str, wanted: CaptureBody) -> Tried:
        record: Tried
        if self._behaviour.declines(wanted.card_token, key):
            record = DeclineRecord(key, utc_now(), wanted)
        elif needs_action(wanted.card_token):
            record = ActionRecord(key, utc_now(), wanted)
        else:
            record = self._taken(key, wanted)
        self._write(record)
        return record

    def _taken(self, key: str, wanted: CaptureBody) -> CaptureRecord:
        number = len(self._ledger) + 1
        return CaptureRecord(number, f"cap_{number:09d}", key, utc_now(), wanted)

    def _tried(self, key: str, verdict: list[str]) -> Reply:
        """Answer what became of a capture; ``confirm`` or ``cancel`` decides one that requires an action."""
        with self._lock:
            known = self._captures.get(key)
            if isinstance(known, ActionRecord):
                if verdict == ["confirm"]:
                    self._write(self._taken(key, known.request))
                elif verdict == ["cancel"]:
                    self._write(DeclineRecord(key, utc_now(), known.request, "cancelled"))
        return self._found(self._captures.get(key))

    def _refund(self, key: str, wanted: RefundBody) -> Reply | NoAnswer:
        with self._lock:
            self._check_stored_error(key)
            fault = self._next_fault("", key)
            known = self._remembered(self._refunds.get(key))
            if known and known.request != wanted:
                raise Refused(409, "this Idempotency-Key was used for another refund")
            if fault in {Fault.NONE, Fault.MUTE} and known is None:
                capture = self._refundable(wanted)
                number = len(self._ledger) + 1
                order_id = capture.request.order_id
                known = RefundRecord(number, f"ref_{number:09d}", order_id, key, utc_now(), wanted)
                self._write(known)
            self._store_error(key, fault)
        return self._answer(fault, known)

    def _refundable(self, wanted: RefundBody) -> CaptureRecord:
        capture = self._by_id.get(wanted.capture_id)
        if capture is None:
            raise Refused(404, f"no capture {wanted.capture_id}")
        if capture.request.currency != wanted.currency:
            raise Refused(409, f"captured in {capture.request.currency}, not in {wanted.currency}")
        left = _taken_minor(capture.request) - self._refunded_minor[wanted.capture_id]
        if wanted.amount_minor > left:
            raise Refused(409, f"only {left} of {wanted.capture_id} is left to refund")
        return capture

    def _answer(self, fault: Fault, known: Tried | RefundRecord | None) -> Reply | NoAnswer:
        if self._stores(fault):
            raise Refused(500, "an internal error; the same answer is given to the same key")
        if fault is Fault.ERROR:
            raise Refused(503, "try again later", (("Retry-After", "1"),))
        if fault in {Fault.LOST, Fault.MUTE} or known is None:
            return NoAnswer(self._behaviour.hold_s)
        status = 402 if isinstance(known, DeclineRecord) else 202 if isinstance(known, ActionRecord) else 201
        return reply(status, **self._reported(known))

    def _found(self, known: Tried | RefundRecord | None) -> Reply:
        if known is None:
            raise Refused(404, "nothing was done under this key")
        return reply(200, **self._reported(known))

    def _reported(self, known: Tried | RefundRecord) -> dict[str, Any]:
        described = _described(known)
        if isinstance(known, CaptureRecord) and known.key not in self._answered:
            self._answered.add(known.key)
            if is_pending(known.request.card_token):
                described["status"] = "pending"
        return described

    def _entries(self, first: int, count: int) -> list[dict[str, Any]]:
        with self._lock:
            entries = self._ledger[first : first + count]
        return [{"n": entry.n, "kind": _kind(entry), **_described(entry)} for entry in entries]

    def _apply(self, record: Tried | RefundRecord) -> None:
        match record:
            case CaptureRecord():
                self._captures[record.key] = self._by_id[record.capture_id] = record
                self._ledger.append(record)
            case DeclineRecord() | ActionRecord():
                self._captures[record.key] = record
            case RefundRecord():
                self._refunds[record.key] = record
                self._refunded_minor[record.request.capture_id] += record.request.amount_minor
                self._ledger.append(record)


CAPTURE = msgspec.json.Decoder(CaptureBody)
REFUND = msgspec.json.Decoder(RefundBody)


def _key(request: Request) -> str:
    if not 1 <= len(request.key) <= 200:
        raise Refused(400, "the header Idempotency-Key must have 1 to 200 characters")
    return request.key


def _taken_minor(wanted: CaptureBody) -> int:
    return taken_minor(wanted.card_token, wanted.amount_minor)


def _kind(entry: Entry) -> str:
    return "capture" if isinstance(entry, CaptureRecord) else "refund"


def _described(record: Tried | RefundRecord) -> dict[str, Any]:
    match record:
        case CaptureRecord():
            wanted = record.request
            return {
                "status": "captured",
                "capture_id": record.capture_id,
                "idempotency_key": record.key,
                "payment_id": wanted.payment_id,
                "order_id": wanted.order_id,
                "amount_minor": _taken_minor(wanted),
                "currency": wanted.currency,
                "at": record.at,
            }
        case DeclineRecord():
            return {"status": "declined", "reason": record.reason, **_described_try(record)}
        case ActionRecord():
            return {"status": "requires_action", **_described_try(record)}
        case RefundRecord():
            return {
                "status": "refunded",
                "refund_id": record.refund_id,
                "idempotency_key": record.key.removeprefix("refund:"),
                "capture_id": record.request.capture_id,
                "order_id": record.order_id,
                "amount_minor": record.request.amount_minor,
                "currency": record.request.currency,
                "at": record.at,
            }


def _described_try(record: DeclineRecord | ActionRecord) -> dict[str, Any]:
    return {
        "idempotency_key": record.key,
        "payment_id": record.request.payment_id,
        "order_id": record.request.order_id,
        "at": record.at,
    }
