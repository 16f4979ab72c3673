"""The payment service over HTTP: captures and refunds by idempotency key, and its ledger.

A key stands for one capture for ever. To a key that it has seen before, the service gives
the answer that it gave then.
"""

import re
from collections.abc import Iterator, Mapping
from typing import Any, Self
from urllib.parse import quote

from ordermq.config import Loaded
from ordermq.errors import GatewayRefused, GatewayUnavailable, OutcomeUnknown
from ordermq.shop.gateways.http import Answer, JsonClient
from ordermq.shop.gateways.payment import (
    Capture,
    CaptureAnswer,
    Captured,
    Declined,
    GivenBack,
    LedgerEntry,
    PaymentGateway,
    Pending,
    Refund,
    RefundAnswer,
    Refunded,
    RequiresAction,
)
from ordermq.shop.minor_units import ISO, from_service, to_service
from ordermq.shop.settings import SECTION, ShopSettings

_LEDGER_PAGE = 1000

_GIVEN_BACK = frozenset({"refunded", "charged_back", "chargeback", "reversed", "voided"})
_ONLY_LEFT = re.compile(r"\bonly (\d{1,18}(?:\.\d{1,3})?)\b.*\bleft\b", re.ASCII)

# The request itself is wrong. Every other refusal may pass: a missing permission, a limit, a fault.
_NEVER = (400, 404, 405, 410, 413, 415, 422)


class HttpPaymentGateway(PaymentGateway):
    """The service at ``shop.payment_url``, as the sandbox speaks it."""

    def __init__(self, client: JsonClient, *, units: str = ISO, can_find: bool = True) -> None:
        """``units`` is one of minor_units.SERVICES: whose minor units the amounts are in.

        ``can_find``: the service can be asked for a capture or refund by its key.
        """
        self._client = client
        self._units = units
        self.can_find = can_find

    @classmethod
    def from_config(cls, config: Loaded) -> Self:
        return cls.from_settings(config.section(SECTION))

    @classmethod
    def from_settings(cls, settings: ShopSettings) -> Self:
        """Return the gateway at ``shop.payment_url``; connects at the first call."""
        return cls(
            JsonClient(
                settings.payment_url,
                connect_timeout_s=settings.gateway_connect_timeout_s,
                timeout_s=settings.gateway_timeout_s,
            ),
            units=settings.payment_units,
            can_find=settings.payment_lookup,
        )

    def capture(self, capture: Capture, *, timeout_s: float | None = None) -> CaptureAnswer:
        """Take the money, or learn that the card is refused. The same key again is the same capture.

        Raises GatewayRefused also for an answer about another amount, currency or order.
        """
        amount = to_service(capture.amount_minor, capture.currency, self._units)
        answer = self._client.post(
            "/v1/captures",
            {
                "payment_id": capture.key,
                "order_id": capture.order_id,
                "amount_minor": amount.amount_minor,
                "exponent": amount.exponent,
                "currency": capture.currency,
                "card_token": capture.card_token,
            },
            idempotency_key=capture.key,
            timeout_s=timeout_s,
        )
        if answer.status in (200, 201, 202):
            return self._result_of(capture, answer)
        if answer.status == 402:
            return Declined(_reason(answer))
        raise _error("capture", answer)

    def find(self, capture: Capture, *, timeout_s: float | None = None) -> CaptureAnswer | None:
        """Ask for the result of a capture; None if the service has never seen its key.

        Raises GatewayRefused also if the capture under the key is of another amount, currency or order.
        """
        answer = self._client.get(f"/v1/captures/by-key/{quote(capture.key, safe='')}", timeout_s=timeout_s)
        if answer.status == 404:
            return None
        if answer.status != 200:
            raise _error("asking for a capture", answer)
        return self._result_of(capture, answer)

    def cancel(self, capture: Capture, *, timeout_s: float | None = None) -> CaptureAnswer:
        """End a capture that waits for the customer; return Declined, or what was decided before."""
        path = f"/v1/captures/by-key/{quote(capture.key, safe='')}/cancel"
        answer = self._client.post(path, {}, idempotency_key=f"cancel:{capture.key}", timeout_s=timeout_s)
        if answer.status != 200:
            raise _error("cancelling a capture", answer)
        return self._result_of(capture, answer)

    def _result_of(self, capture: Capture, answer: Answer) -> CaptureAnswer:
        """Read an answer about ``capture``. Only one that is about this money is believed."""
        amount = to_service(capture.amount_minor, capture.currency, self._units)
        _check(
            "capture", answer, order_id=capture.order_id, amount_minor=amount.amount_minor,
            currency=capture.currency,
        )  # fmt: skip
        status = _text(answer, "status")
        if status == "declined":
            return Declined(_reason(answer))
        if status == "requires_action":
            return RequiresAction(_text(answer, "payment_id"))
        if status == "partially_refunded":
            raise GatewayRefused("a part of the capture was refunded at the payment service")
        if status != "captured" and status not in _GIVEN_BACK:
            return Pending(status)
        _check_complete("capture", answer, "order_id", "amount_minor", "currency")
        if status in _GIVEN_BACK:
            return GivenBack(_text(answer, "capture_id"), status)
        return Captured(_text(answer, "capture_id"))

    def refund(self, refund: Refund, *, timeout_s: float | None = None) -> RefundAnswer:
        """Refund a capture. The same key again is the same refund.

        GivenBack if the service says that nothing of the capture is left.
        Raises GatewayRefused also for an answer about another capture, amount or currency.
        """
        wanted = self._wanted(refund)
        exponent = to_service(refund.amount_minor, refund.currency, self._units).exponent
        answer = self._client.post(
            "/v1/refunds", {**wanted, "exponent": exponent}, idempotency_key=refund.key, timeout_s=timeout_s
        )
        if answer.status == 409:
            return _conflict_in(answer, refund.capture_id)
        if answer.status not in (200, 201):
            raise _error("refund", answer)
        return _refund_in(answer, wanted)

    def find_refund(self, refund: Refund, *, timeout_s: float | None = None) -> RefundAnswer | None:
        """Ask for the result of a refund; None if the service has never seen its key."""
        answer = self._client.get(f"/v1/refunds/by-key/{quote(refund.key, safe='')}", timeout_s=timeout_s)
        if answer.status == 404:
            return None
        if answer.status != 200:
            raise _error("asking for a refund", answer)
        return _refund_in(answer, self._wanted(refund))

    def _wanted(self, refund: Refund) -> dict[str, object]:
        amount = to_service(refund.amount_minor, refund.currency, self._units)
        return {
            "capture_id": refund.capture_id,
            "amount_minor": amount.amount_minor,
            "currency": refund.currency,
        }

    def ledger(self) -> Iterator[list[LedgerEntry]]:
        """Yield the service's ledger, a page at a time, the oldest entry first."""
        after = 0
        while True:
            answer = self._client.get(f"/v1/ledger?after={after}&limit={_LEDGER_PAGE}")
            if answer.status != 200:
                raise _error("reading the ledger", answer)
            entries = [_entry(each, self._units) for each in answer.lines()]
            if not entries:
                return
            yield entries
            after = entries[-1].entry_no


