"""What Stripe's PaymentIntents and refunds say about our money. Pure."""

from collections.abc import Mapping
from typing import Any

from ordermq.errors import GatewayRefused, OutcomeUnknown
from ordermq.shop.gateways.payment import (
    Capture,
    CaptureAnswer,
    Captured,
    Declined,
    GivenBack,
    LedgerEntry,
    Pending,
    Refund,
    Refunded,
    RequiresAction,
)
from ordermq.shop.gateways.stripe.api import code_of, text_of
from ordermq.shop.minor_units import from_service, to_service

KEY, ORDER = "ordermq_key", "ordermq_order"  # what our objects carry as metadata
UNITS = "stripe"

_NO_REFUND = frozenset({"failed", "canceled"})


def intent_form(capture: Capture) -> dict[str, object]:
    """Return the form that makes and confirms a PaymentIntent. Raises GatewayRefused."""
    return {
        "amount": to_service(capture.amount_minor, capture.currency, UNITS).amount_minor,
        "currency": capture.currency.lower(),
        "confirm": "true",
        "payment_method": capture.card_token,
        "payment_method_types[0]": "card",
        f"metadata[{KEY}]": capture.key,
        f"metadata[{ORDER}]": capture.order_id,
        "expand[0]": "latest_charge",
    }


def refund_form(refund: Refund) -> dict[str, object]:
    """Return the form that refunds a PaymentIntent, or a charge by its own id. Raises GatewayRefused."""
    return {
        **capture_name(refund.capture_id),
        "amount": to_service(refund.amount_minor, refund.currency, UNITS).amount_minor,
        f"metadata[{KEY}]": refund.key,
    }


def capture_name(capture_id: str) -> dict[str, object]:
    """Return the parameter that names a capture: orders that were paid before may name a charge."""
    return {"charge" if capture_id.startswith(("ch_", "py_")) else "payment_intent": capture_id}


def is_under(body: Mapping[str, Any], key: str) -> bool:
    """Say whether an object was made under ``key``."""
    return _metadata(body).get(KEY) == key


def capture_answer(intent: Mapping[str, Any], capture: Capture) -> CaptureAnswer:
    """Return what a PaymentIntent says about ``capture``. Only one that is about this money is believed.

    Raises GatewayRefused for other money, OutcomeUnknown for an answer that cannot be read.
    """
    intent_id, status = text_of(intent, "id"), text_of(intent, "status")
    if not intent_id or not status:
        raise OutcomeUnknown("Stripe's PaymentIntent has no id or status")
    amount = to_service(capture.amount_minor, capture.currency, UNITS).amount_minor
    found = (intent.get("amount"), text_of(intent, "currency"), _metadata(intent).get(ORDER))
    wanted = (amount, capture.currency.lower(), capture.order_id)
    if found != wanted:
        raise GatewayRefused(f"Stripe's {intent_id} is about {found}, not about {wanted}")
    match status:
        case "succeeded":
            return _taken(intent, intent_id, amount)
        case "requires_action":
            return RequiresAction(intent_id)
        case "requires_payment_method":
            return Declined(code_of(intent.get("last_payment_error")) or "declined")
        case "canceled":
            why = code_of(intent.get("last_payment_error")) or text_of(intent, "cancellation_reason")
            return Declined(why or "canceled")
        case _:  # processing, requires_confirmation, requires_capture, or a word of a later version
            return Pending(status)


def refund_answer(body: Mapping[str, Any], refund: Refund) -> Refunded | Pending:
    """Return what a refund of Stripe says about ``refund``. Raises GatewayRefused or OutcomeUnknown."""
    refund_id, status = text_of(body, "id"), text_of(body, "status")
    if not refund_id or not status:
        raise OutcomeUnknown("Stripe's refund has no id or status")
    amount = to_service(refund.amount_minor, refund.currency, UNITS).amount_minor
    found, wanted = (body.get("amount"), text_of(body, "currency")), (amount, refund.currency.lower())
    if found != wanted:
        raise GatewayRefused(f"Stripe's {refund_id} is of {found}, not of {wanted}")
    if status in _NO_REFUND:
        reason = text_of(body, "failure_reason")
        raise GatewayRefused(f"Stripe's {refund_id} {status} {reason}".rstrip())
    return Refunded(refund_id) if status == "succeeded" else Pending(status)


def capture_entry(number: int, intent: Mapping[str, Any]) -> LedgerEntry | None:
    """Return a PaymentIntent as an entry of the ledger; None if no money was taken."""
    if text_of(intent, "status") != "succeeded":
        return None
    metadata, currency = _metadata(intent), text_of(intent, "currency").upper()
    return LedgerEntry(
        entry_no=number,
        kind="capture",
        idempotency_key=str(metadata.get(KEY, "")),
        order_id=str(metadata.get(ORDER, "")),
        capture_id=text_of(intent, "id"),
        amount_minor=from_service(int(intent.get("amount_received") or 0), currency, UNITS),
        currency=currency,
    )


def refund_entry(number: int, body: Mapping[str, Any]) -> LedgerEntry | None:
    """Return a refund as an entry of the ledger; None if no money went back."""
    if text_of(body, "status") != "succeeded":
        return None
    currency = text_of(body, "currency").upper()
    return LedgerEntry(
        entry_no=number,
        kind="refund",
        idempotency_key=str(_metadata(body).get(KEY, "")),
        order_id="",
        capture_id=text_of(body, "payment_intent") or text_of(body, "charge"),
        amount_minor=from_service(int(body.get("amount") or 0), currency, UNITS),
        currency=currency,
    )


def _taken(intent: Mapping[str, Any], intent_id: str, amount: int) -> CaptureAnswer:
    if intent.get("amount_received") != amount:
        raise GatewayRefused(f"Stripe's {intent_id} took {intent.get('amount_received')} instead of {amount}")
    charge = intent.get("latest_charge")
    if isinstance(charge, dict):
        if charge.get("refunded") is True:
            return GivenBack(intent_id, "refunded")
        if charge.get("amount_refunded"):
            raise GatewayRefused(f"a part of {intent_id} was refunded at Stripe")
    return Captured(intent_id)


def _metadata(body: Mapping[str, Any]) -> Mapping[str, Any]:
    metadata = body.get("metadata")
    return metadata if isinstance(metadata, dict) else {}
