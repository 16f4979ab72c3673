"""A stand-in for Stripe's API, made from its public OpenAPI description and documentation. No network.

It checks what Stripe checks (key, version, form, idempotency) and keeps what Stripe keeps. Its clock
can be set forward, so that it forgets keys. Its search is behind until ``index()`` is called.
"""

import hmac
import json
import re
import threading
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from itertools import count
from urllib.parse import parse_qsl, urlsplit

from ordermq.clock import utc_now

SECRET_KEY = "sk_test_" + "0" * 24
KEY_LIFE_S = 86_400
VERSION = "2025-03-31.basil"

VISA = "pm_card_visa"
DECLINED = "pm_card_visa_chargeDeclinedInsufficientFunds"
THREE_D_SECURE = "pm_card_authenticationRequired"
PROCESSING = "pm_processing"

_CANCELLABLE = {"requires_payment_method", "requires_confirmation", "requires_action", "requires_capture"}


class StripeError(Exception):
    def __init__(self, status, kind, code=None, **more):
        super().__init__(code)
        self.status = status
        self.body = {"error": {"type": kind, "message": "secret words about jenny@example.com"}}
        self.body["error"] |= ({"code": code} if code else {}) | more


@dataclass
class StripeStub:
    """The account. ``url`` is where it answers; ``requests`` are (method, path) of all that came."""

    url: str = ""
    ahead_s: float = 0.0
    intents: dict = field(default_factory=dict)
    refunds: dict = field(default_factory=dict)
    charges: dict = field(default_factory=dict)
    keys: dict = field(default_factory=dict)
    requests: list = field(default_factory=list)
    indexed: set = field(default_factory=set)

    def __post_init__(self):
        self._lock = threading.RLock()
        self._numbers = count(1)

    # --- what happens at the service, or to it ---

    def forget_keys(self):
        """Let a day and an hour pass."""
        self.ahead_s += KEY_LIFE_S + 3600
        self.index()

    def index(self):
        """Let the search catch up."""
        self.indexed = set(self.intents)

    def authenticate(self, intent_id):
        """The customer passes 3-D Secure."""
        self._succeed(self.intents[intent_id])

    def fail_authentication(self, intent_id):
        """The customer does not pass 3-D Secure."""
        error = {"type": "invalid_request_error", "code": "payment_intent_authentication_failure"}
        self.intents[intent_id] |= {
            "status": "requires_payment_method", "last_payment_error": error, "next_action": None,
        }  # fmt: skip

    def settle(self):
        """What was processing succeeds."""
        for intent in self.intents.values():
            if intent["status"] == "processing":
                self._succeed(intent)

    def refund_by_hand(self, intent_id, amount=None):
        """A refund at the dashboard."""
        self._refund({"payment_intent": intent_id, **({"amount": str(amount)} if amount else {})})

    def intents_of(self, order_id):
        return [each for each in self.intents.values() if each["metadata"].get("ordermq_order") == order_id]

    def posts(self):
        return [path for method, path in self.requests if method == "POST"]

    def event(self, kind, body):
        """An event as a webhook brings it."""
        return {
            "id": f"evt_{next(self._numbers):06d}", "object": "event", "type": kind, "api_version": VERSION,
            "created": self.now(), "livemode": False, "pending_webhooks": 1, "data": {"object": body},
        }  # fmt: skip

    def now(self):
        return int(utc_now().timestamp() + self.ahead_s)

    # --- requests ---

    def handle(self, method, target, headers, raw):
        """Return (status, body) of one request."""
        url = urlsplit(target)
        with self._lock:
            self.requests.append((method, url.path))
            try:
                if headers.get("Authorization") != f"Bearer {SECRET_KEY}":
                    raise StripeError(401, "invalid_request_error")
                if headers.get("Stripe-Version") != VERSION:
                    raise StripeError(400, "invalid_request_error", "version")
                if method == "GET":
                    return 200, self._get(url.path, dict(parse_qsl(url.query)))
                if headers.get("Content-Type") != "application/x-www-form-urlencoded":
                    raise StripeError(400, "invalid_request_error", "content_type")
                return self._once(url.path, dict(parse_qsl(raw.decode())), headers.get("Idempotency-Key"))
            except StripeError as exc:
                return exc.status, exc.body

    def _once(self, path, form, key):
        if key is None:
            return 200, self._post(path, form)
        known = self.keys.get(key)
        if known is not None and self.now() - known[0] < KEY_LIFE_S:
            if known[1] != (path, form):
                raise StripeError(400, "idempotency_error")
            return known[2], json.loads(known[3])
        try:
            status, body = 200, self._post(path, form)
        except StripeError as exc:
            status, body = exc.status, exc.body
        self.keys[key] = (self.now(), (path, form), status, json.dumps(body))
        return status, body

    def _post(self, path, form):
        if path == "/v1/payment_intents":
            return self._create(form)
        if path == "/v1/refunds":
            return self._refund(form)
        if found := re.fullmatch(r"/v1/payment_intents/(pi_\w+)/cancel", path):
            return self._cancel(found[1])
        raise StripeError(404, "invalid_request_error")

    def _get(self, path, query):
        if path == "/v1/payment_intents":
            since = int(query.get("created[gte]", 0))
            found = [each for each in self.intents.values() if each["created"] >= since]
            return self._page(found, query)
        if path == "/v1/payment_intents/search":
            wanted = re.fullmatch(r"metadata\['(\w+)'\]:'(.*)'", query["query"])
            found = [
                each for name, each in self.intents.items()
                if name in self.indexed and each["metadata"].get(wanted[1]) == wanted[2].replace("\\'", "'")
            ]  # fmt: skip
            page = [self._shown(each, query, "data.") for each in found]
            return {"object": "search_result", "data": page, "has_more": False, "next_page": None}
        if path == "/v1/refunds":
            names = ("payment_intent", "charge")
            found = [
                each for each in self.refunds.values()
                if all(query.get(name) in (None, each[name]) for name in names)
            ]  # fmt: skip
            return self._page(found, query)
        if (found := re.fullmatch(r"/v1/payment_intents/(pi_\w+)", path)) and found[1] in self.intents:
            return self._shown(self.intents[found[1]], query)
        raise StripeError(404, "invalid_request_error", "resource_missing")

    def _page(self, found, query):
        newest = sorted(found, key=lambda each: each["id"], reverse=True)
        if after := query.get("starting_after"):
            newest = newest[[each["id"] for each in newest].index(after) + 1 :]
        limit = int(query.get("limit", 10))
        data = [self._shown(each, query, "data.") for each in newest[:limit]]
        return {"object": "list", "data": data, "has_more": len(newest) > limit, "url": "/v1/..."}

    def _shown(self, body, query, prefix=""):
        shown = json.loads(json.dumps(body))
        is_expanded = f"{prefix}latest_charge" in query.values()
        if is_expanded and shown.get("latest_charge"):
            shown["latest_charge"] = self.charges[shown["latest_charge"]]
        return shown

    # --- what the account does ---

    def _create(self, form):
        amount, card = int(form["amount"]), form["payment_method"]
        if not form["currency"].islower() or form.get("payment_method_types[0]") != "card":
            raise StripeError(400, "invalid_request_error", "parameter_invalid")
        intent = {
            "id": f"pi_{next(self._numbers):06d}", "object": "payment_intent", "amount": amount,
            "amount_received": 0, "amount_capturable": 0, "currency": form["currency"],
            "created": self.now(), "capture_method": "automatic", "confirmation_method": "automatic",
            "status": "requires_confirmation", "latest_charge": None, "last_payment_error": None,
            "cancellation_reason": None, "canceled_at": None, "next_action": None, "livemode": False,
            "client_secret": "pi_secret_never_to_be_seen", "payment_method": card,
            "payment_method_types": ["card"], "metadata": _metadata(form),
        }  # fmt: skip
        self.intents[intent["id"]] = intent
        if card == DECLINED:
            intent["status"] = "requires_payment_method"
            error = {"type": "card_error", "code": "card_declined", "decline_code": "insufficient_funds"}
            intent["last_payment_error"] = error
            raise StripeError(
                402, "card_error", "card_declined", decline_code="insufficient_funds",
                payment_intent=json.loads(json.dumps(intent)),
            )  # fmt: skip
        if card == THREE_D_SECURE:
            intent |= {"status": "requires_action", "next_action": {"type": "use_stripe_sdk"}}
        elif card == PROCESSING:
            intent["status"] = "processing"
        else:
            self._succeed(intent)
        return self._shown(intent, form)

    def _succeed(self, intent):
        charge = f"ch_{next(self._numbers):06d}"
        self.charges[charge] = {
            "id": charge, "object": "charge", "amount": intent["amount"], "amount_refunded": 0,
            "refunded": False, "disputed": False, "payment_intent": intent["id"], "paid": True,
            "status": "succeeded", "metadata": intent["metadata"],
        }  # fmt: skip
        intent |= {
            "status": "succeeded", "amount_received": intent["amount"], "latest_charge": charge,
            "next_action": None,
        }  # fmt: skip

    def _cancel(self, intent_id):
        intent = self.intents[intent_id]
        if intent["status"] not in _CANCELLABLE:
            raise StripeError(400, "invalid_request_error", "payment_intent_unexpected_state")
        intent |= {"status": "canceled", "cancellation_reason": "abandoned", "canceled_at": self.now()}
        return intent

    def _refund(self, form):
        if "charge" in form:
            charge = self.charges.get(form["charge"])
        else:
            intent = self.intents.get(form["payment_intent"])
            charge = self.charges.get(intent["latest_charge"]) if intent else None
        if charge is None:
            raise StripeError(404, "invalid_request_error", "resource_missing")
        left = charge["amount"] - charge["amount_refunded"]
        amount = int(form.get("amount", left))
        if not left:
            raise StripeError(400, "invalid_request_error", "charge_already_refunded")
        if amount > left:
            raise StripeError(400, "invalid_request_error", "parameter_invalid_integer")
        charge["amount_refunded"] += amount
        charge["refunded"] = charge["amount_refunded"] == charge["amount"]
        refund = {
            "id": f"re_{next(self._numbers):06d}", "object": "refund", "amount": amount,
            "currency": self.intents[charge["payment_intent"]]["currency"], "created": self.now(),
            "charge": charge["id"], "payment_intent": charge["payment_intent"], "status": "succeeded",
            "reason": None, "metadata": _metadata(form),
        }  # fmt: skip
        self.refunds[refund["id"]] = refund
        return refund


def signature(body, secret, *, at=None):
    """The header Stripe-Signature for a body."""
    at = int(utc_now().timestamp() if at is None else at)
    digest = hmac.new(secret.encode(), f"{at}.".encode() + body, "sha256").hexdigest()
    return f"t={at},v1={digest}"


@contextmanager
def stripe_stub():
    """Serve a stub on this machine."""
    stub = StripeStub()

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"
        disable_nagle_algorithm = True

        def do_GET(self):
            raw = self.rfile.read(int(self.headers.get("Content-Length", 0)))
            status, body = stub.handle(self.command, self.path, self.headers, raw)
            content = json.dumps(body).encode()
            self.send_response(status)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(content)))
            self.end_headers()
            self.wfile.write(content)

        do_POST = do_GET

        def log_message(self, format, *args):
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    stub.url = f"http://127.0.0.1:{server.server_address[1]}"
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True)
    thread.start()
    try:
        yield stub
    finally:
        server.shutdown()
        server.server_close()


def _metadata(form):
    return {
        found[1]: value for name, value in form.items() if (found := re.fullmatch(r"metadata\[(\w+)\]", name))
    }
