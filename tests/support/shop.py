"""The shop without broker and consumers: its handlers driven one transaction at a time."""

import json
import threading
from contextlib import closing, contextmanager
from dataclasses import dataclass

from ordermq.cli.program import migrations_for, registry_of
from ordermq.clock import utc_now
from ordermq.message import Envelope, decode
from ordermq.shop import Contact, Item, Order, ShopSettings, load_stock, module, place_order, queries
from ordermq.shop.email_templates import EmailTemplates
from ordermq.shop.gateways.http import JsonClient
from ordermq.shop.gateways.http_payment import HttpPaymentGateway
from ordermq.shop.gateways.http_text import HttpTextGateway
from ordermq.shop.gateways.smtp import SmtpGateway
from ordermq.shop.handlers import (
    AlertOperatorHandler,
    CapturePaymentHandler,
    RefundPaymentHandler,
    SendEmailHandler,
    SendNotificationHandler,
)
from ordermq.shop.notifications import NotificationChannel
from ordermq.shop.payments import FOREVER_S
from ordermq.shop.rebuild import compare_orders
from ordermq.shop.reconcile import check_messages, check_orders, message_books, payment_books
from ordermq.store import Session, StoreTransaction, migrate
from ordermq.store.checks import Check, reconcile
from ordermq.store.connecting import connect
from ordermq.task import DONE, Claim, Dead, Finished, Outcome
from ordermq.task.invoke import invoke_call
from ordermq.testing import wait_until

REGISTRY = registry_of([module])
QUEUES = REGISTRY.queues

_WAITING = """
    SELECT count(*) FROM pg_stat_activity
     WHERE datname = current_database() AND application_name = 'second' AND wait_event_type = 'Lock'
"""


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

    def __init__(
        self,
        database,
        sandbox=None,
        *,
        settles_s=0.0,
        timeout_s=0.4,
        alert_phone="",
        alert_every_s=0.0,
        key_life_s=FOREVER_S,
        can_find=True,
        mail=True,
        grace_s=0.0,
    ):
        self.database = database
        self.session = Session(database.settings, name="shop")
        self.sandbox = sandbox
        if sandbox is not None:
            client = self._client(sandbox.payment_url, timeout_s)
            self.payment = HttpPaymentGateway(client, can_find=can_find)
            keys = {"settles_s": settles_s, "key_life_s": key_life_s}
            self.sms = HttpTextGateway(self._client(sandbox.sms_url, timeout_s))
            self.mail = SmtpGateway.from_settings(
                mail_settings(sandbox, timeout_s) if mail else ShopSettings()
            )
            self.external = {
                "CapturePayment": CapturePaymentHandler(self.payment, **keys),
                "RefundPayment": RefundPaymentHandler(self.payment, **keys),
                "SendNotification": SendNotificationHandler(self.sms),
                "SendEmail": SendEmailHandler(self.mail, EmailTemplates.read("")),
                "AlertOperator": AlertOperatorHandler(self.sms, alert_phone, every_s=alert_every_s),
            }
            self.external["CapturePayment"].grace_s = grace_s

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

    def reconcile(self, *, ledger=None, texts=None, emails=None):
        """Make every check, against these books in place of the sandbox's; without either, against none."""
        if self.sandbox:
            ledger = self.payment.ledger() if ledger is None else ledger
            texts = self.sms.sent() if texts is None else texts
            emails = self.mail.sent() if emails is None and self.mail.can_list else emails
        books = {NotificationChannel.TEXT: texts, NotificationChannel.EMAIL: emails}
        books = {channel: pages for channel, pages in books.items() if pages is not None}

        def check_books(tx, config, ask_services):
            yield from payment_books(tx, ledger) if ledger is not None else ()
            yield from message_books(tx, books) if books else ()

        checks = [check_orders, check_books, check_messages, check_rows]
        return reconcile(self.session, checks, None, ask_services=False)

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
        (prepared,) = self.prepare_all(message, resumed=resumed)
        return prepared

    def prepare_all(self, *messages, resumed=False, session=None):
        """Prepare messages of one external handler in one transaction; ``prepare``'s answer for each."""
        claims = [Claim(each.payload, each.envelope, resumed, 5.0) for each in messages]
        in_order = sorted(claims, key=_lock_order)
        with self._transaction(claims, session) as tx:
            answers = self._external(claims).prepare(in_order, tx)
        answer_to = {id(claim): answer for claim, answer in zip(in_order, answers, strict=True)}
        return [(claim, answer_to[id(claim)]) for claim in claims]

    def call(self, message, request):
        return invoke_call(self.external[message.envelope.type], message.handler, request)

    def complete(self, message, claim, result):
        (outcome,) = self.complete_all((claim, result))
        return outcome

    def complete_all(self, *results, session=None):
        """Complete ``(claim, result)`` of one external handler in one transaction; return the outcomes."""
        finished = [Finished(claim, result) for claim, result in results]
        in_order = sorted(finished, key=lambda each: _lock_order(each.claim))
        claims = [claim for claim, _ in results]
        with self._transaction(claims, session) as tx:
            outcomes = self._external(claims).complete(in_order, tx)
        outcome_of = {id(each): outcome for each, outcome in zip(in_order, outcomes, strict=True)}
        return [outcome_of[id(each)] for each in finished]

    def one_after_another(self, first, then, *, meanwhile=lambda tx: None):
        """Run ``first(tx)``, then ``then(session)`` until it waits for a lock; commit the first.

        ``meanwhile(tx)`` belongs to the first, as the second waits. Returns what the second returned.
        """
        returned = []
        with closing(Session(self.database.settings, name="second")) as session:
            second = threading.Thread(target=lambda: returned.append(then(session)))
            with self.session.transaction() as tx:
                first(tx)
                second.start()
                wait_until(lambda: self.database.sql(_WAITING) == "1", 10, what="a wait for a lock")
                meanwhile(tx)
            second.join(10)
        return returned[0]

    def _external(self, claims):
        (name,) = {claim.envelope.type for claim in claims}
        return self.external[name]

    def _transaction(self, claims, session):
        traces = {claim.envelope.correlation_id: claim.envelope.traceparent for claim in claims}
        return (session or self.session).transaction(traces=traces)

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


