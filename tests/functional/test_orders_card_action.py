"""Captures that wait for the customer, as with 3-D Secure, in the sandbox and at Stripe."""

import json
from contextlib import closing
from dataclasses import replace

import pytest

from ordermq.errors import OutcomeUnknown
from ordermq.shop import cancel_order
from ordermq.shop.commands import command_of
from ordermq.shop.events import Step
from ordermq.shop.gateways.stripe.webhook import StripeWebhook
from ordermq.shop.handlers import CapturePaymentHandler
from ordermq.store import Session
from ordermq.task import DONE, Postpone
from tests.support.endpoint import Endpoint
from tests.support.shop import Shop, an_order, open_shop
from tests.support.stripe import config_of, gateway_of, migrated
from tests.support.stripe_stub import THREE_D_SECURE, stripe_stub

KEY = "capture:shop:o-1"


@pytest.fixture
def shop(database, sandbox):
    with open_shop(database, sandbox) as shop:
        shop.load(p_1=10)
        yield shop


def waiting(shop, card="tok_0009"):
    """Bring an order to where its capture waits for the customer; return the message."""
    shop.place(an_order("o-1", card=card))
    shop.handle(*shop.take("inventory"))
    (message,) = shop.take("payment")
    outcome = shop.attempt(message)
    assert isinstance(outcome, Postpone)
    assert outcome.delay_s is None  # less and less often
    return message


def verdict(shop, word):
    return shop.sandbox.call("POST", f"/payment/v1/captures/by-key/{KEY}/{word}")["status"]


def kinds(shop):
    return [entry["kind"] for entry in shop.sandbox.ledger("payment")]


def test_an_order_whose_customer_has_to_confirm_waits_says_so_once_and_is_paid_once_it_is_confirmed(shop):
    message = waiting(shop)
    assert isinstance(shop.attempt(message), Postpone)
    detail = shop.show()
    assert (detail.order.status, detail.order.pending) == ("reserved", ["capture"])
    assert detail.payment.state == "requires_action"
    assert [event.type for event in detail.events].count("payment_action_required") == 1
    assert json.loads(detail.events[-1].body)["data"] == {"payment_id": KEY}
    assert verdict(shop, "confirm") == "captured"
    assert shop.attempt(message) == DONE
    shop.run()
    assert shop.order().status == "completed"
    assert kinds(shop) == ["capture"]
    assert shop.reconcile().is_ok


def test_a_payment_that_is_not_confirmed_in_time_is_ended_at_the_service_and_declined(shop):
    message = waiting(shop)
    shop.external["CapturePayment"].action_s = 0.0
    assert shop.attempt(message) == DONE
    shop.run()
    detail = shop.show()
    assert (detail.order.status, detail.payment.state) == ("cancelled", "declined")
    assert detail.payment.reason.startswith("the customer did not confirm it")
    assert verdict(shop, "confirm") == "declined"  # too late: no money can be taken any more
    assert kinds(shop) == []
    assert shop.stock() == {"p-1": (10, 0, 0)}
    assert shop.reconcile().is_ok


def test_a_payment_that_is_confirmed_at_the_last_moment_counts(shop):
    message = waiting(shop)
    shop.external["CapturePayment"].action_s = 0.0
    claim, request = shop.prepare(message)
    assert not request.may_wait
    verdict(shop, "confirm")
    assert shop.complete(message, claim, shop.call(message, request)) == DONE
    assert shop.order().status == "paid"


def test_a_late_word_of_one_owner_does_not_undo_the_decline_that_another_has_written(shop):
    # Given an owner that froze with the answer that the customer has to confirm
    message = waiting(shop)
    claim, request = shop.prepare(message)
    late = shop.call(message, request)
    # When another has ended the payment, and the first one tells its answer
    shop.external["CapturePayment"].action_s = 0.0
    assert shop.attempt(message) == DONE
    for result in (late, OutcomeUnknown("no answer")):
        assert shop.complete(message, claim, result) == DONE
    # Then it is as it was
    assert shop.show().payment.state == "declined"
    shop.run()
    assert shop.order().status == "cancelled"
    assert shop.reconcile().is_ok


