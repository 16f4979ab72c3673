"""The payment service: captures and refunds by idempotency key, and its ledger.

A key stands for one capture for ever. To a key that it has seen before, the service gives
the answer that it gave then.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import quote

from ordermq.errors import GatewayRefused, GatewayUnavailable, OutcomeUnknown
from ordermq.shop.gateways.http import Answer, JsonClient
from ordermq.shop.settings import ShopSettings

_LEDGER_PAGE = 1000

# The request itself is wrong. Every other refusal may pass: a missing permission, a limit, a fault.
_NEVER = (400, 404, 405, 410, 413, 415, 422)


@dataclass(frozen=True, slots=True)
class Captured:
    """The money was taken."""

    capture_id: str


@dataclass(frozen=True, slots=True)
class Declined:
    """The card was refused for good; ``reason`` is what the service says."""

    reason: str


@dataclass(frozen=True, slots=True)
class Refunded:
    """The money was refunded."""

    refund_id: str


@dataclass(frozen=True, slots=True)
class Capture:
    """The money to take, and the idempotency key to take it under."""

    key: str
    order_id: str
    amount_minor: int
    currency: str
    card_token: str = field(repr=False)


@dataclass(frozen=True, slots=True)
class LedgerEntry:
    """One movement of money in the service's ledger; ``kind`` is ``capture`` or ``refund``."""

    entry_no: int
    kind: str
    idempotency_key: str
    order_id: str
    capture_id: str
    amount_minor: int
    currency: str


class PaymentGateway:
    """The service's calls. Safe for many threads; each call blocks until its deadline at most.

    Every call raises GatewayUnavailable (it had no effect, or it may be repeated with the
    same key), OutcomeUnknown (it may have had an effect), or GatewayRefused (it never
    succeeds).
    """

    def __init__(self, client: JsonClient) -> None:
        self._client = client

    @classmethod
    def from_settings(cls, settings: ShopSettings) -> "PaymentGateway":
        """Return the gateway at ``shop.payment_url``; connects at the first call."""
        return cls(
            JsonClient(
                settings.payment_url,
                connect_timeout_s=settings.gateway_connect_timeout_s,
                timeout_s=settings.gateway_timeout_s,
            )
        )

    def capture(self, capture: Capture, *, timeout_s: float | None = None) -> Captured | Declined:
        """Take the money, or learn that the card is refused. The same key again is the same capture."""
        answer = self._client.post(
            "/v1/captures",
            {
                "payment_id": capture.key,
                "order_id": capture.order_id,
                "amount_minor": capture.amount_minor,
                "currency": capture.currency,
                "card_token": capture.card_token,
            },
            idempotency_key=capture.key,
            timeout_s=timeout_s,
        )
        if answer.status in (200, 201):
            return Captured(_text(answer, "capture_id"))
        if answer.status == 402:
            return Declined(_reason(answer))
        raise _error("capture", answer)

    def find(self, key: str, *, timeout_s: float | None = None) -> Captured | Declined | None:
        """Ask for the result of a capture; None if the service has never seen the key."""
        answer = self._client.get(f"/v1/captures/by-key/{quote(key, safe='')}", timeout_s=timeout_s)
        if answer.status == 404:
            return None
        if answer.status != 200:
            raise _error("asking for a capture", answer)
        if _text(answer, "status") == "declined":
            return Declined(_reason(answer))
        return Captured(_text(answer, "capture_id"))

    def refund(
        self, capture_id: str, *, key: str, amount_minor: int, currency: str, timeout_s: float | None = None
    ) -> Refunded:
        """Refund a capture. The same key again is the same refund."""
        answer = self._client.post(
            "/v1/refunds",
            {"capture_id": capture_id, "amount_minor": amount_minor, "currency": currency},
            idempotency_key=key,
            timeout_s=timeout_s,
        )
        if answer.status in (200, 201):
            return Refunded(_text(answer, "refund_id"))
        raise _error("refund", answer)

    def ledger(self) -> Iterator[list[LedgerEntry]]:
        """Yield the service's ledger, a page at a time, the oldest entry first."""
        after = 0
        while True:
            answer = self._client.get(f"/v1/ledger?after={after}&limit={_LEDGER_PAGE}")
            if answer.status != 200:
                raise _error("reading the ledger", answer)
            entries = [_entry(each) for each in answer.lines()]
            if not entries:
                return
            yield entries
            after = entries[-1].entry_no


def _entry(raw: Mapping[str, Any]) -> LedgerEntry:
    try:
        return LedgerEntry(
            entry_no=int(raw["n"]),
            kind=str(raw["kind"]),
            idempotency_key=str(raw["idempotency_key"]),
            order_id=str(raw["order_id"]),
            capture_id=str(raw["capture_id"]),
            amount_minor=int(raw["amount_minor"]),
            currency=str(raw["currency"]),
        )
    except (KeyError, ValueError) as exc:
        raise OutcomeUnknown(f"the payment service's ledger has an entry without {exc}") from exc


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