def check_rows(tx, config, ask_services):
    """Yield whether the rows of all orders are what their events say."""
    ids = [row[0] for row in tx.fetch_all("SELECT order_id FROM shop.orders")]
    wrong = [each.differences for each in compare_orders(ids, tx) if each.differences]
    yield Check("rows_follow_from_events", len(wrong), tuple(map(str, wrong)))


def mail_settings(sandbox, timeout_s=1.0):
    """The settings of the sandbox's mail server."""
    return ShopSettings(
        smtp_host="127.0.0.1", smtp_port=sandbox.smtp_port, smtp_security="none",
        mail_from="shop@shop.example", mail_ledger_url=sandbox.mail_url, gateway_timeout_s=timeout_s,
    )  # fmt: skip


def _lock_order(claim):
    return claim.envelope.correlation_id


class CountingSession:
    """A session that counts the ``statements`` of its transactions."""

    def __init__(self, settings):
        self._connection = connect(settings, name="counting")
        self._connection.autocommit = False
        self.statements = 0

    @contextmanager
    def transaction(self, *, traces=None):
        with self._connection:
            yield StoreTransaction(self._connection, traces=traces, deadline=self._count)

    def close(self):
        self._connection.close()

    @contextmanager
    def _count(self):
        self.statements += 1
        yield


def make_tables(database):
    """Give an empty database the tables of the framework and of the shop."""
    with closing(Session(database.settings, name="tables")) as session:
        migrate.migrate(session, migrations_for([module]))


@contextmanager
def open_shop(database, sandbox=None, **gateways):
    """A shop on a database with its tables."""
    shop = Shop(database, sandbox, **gateways)
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
