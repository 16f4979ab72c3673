"""Stripe as the payment service: a PaymentIntent for each capture, made and confirmed in one request.

Invariants
    STP1  A key makes one PaymentIntent for ever. A key that was used before is looked up before it is
        used again, first in stripe.keys, then among Stripe's PaymentIntents by their metadata. So
        it does no harm that Stripe forgets a key after a day.
    STP2  Declined is returned only of a PaymentIntent that is cancelled, so that no page of the shop
        can take the money under it later, beside a capture with another card.
"""

from collections.abc import Iterator
from typing import Self

from ordermq.clock import Deadline, utc_now
from ordermq.config import Loaded
from ordermq.errors import ConfigError, GatewayRefused
from ordermq.shop.gateways.http import JsonClient
from ordermq.shop.gateways.payment import (
    Capture,
    CaptureAnswer,
    Declined,
    GivenBack,
    LedgerEntry,
    PaymentGateway,
    Refund,
    RefundAnswer,
)
from ordermq.shop.gateways.stripe import objects
from ordermq.shop.gateways.stripe.api import PAGE, VERSION, Body, StripeApi, StripeRefusal, text_of
from ordermq.shop.gateways.stripe.keys import KeyRow, Keys
from ordermq.shop.gateways.stripe.settings import stripe_settings
from ordermq.shop.settings import SECTION, ShopSettings
from ordermq.store import Session

_INTENTS = "/v1/payment_intents"
_CHARGE = {"expand[0]": "latest_charge"}
_CHARGES = {"expand[0]": "data.latest_charge"}
_LEDGER_S = 3600.0
# Stripe's search may be an hour behind, its lists are not. Together they miss nothing.
_LISTED_S = 7200.0
_CLOCKS_DIFFER_S = 300.0


