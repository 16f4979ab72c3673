"""The shop without broker and consumers: its handlers driven one transaction at a time."""

import json
from contextlib import contextmanager
from dataclasses import dataclass

from ordermq.clock import utc_now
from ordermq.message import Envelope, decode
from ordermq.orders import MIGRATIONS, Contact, Item, Order, handlers, load_stock, place_order, queries
from ordermq.orders.gateways import PaymentGateway, SmsGateway
from ordermq.orders.gateways.http import JsonClient
from ordermq.orders.handlers import CapturePaymentHandler, RefundPaymentHandler, SendNotificationHandler
from ordermq.orders.reconcile import reconcile
from ordermq.store import Session, migrate
from ordermq.task import DONE, Claim, Finished, Dead, Outcome, Registry
from ordermq.task.handler import handlers_in

REGISTRY = Registry(handlers_in(vars(handlers)))
QUEUES = REGISTRY.queues


def an_order(order_id, *items, card="tok_0001", phone="+4930123456", **changes):
    """An order of ``(product_id, quantity)`` at 5.00 EUR a unit."""
    lines = tuple(
        Item(product_id=product, quantity=quantity, unit_price_minor=500)
        for product, quantity in items or [("p-1", 1)]
    )
    fixed = {
        "order_id": order_id, "customer_id": "c-1", "currency": "EUR", "items": lines,
        "total_minor": sum(line.amount_minor for line in lines), "card_token": card,
        "contact": Contact(phone=phone, email="someone@somewhere.example", name="Some One"),
    }  # fmt: skip
    return Order(**(fixed | changes))


@dataclass
class Message:
    """A row taken out of the outbox."""

    queue: str
    envelope: Envelope
    body: bytes

    @property
    def handler(self):
        return REGISTRY.find(self.queue, self.envelope)

    @property
    def payload(self):
        return decode(self.body, self.handler.message)


class Shop:
    """A database with the shop's tables, and sandbox gateways where a test asked for them."""

    def __init__(self, database, sandbox=None, *, settles_s=0.0, timeout_s=0.4):
        self.database = database
        self.session = Session(database.settings, name="shop")
        self.sandbox = sandbox
        if sandbox is not None:
            self.payment = PaymentGateway(self._client(sandbox.payment_url, timeout_s))
            self.sms = SmsGateway(self._client(sandbox.sms_url, timeout_s))
            self.external = {
                "CapturePayment": CapturePaymentHandler(self.payment, settles_s=settles_s),
                "RefundPayment": RefundPaymentHandler(self.payment, settles_s=settles_s),
                "SendNotification": SendNotificationHandler(self.sms),
            }

    def _client(self, url, timeout_s):
        return JsonClient(url, connect_timeout_s=1.0, timeout_s=timeout_s)

    # --- what shops and operators do ---

    def load(self, **stock):
        with self.session.transaction() as tx:
            return load_stock([(name.replace("_", "-"), units) for name, units in stock.items()], tx)

    def place(self, *orders):
        with self.session.transaction() as tx:
            return [place_order(order, tx) for order in orders]

    def order(self, order_id="o-1"):
        return self.show(order_id).order

    def show(self, order_id="o-1"):
        with self.session.transaction() as tx:
            return queries.show(order_id, tx, queues=QUEUES)

    def events(self, order_id="o-1"):
        return [event.type for event in self.show(order_id).events]

    def stock(self):
        with self.session.transaction() as tx:
            return {row.product_id: (row.on_hand, row.reserved, row.shipped) for row in queries.stock(tx)}

    def reconcile(self):
        return reconcile(
            self.session,
            ledger=self.payment.ledger() if self.sandbox else None,
            texts=self.sms.sent() if self.sandbox else None,
        )

    # --- what relay and consumers do ---

    def take(self, *queues, types=()):
        """Take messages out of the outbox, due or not."""
        with self.session.transaction() as tx:
            rows = tx.fetch_all(
                """DELETE FROM ordermq.outbox WHERE routing_key = ANY(%s) AND (%s = '{}' OR type = ANY(%s))
                   RETURNING outbox_id, routing_key, message_id, type, version, correlation_id, traceparent,
                             occurred_at, attempt, hop, body""",
                (list(queues), list(types), list(types)),
            )
        return [Message(row[1], Envelope(*row[2:10]), bytes(row[10])) for row in sorted(rows)]

    def handle(self, *messages, session=None):
        """Handle messages of one plain handler in one transaction; return the outcomes."""
        traces = {each.envelope.correlation_id: each.envelope.traceparent for each in messages}
        with (session or self.session).transaction(traces=traces) as tx:
            return list(messages[0].handler.call([each.payload for each in messages], tx))

    def prepare(self, message, *, resumed=False):
        """Prepare an external message; return its claim and the request, or the outcome."""
        claim = Claim(message.payload, message.envelope, resumed, 5.0)
        traces = {message.envelope.correlation_id: message.envelope.traceparent}
        with self.session.transaction(traces=traces) as tx:
            return claim, self.external[message.envelope.type].prepare([claim], tx)[0]

    def call(self, message, request):
        try:
            return self.external[message.envelope.type].call(request)
        except Exception as exc:
            return exc

    def complete(self, message, claim, result):
        traces = {message.envelope.correlation_id: message.envelope.traceparent}
        with self.session.transaction(traces=traces) as tx:
            return self.external[message.envelope.type].complete([Finished(claim, result)], tx)[0]

    def attempt(self, message, *, resumed=False):
        """Make one attempt at a message of either kind; return its outcome."""
        if not message.handler.is_external:
            return self.handle(message)[0]
        claim, request = self.prepare(message, resumed=resumed)
        if isinstance(request, Outcome):
            return request
        return self.complete(message, claim, self.call(message, request))

    def die(self, message, reason="gave up"):
        """Give a message up."""
        with self.session.transaction() as tx:
            message.handler.on_dead(message.payload, reason, tx)

    def run(self, *queues, attempts=8):
        """Handle what is in the outbox, and what follows, until these queues (default: all) are empty."""
        while messages := self.take(*(queues or QUEUES)):
            for message in messages:
                for _ in range(attempts):
                    outcome = self.attempt(message)
                    if outcome == DONE or isinstance(outcome, Dead):
                        break
                if outcome != DONE:
                    self.die(message, getattr(outcome, "reason", ""))


@contextmanager
def open_shop(database, sandbox=None, **gateways):
    """A shop on a fresh database."""
    shop = Shop(database, sandbox, **gateways)
    migrate.migrate(
        shop.session, [*migrate.migrations_of(*migrate.FRAMEWORK), *migrate.migrations_of(*MIGRATIONS)]
    )
    try:
        yield shop
    finally:
        shop.session.close()


def foreign(queue, payload, message_id="foreign"):
    """A message that the saga did not send."""
    envelope = Envelope(
        message_id, type(payload).__name__, 1, payload.order_id, "00-" + "1" * 32 + "-" + "2" * 16 + "-01",
        utc_now(),
    )  # fmt: skip
    return Message(queue, envelope, json.dumps(payload_fields(payload)).encode())


def payload_fields(payload):
    return {name: getattr(payload, name) for name in payload.__struct_fields__}
