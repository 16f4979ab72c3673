"""Orders that are declined, paid, cancelled, refunded and opened again in any order, on a real database.

The payment service is a model in memory: a key has one answer for ever. What must hold is that it never
has two open captures of one order, and that its ledger is what our books say.
"""

from contextlib import suppress
from itertools import count

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    invariant,
    precondition,
    rule,
    run_state_machine_as_test,
)

from ordermq.errors import OrderConflict, OutcomeUnknown
from ordermq.shop import cancel_order, pay_order
from ordermq.shop.gateways import Captured, Declined, LedgerEntry, PaymentGateway, Refunded, RequiresAction
from ordermq.shop.handlers import CapturePaymentHandler, RefundPaymentHandler
from ordermq.shop.reopen import reopen_order
from ordermq.task import DONE, Dead, Outcome
from tests.support.shop import an_order, open_shop

CARDS = st.sampled_from(["good", "declined", "lost", "asks"])
PAYING = ("inventory", "payment", "points")


class Service(PaymentGateway):
    """A payment service: by its key a capture is taken or declined, or waits for the customer."""

    def __init__(self):
        self.answers, self.entries = {}, []

    @classmethod
    def from_config(cls, config):
        raise NotImplementedError

    def capture(self, capture, *, timeout_s=None):
        known = self.answers.get(capture.key)
        if known is None:
            if capture.card_token == "declined":
                self.answers[capture.key] = Declined("no")
            elif capture.card_token == "asks":
                self.answers[capture.key] = RequiresAction(capture.key)
            else:
                self._take(capture)
            if capture.card_token == "lost":
                raise OutcomeUnknown("no answer")
        return self.answers[capture.key]

    def find(self, capture, *, timeout_s=None):
        return self.answers.get(capture.key)

    def cancel(self, capture, *, timeout_s=None):
        if isinstance(self.answers[capture.key], RequiresAction):
            self.answers[capture.key] = Declined("cancelled")
        return self.answers[capture.key]

    def refund(self, refund, *, timeout_s=None):
        if refund.key not in self.answers:
            (order_id,) = {each.order_id for each in self.entries if each.capture_id == refund.capture_id}
            self.answers[refund.key] = Refunded(f"refund of {refund.capture_id}")
            self._book("refund", refund.key, order_id, refund.capture_id, refund.amount_minor)
        return self.answers[refund.key]

    def find_refund(self, refund, *, timeout_s=None):
        return self.answers.get(refund.key)

    def ledger(self):
        yield self.entries

    def confirm(self, order_id):
        """The customer confirms what waits for him."""
        for key, answer in self.answers.items():
            if isinstance(answer, RequiresAction) and f":{order_id}" in key:
                self.answers[key] = Captured(f"of {key}")
                self._book("capture", key, order_id, f"of {key}", 500)
                return

    def open_captures(self, order_id):
        taken = {
            each.capture_id for each in self.entries if each.kind == "capture" and each.order_id == order_id
        }
        return taken - {each.capture_id for each in self.entries if each.kind == "refund"}

    def _take(self, capture):
        self.answers[capture.key] = Captured(f"of {capture.key}")
        self._book("capture", capture.key, capture.order_id, f"of {capture.key}", capture.amount_minor)

    def _book(self, kind, key, order_id, capture_id, amount_minor):
        number = len(self.entries) + 1
        self.entries.append(LedgerEntry(number, kind, key, order_id, capture_id, amount_minor, "EUR"))


class Walk(RuleBasedStateMachine):
    """One order, its messages, and answers that come late."""

    shop = service = None
    numbers = count(1)

    def __init__(self):
        super().__init__()
        self.order_id = f"w{next(self.numbers)}"
        self.messages, self.late = [], []
        self.shop.place(an_order(self.order_id, card="declined", notify="none"))
        self.collect()

    def collect(self):
        taken = self.shop.take(*PAYING, "shipping", "notify")
        self.messages += [each for each in taken if each.envelope.correlation_id == self.order_id]

    @precondition(lambda self: self.messages)
    @rule(data=st.data())
    def deliver(self, data):
        self.handle(data.draw(st.sampled_from(self.messages)))

    def handle(self, message):
        outcome = self.shop.attempt(message)
        if isinstance(outcome, Dead):
            self.shop.die(message, outcome.reason)
        if outcome == DONE or isinstance(outcome, Dead):
            self.messages.remove(message)
        self.collect()

    @precondition(lambda self: any(each.handler.is_external for each in self.messages))
    @rule(data=st.data())
    def freeze(self, data):
        """A consumer has its answer, and tells it late: another one has taken over meanwhile."""
        calls = [each for each in self.messages if each.handler.is_external]
        message = data.draw(st.sampled_from(calls))
        claim, request = self.shop.prepare(message)
        if isinstance(request, Outcome):
            if request == DONE:
                self.messages.remove(message)
            self.collect()
            return
        self.late.append((message, claim, self.shop.call(message, request)))

    @precondition(lambda self: self.late)
    @rule()
    def thaw(self):
        self.shop.complete(*self.late.pop(0))
        self.collect()

    @rule(card=CARDS)
    def pay(self, card):
        self.ask(lambda tx: pay_order(self.order_id, card, tx))

    @rule(card=st.none() | CARDS)
    def reopen(self, card):
        self.ask(lambda tx: reopen_order(self.order_id, tx, by="x", reason="x", card_token=card))

    @rule()
    def cancel(self):
        self.ask(lambda tx: cancel_order(self.order_id, tx, "x"))

    def ask(self, what):
        with suppress(OrderConflict), self.shop.session.transaction() as tx:
            what(tx)
        self.collect()

    @rule()
    def confirm(self):
        self.service.confirm(self.order_id)

    @rule()
    def time_passes(self):
        self.shop.external["CapturePayment"].action_s = 0.0
        with self.shop.session.transaction() as tx:
            tx.execute("UPDATE shop.orders SET due_until = now() WHERE order_id = %s", (self.order_id,))

    @invariant()
    def never_two_captures_are_open(self):
        # CAP1
        assert len(self.service.open_captures(self.order_id)) <= 1

    def teardown(self):
        while self.late:
            self.thaw()
        for _ in range(8):
            self.time_passes()
            for message in list(self.messages):
                self.handle(message)
        order = self.shop.order(self.order_id)
        assert (order.pending, self.messages) == ([], []), order
        assert len(self.service.open_captures(self.order_id)) == (order.status == "completed")
        report = self.shop.reconcile(ledger=self.service.ledger())
        assert report.is_ok, [check for check in report.checks if check.wrong]
        self.shop.external["CapturePayment"].action_s = 3600.0


@pytest.mark.timeout(300)
def test_whatever_happens_to_an_order_never_are_two_of_its_captures_open(database):
    with open_shop(database) as shop:
        service = Service()
        keys = {"settles_s": 0.0}
        shop.external = {
            "CapturePayment": CapturePaymentHandler(service, **keys),
            "RefundPayment": RefundPaymentHandler(service, **keys),
        }
        shop.external["CapturePayment"].grace_s = 3600.0
        shop.load(p_1=1_000_000)
        machine = type("WalkOnThisDatabase", (Walk,), {"shop": shop, "service": service})
        run_state_machine_as_test(
            machine,
            settings=settings(
                max_examples=40, stateful_step_count=25, deadline=None,
                suppress_health_check=list(HealthCheck),
            ),
        )  # fmt: skip