class StripeGateway(PaymentGateway):
    """PaymentIntents and refunds of an account. Keys are kept in stripe.keys."""

    def __init__(self, api: StripeApi, keys: Keys, *, timeout_s: float, search_first: bool = False) -> None:
        """``search_first``: also a key without a row is looked for at Stripe before it is used."""
        self._api = api
        self._keys = keys
        self._timeout_s = timeout_s
        self._search_first = search_first

    @classmethod
    def from_config(cls, config: Loaded) -> Self:
        stripe = stripe_settings(config)
        shop: ShopSettings = config.section(SECTION)
        if not stripe.secret_key:
            raise ConfigError("stripe.secret_key is empty: give it as a credential or a file")

        def headers() -> dict[str, str]:
            return {"Authorization": f"Bearer {stripe.secret_key.reveal()}", "Stripe-Version": VERSION}

        client = JsonClient(
            stripe.url,
            connect_timeout_s=shop.gateway_connect_timeout_s,
            timeout_s=shop.gateway_timeout_s,
            headers=headers,
        )
        keys = Keys(Session(config.settings.database, name="ordermq stripe keys"))
        return cls(
            StripeApi(client), keys, timeout_s=shop.gateway_timeout_s, search_first=stripe.search_first
        )

    def capture(self, capture: Capture, *, timeout_s: float | None = None) -> CaptureAnswer:
        deadline = self._deadline(timeout_s)
        form = objects.intent_form(capture)
        row = self._keys.begin(capture.key, capture.order_id)
        if not row.is_new or self._search_first:
            found = self._look_up(capture, row, deadline)
            if found is not None:
                return self._answer(found, capture, deadline)
        try:
            intent = self._api.post(_INTENTS, form, deadline, key=capture.key)
        except StripeRefusal as refusal:
            if refusal.intent is None:
                raise
            intent = refusal.intent  # the card was declined
        if not objects.is_under(intent, capture.key):
            raise GatewayRefused("Stripe answers with the PaymentIntent of another key")
        self._keys.name(capture.key, text_of(intent, "id"))
        return self._answer(intent, capture, deadline)

    def find(self, capture: Capture, *, timeout_s: float | None = None) -> CaptureAnswer | None:
        deadline = self._deadline(timeout_s)
        intent = self._found(capture, deadline)
        return None if intent is None else self._answer(intent, capture, deadline)

    def cancel(self, capture: Capture, *, timeout_s: float | None = None) -> CaptureAnswer:
        deadline = self._deadline(timeout_s)
        intent = self._found(capture, deadline)
        if intent is None:
            raise GatewayRefused("Stripe has no PaymentIntent to cancel")
        return self._cancelled(intent, capture, deadline)

    def refund(self, refund: Refund, *, timeout_s: float | None = None) -> RefundAnswer:
        # A capture has few refunds, so they are always listed: Stripe may have forgotten the key.
        deadline = self._deadline(timeout_s)
        form = objects.refund_form(refund)
        found = self._refund_under(refund, deadline)
        if found is None:
            try:
                found = self._api.post("/v1/refunds", form, deadline, key=refund.key)
            except StripeRefusal as refusal:
                if refusal.code == "charge_already_refunded":
                    return GivenBack(refund.capture_id, refusal.code)
                raise
        return objects.refund_answer(found, refund)

    def find_refund(self, refund: Refund, *, timeout_s: float | None = None) -> RefundAnswer | None:
        found = self._refund_under(refund, self._deadline(timeout_s))
        return None if found is None else objects.refund_answer(found, refund)

    def ledger(self) -> Iterator[list[LedgerEntry]]:
        """Yield succeeded PaymentIntents, then succeeded refunds. Disputes are not among them."""
        number = 0
        for path, entry_of in ((_INTENTS, objects.capture_entry), ("/v1/refunds", objects.refund_entry)):
            for page in self._api.pages(path, {}, Deadline(_LEDGER_S)):
                numbered = enumerate(page, number + 1)
                number += len(page)
                yield [entry for n, each in numbered if (entry := entry_of(n, each)) is not None]

    def _deadline(self, timeout_s: float | None) -> Deadline:
        return Deadline(self._timeout_s if timeout_s is None else timeout_s)

    def _answer(self, intent: Body, capture: Capture, deadline: Deadline) -> CaptureAnswer:
        answer = objects.capture_answer(intent, capture)
        if isinstance(answer, Declined) and text_of(intent, "status") != "canceled":
            ended = self._cancelled(intent, capture, deadline)  # STP2
            return answer if isinstance(ended, Declined) else ended
        return answer

    def _cancelled(self, intent: Body, capture: Capture, deadline: Deadline) -> CaptureAnswer:
        path = f"{_INTENTS}/{text_of(intent, 'id')}"
        try:
            form = {"cancellation_reason": "abandoned", **_CHARGE}
            ended = self._api.post(f"{path}/cancel", form, deadline)
        except StripeRefusal as refusal:
            if refusal.code != "payment_intent_unexpected_state":
                raise
            ended = self._api.get(path, _CHARGE, deadline)  # it was decided in this moment
        return objects.capture_answer(ended, capture)

    def _found(self, capture: Capture, deadline: Deadline) -> Body | None:
        row = self._keys.read(capture.key)
        if row is not None:
            return self._look_up(capture, row, deadline)
        return self._searched(capture.key, deadline) if self._search_first else None

    def _look_up(self, capture: Capture, row: KeyRow, deadline: Deadline) -> Body | None:
        """Return the PaymentIntent that the key made; None if it made none (STP1)."""
        if row.object_id is not None:
            return self._api.get(f"{_INTENTS}/{row.object_id}", _CHARGE, deadline)
        used_s, now_s = row.called_at.timestamp(), utc_now().timestamp()
        since_s = max(used_s, now_s - _LISTED_S) - _CLOCKS_DIFFER_S
        found = None
        for page in self._api.pages(_INTENTS, {"created[gte]": int(since_s), **_CHARGES}, deadline):
            found = found or _first(page, capture.key)
        if found is None and (used_s < now_s - _LISTED_S / 2 or self._search_first):
            found = self._searched(capture.key, deadline)
        if found is not None:
            self._keys.name(capture.key, text_of(found, "id"))
        return found

    def _searched(self, key: str, deadline: Deadline) -> Body | None:
        quoted = key.replace("\\", "\\\\").replace("'", "\\'")
        query = {"query": f"metadata['{objects.KEY}']:'{quoted}'", "limit": PAGE, **_CHARGES}
        data = self._api.get(f"{_INTENTS}/search", query, deadline).get("data")
        return _first(data if isinstance(data, list) else [], key)

    def _refund_under(self, refund: Refund, deadline: Deadline) -> Body | None:
        found = None
        for page in self._api.pages("/v1/refunds", objects.capture_name(refund.capture_id), deadline):
            found = found or _first(page, refund.key)
        return found


def _first(found: list[Body], key: str) -> Body | None:
    return next((each for each in found if isinstance(each, dict) and objects.is_under(each, key)), None)
