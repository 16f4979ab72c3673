"""Stripe's webhooks, received by a WSGI application: an order that waits for its payment goes on at once.

A webhook is believed in one thing only: something happened to the payment of this order. The order's
waiting message is then sent now, and its handler asks Stripe for the present state. So it does no harm
that events come twice, late, or in another order, and one that never comes costs time only: the
message has its own time, and goes then.

Invariants
    WHK1  Nothing is read from a body whose signature was not checked, and no more than MAX_BYTES of it.
    WHK2  An event has its effect once: its id and the effect commit together.
"""

import json
import logging
import threading
from collections.abc import Callable, Iterable, Mapping
from typing import Any

from ordermq.clock import utc_now
from ordermq.errors import OrderMQError, StoreError
from ordermq.shop.commands import PAYMENT, CapturePayment, RefundPayment
from ordermq.shop.gateways.stripe.objects import ORDER
from ordermq.shop.gateways.stripe.settings import StripeSettings
from ordermq.shop.gateways.stripe.signature import WrongSignature, check
from ordermq.shop.log_events import WEBHOOK_REFUSED, WEBHOOK_TAKEN, WEBHOOK_UNWRITTEN
from ordermq.store import Session, StoreTransaction, outbox, wake_relay

log = logging.getLogger(__name__)

MAX_BYTES = 256 * 1024

StartResponse = Callable[..., Any]

_TYPES = (CapturePayment.__name__, RefundPayment.__name__)
_MAX_ID_CHARS = 255

# Stripe sends an event again for three days. Two of the old ones go for each that comes.
_RECEIVE = """
    WITH forgotten AS (
        DELETE FROM stripe.events WHERE event_id IN (
            SELECT event_id FROM stripe.events WHERE received_at < now() - interval '30 days'
             ORDER BY received_at LIMIT 2 FOR UPDATE SKIP LOCKED))
    INSERT INTO stripe.events (event_id) VALUES (%s) ON CONFLICT (event_id) DO NOTHING RETURNING event_id
"""
_ORDER_OF = "SELECT order_id FROM stripe.keys WHERE object_id = %s"


class NotAccepted(Exception):
    """A request that is answered with this status and changes nothing."""

    def __init__(self, status: str, reason: str, *headers: tuple[str, str]) -> None:
        super().__init__(reason)
        self.status = status
        self.headers = headers


class StripeWebhook:
    """The WSGI application of one endpoint. Safe for many threads; one at a time uses the database."""

    def __init__(self, settings: StripeSettings, session: Session) -> None:
        self._settings = settings
        self._session = session
        self._lock = threading.Lock()

    def __call__(self, environ: Mapping[str, Any], start_response: StartResponse) -> Iterable[bytes]:
        """Answer one request: 200 once the event is written down, 503 if Stripe is to send it again."""
        try:
            self._receive(_event_in(environ, self._settings))
        except NotAccepted as refused:
            log.warning("a webhook was answered with %s: %s", refused.status, refused, extra=WEBHOOK_REFUSED)
            return _answer(start_response, refused.status, str(refused), *refused.headers)
        except OrderMQError as exc:
            log.error(
                "a webhook could not be written down, and Stripe sends it again: %s",
                exc,
                extra=WEBHOOK_UNWRITTEN,
            )
            return _answer(start_response, "503 Service Unavailable", "try again", ("Retry-After", "30"))
        return _answer(start_response, "200 OK", "received")

    def _receive(self, event: Mapping[str, Any]) -> None:
        event_id, body = _event_id(event), _object_in(event)
        with self._lock:
            try:
                with self._session.transaction() as tx:
                    is_new = tx.fetch_one(_RECEIVE, (event_id,)) is not None
                    hastened = _hasten(body, tx) if is_new else 0
            except StoreError:
                self._session.close()
                raise
            if hastened:
                wake_relay(self._session)
        log.info(
            "event %s: %s",
            event_id,
            f"{hastened} messages go now" if is_new else "came before",
            extra=WEBHOOK_TAKEN,
        )


def _hasten(body: Mapping[str, Any], tx: StoreTransaction) -> int:
    metadata = body.get("metadata")
    order_id = metadata.get(ORDER) if isinstance(metadata, dict) else None
    if not isinstance(order_id, str):
        named = body.get("payment_intent") if body.get("object") != "payment_intent" else body.get("id")
        found = tx.fetch_one(_ORDER_OF, (named,)) if isinstance(named, str) else None
        order_id = found[0] if found else None
    return outbox.hasten(tx, PAYMENT, order_id, _TYPES) if order_id else 0


def _event_in(environ: Mapping[str, Any], settings: StripeSettings) -> Mapping[str, Any]:
    """Return the event of a request. Raises NotAccepted."""
    if environ.get("REQUEST_METHOD") != "POST":
        raise NotAccepted("405 Method Not Allowed", "a webhook is a POST", ("Allow", "POST"))
    if str(environ.get("CONTENT_TYPE", "")).partition(";")[0].strip().lower() != "application/json":
        raise NotAccepted("415 Unsupported Media Type", "a webhook is JSON")
    length = str(environ.get("CONTENT_LENGTH") or "")
    if not (length.isascii() and length.isdecimal()):
        raise NotAccepted("411 Length Required", "a Content-Length is needed")
    if len(length) > len(str(MAX_BYTES)) or int(length) > MAX_BYTES:
        raise NotAccepted("413 Content Too Large", f"at most {MAX_BYTES} bytes")
    body = environ["wsgi.input"].read(int(length))
    try:
        check(
            str(environ.get("HTTP_STRIPE_SIGNATURE", "")),
            body,
            settings.webhook_secret.reveal().split(),
            now_s=utc_now().timestamp(),
            tolerance_s=settings.webhook_tolerance_s,
        )
        event = json.loads(body)
    except WrongSignature as exc:
        raise NotAccepted("400 Bad Request", str(exc)) from exc
    except (ValueError, RecursionError) as exc:
        raise NotAccepted("400 Bad Request", "the body is not JSON") from exc
    if not isinstance(event, dict):
        raise NotAccepted("400 Bad Request", "the body is not an event")
    return event


def _event_id(event: Mapping[str, Any]) -> str:
    event_id = event.get("id")
    if not isinstance(event_id, str) or not 0 < len(event_id) <= _MAX_ID_CHARS or "\0" in event_id:
        raise NotAccepted("400 Bad Request", "the event has no id")
    return event_id


def _object_in(event: Mapping[str, Any]) -> Mapping[str, Any]:
    data = event.get("data")
    body = data.get("object") if isinstance(data, dict) else None
    return body if isinstance(body, dict) else {}


def _answer(
    start_response: StartResponse, status: str, text: str, *headers: tuple[str, str]
) -> Iterable[bytes]:
    body = json.dumps({"status": text}).encode()
    start_response(
        status, [("Content-Type", "application/json"), ("Content-Length", str(len(body))), *headers]
    )
    return [body]
