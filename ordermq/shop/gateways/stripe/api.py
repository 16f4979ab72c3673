"""Requests to Stripe's API, and what its answers mean for money.

The version of the API is pinned, so an account's newer default changes nothing here. Errors name
Stripe's codes only: its messages may quote personal data.
"""

import re
from collections.abc import Iterator, Mapping
from typing import Any
from urllib.parse import urlencode

from ordermq.clock import Deadline
from ordermq.errors import GatewayError, GatewayRefused, GatewayUnavailable, OutcomeUnknown
from ordermq.shop.gateways.http import Answer, JsonClient

VERSION = "2025-03-31.basil"
PAGE = 100  # the most that Stripe returns at once

_CODE = re.compile(r"[A-Za-z0-9_]{1,80}")
_MAX_KEY_CHARS = 255

Body = Mapping[str, Any]


class StripeRefusal(GatewayRefused):
    """Stripe refused a request for good; ``code`` is its word for it, ``intent`` a PaymentIntent it names."""

    def __init__(self, message: str, code: str, intent: Body | None) -> None:
        super().__init__(message)
        self.code = code
        self.intent = intent


class StripeApi:
    """Calls, each within a deadline. Safe for many threads.

    Each raises GatewayUnavailable, OutcomeUnknown, or StripeRefusal.
    """

    def __init__(self, client: JsonClient) -> None:
        self._client = client

    def get(self, path: str, query: Mapping[str, object], deadline: Deadline) -> Body:
        """Return an object."""
        full = f"{path}?{urlencode({name: str(value) for name, value in query.items()})}" if query else path
        answer = self._client.get(full, timeout_s=deadline.left_s)
        if answer.status != 200:
            raise _error("GET", path, answer)
        return answer.body()

    def post(self, path: str, form: Mapping[str, object], deadline: Deadline, *, key: str = "") -> Body:
        """Create or change an object, once for each key; return it."""
        if len(key) > _MAX_KEY_CHARS:
            raise GatewayRefused(f"Stripe takes idempotency keys of at most {_MAX_KEY_CHARS} characters")
        answer = self._client.post_form(path, form, idempotency_key=key or None, timeout_s=deadline.left_s)
        if answer.status != 200:
            raise _error("POST", path, answer)
        return answer.body()

    def pages(self, path: str, query: Mapping[str, object], deadline: Deadline) -> Iterator[list[Body]]:
        """Yield the pages of a list, the newest objects first."""
        after: dict[str, object] = {}
        while True:
            page = self.get(path, {**query, "limit": PAGE, **after}, deadline)
            objects: list[Body] = [each for each in page.get("data") or () if isinstance(each, dict)]
            yield objects
            if not page.get("has_more") or not objects:
                return
            after = {"starting_after": objects[-1].get("id", "")}


def text_of(body: Body, name: str) -> str:
    """Return a text of an object; empty if there is none."""
    value = body.get(name)
    return value[:200] if isinstance(value, str) else ""


def code_of(error: object) -> str:
    """Return Stripe's word for what is wrong: the card's decline code, or else the error's code or type."""
    if isinstance(error, dict):
        for name in ("decline_code", "code", "type"):
            value = error.get(name)
            if isinstance(value, str) and _CODE.fullmatch(value):
                return value
    return ""


def _error(method: str, path: str, answer: Answer) -> GatewayError:
    """Return what an answer other than 200 means.

    Stripe stores the answer to a key, also a 500, and answers the same again: so after an error of
    the server the outcome of a POST is unknown, however often it is asked for.
    """
    error = answer.body().get("error")
    code = code_of(error)
    said = f"{method} {path}: Stripe answered {answer.status} {code}".rstrip()
    if answer.status in (401, 403):
        return GatewayUnavailable(f"{said}: check stripe.secret_key and what it may do")
    if answer.status in (409, 429):
        return GatewayUnavailable(said, answer.retry_after_s)
    if 400 <= answer.status < 500 and answer.status != 424:
        intent = error.get("payment_intent") if isinstance(error, dict) else None
        return StripeRefusal(said, code, intent if isinstance(intent, dict) else None)
    if method == "GET":
        return GatewayUnavailable(said, answer.retry_after_s)
    return OutcomeUnknown(said)