def test_a_payment_that_waits_is_ended_with_its_cancelled_order(shop):
    message = waiting(shop)
    with shop.session.transaction() as tx:
        cancel_order("o-1", tx, "changed my mind")
    assert shop.attempt(message) == DONE
    shop.run()
    assert shop.order().status == "cancelled"
    assert shop.events().count("payment_declined") == 1
    assert verdict(shop, "confirm") == "declined"
    assert shop.reconcile().is_ok


def test_a_payment_that_waits_when_it_is_given_up_is_ended_before_nothing_is_said_to_be_taken(shop):
    message = waiting(shop)
    shop.die(message)
    shop.run()
    assert (shop.order().status, shop.order().pending) == ("cancelled", [])
    assert "refund_skipped" in shop.events()
    assert verdict(shop, "confirm") == "declined"
    assert kinds(shop) == []


# --- Stripe ---------------------------------------------------------------------------


class StripeShop(Shop):
    """A shop at the stub, with its endpoint for webhooks."""

    def __init__(self, database, stub, endpoint):
        super().__init__(database)
        gateway = gateway_of(database, stub.url)
        self.external = {"CapturePayment": CapturePaymentHandler(gateway, settles_s=0.0)}
        self.stub, self._endpoint = stub, endpoint

    def hears(self, kind):
        """Send a webhook about the order's payment; return the message that it lets go at once."""
        (intent,) = self.stub.intents_of("o-1")
        assert self._endpoint.post(self.stub.event(f"payment_intent.{kind}", intent)) == 200
        due = self.database.sql("SELECT count(*) FROM ordermq.outbox WHERE available_at <= now()")
        assert due == "1"
        (message,) = self.take("payment")
        return message

    def postpone(self):
        """Put the message where the consumer puts it."""
        with self.session.transaction() as tx:
            tx.send([replace(command_of(Step.CAPTURE, "o-1", 2), delay_s=600.0)])


@pytest.fixture
def at_stripe(database):
    migrated(database)
    with stripe_stub() as stub, closing(Session(database.settings, name="stripe webhook")) as session:
        webhook = StripeWebhook(config_of(database, stub.url).extra["stripe"], session)
        with closing(Endpoint(webhook)) as endpoint:
            shop = StripeShop(database, stub, endpoint)
            shop.load(p_1=10)
            yield shop
            shop.session.close()


def test_a_late_requires_action_of_stripe_waits_and_a_later_success_pays_the_order(at_stripe):
    waiting(at_stripe, card=THREE_D_SECURE)
    (intent,) = at_stripe.stub.intents_of("o-1")
    at_stripe.postpone()
    assert isinstance(at_stripe.attempt(at_stripe.hears("requires_action")), Postpone)
    assert at_stripe.events().count("payment_action_required") == 1
    at_stripe.stub.authenticate(intent["id"])
    at_stripe.postpone()
    assert at_stripe.attempt(at_stripe.hears("succeeded")) == DONE
    assert at_stripe.order().status == "paid"


def test_a_late_failure_at_stripe_is_a_decline(at_stripe):
    waiting(at_stripe, card=THREE_D_SECURE)
    (intent,) = at_stripe.stub.intents_of("o-1")
    at_stripe.stub.fail_authentication(intent["id"])
    at_stripe.postpone()
    assert at_stripe.attempt(at_stripe.hears("payment_failed")) == DONE
    detail = at_stripe.show()
    assert detail.order.status == "cancelled"
    assert detail.payment.reason == "payment_intent_authentication_failure"
    assert intent["status"] == "canceled"


def test_a_payment_at_stripe_that_is_not_confirmed_in_time_is_cancelled_there(at_stripe):
    message = waiting(at_stripe, card=THREE_D_SECURE)
    at_stripe.external["CapturePayment"].action_s = 0.0
    assert at_stripe.attempt(message) == DONE
    (intent,) = at_stripe.stub.intents_of("o-1")
    assert (intent["status"], at_stripe.order().status) == ("canceled", "cancelled")