def _entry(raw: Mapping[str, Any], units: str) -> LedgerEntry:
    try:
        currency = str(raw["currency"])
        return LedgerEntry(
            entry_no=int(raw["n"]),
            kind=str(raw["kind"]),
            idempotency_key=str(raw["idempotency_key"]),
            order_id=str(raw["order_id"]),
            capture_id=str(raw["capture_id"]),
            amount_minor=from_service(int(raw["amount_minor"]), currency, units),
            currency=currency,
        )
    except (KeyError, ValueError) as exc:
        raise OutcomeUnknown(f"the payment service's ledger has an entry without {exc}") from exc


def _refund_in(answer: Answer, wanted: Mapping[str, object]) -> Refunded | Pending:
    """Read an answer about a refund. Only one that is about this money is believed."""
    _check("refund", answer, **wanted)
    status = _text(answer, "status")
    if status != "refunded":
        return Pending(status)
    _check_complete("refund", answer, *wanted)
    return Refunded(_text(answer, "refund_id"))


def _conflict_in(answer: Answer, capture_id: str) -> GivenBack | Pending:
    """Read a refusal that rests on the state of the capture: is nothing of it left to refund?"""
    reason = answer.body().get("reason")
    said = reason[:200] if isinstance(reason, str) else "409"
    left = _ONLY_LEFT.search(said)
    return GivenBack(capture_id, said) if left and not float(left[1]) else Pending(f"refused, {said}")


def _check(what: str, answer: Answer, **wanted: object) -> None:
    """Raise GatewayRefused if the answer names other money than ``wanted``."""
    body = answer.body()
    differences = [
        f"{name} {str(body[name])[:80]!r} instead of {value!r}"
        for name, value in wanted.items()
        if name in body and (body[name] != value or isinstance(body[name], bool))
    ]
    if differences:
        raise GatewayRefused(f"the payment service answers with another {what}: {', '.join(differences)}")


def _check_complete(what: str, answer: Answer, *names: str) -> None:
    """Raise OutcomeUnknown if the answer does not say which money was moved."""
    if missing := [name for name in names if name not in answer.body()]:
        raise OutcomeUnknown(f"the payment service's {what} has no {', '.join(missing)}")


def _error(what: str, answer: Answer) -> GatewayUnavailable | GatewayRefused | OutcomeUnknown:
    status = answer.status
    if status in _NEVER:
        return GatewayRefused(f"{what}: the payment service refused it with {status}")
    if status >= 400:
        return GatewayUnavailable(f"{what}: the payment service answered {status}", answer.retry_after_s)
    return OutcomeUnknown(f"{what}: the payment service answered {status}")


def _text(answer: Answer, name: str) -> str:
    value = answer.body().get(name)
    if not isinstance(value, str) or not value:
        raise OutcomeUnknown(f"the payment service's answer has no {name}")
    return value[:200]


def _reason(answer: Answer) -> str:
    reason = answer.body().get("reason")
    return reason[:200] if isinstance(reason, str) else "declined"
