"""Captures and refunds against the sandbox payment service over real HTTP."""

import pytest

from ordermq.errors import OutcomeUnknown
from ordermq.shop import cancel_order
from ordermq.shop.commands import CapturePayment, RefundPayment
from ordermq.shop.gateways import Capture
from ordermq.task import DONE, Dead, Postpone
from tests.support.shop import an_order, foreign, open_shop


@pytest.fixture
def shop(database, sandbox):
    with open_shop(database, sandbox) as shop:
        shop.load(p_1=100)
        yield shop


def reserved(shop, order_id="o-1", **changes):
    """Bring an order to reserved; return its CapturePayment."""
    shop.place(an_order(order_id, **changes))
    shop.handle(*shop.take("inventory"))
    return next(each for each in shop.take("payment") if each.payload.order_id == order_id)


def cancel(shop, order_id="o-1"):
    with shop.session.transaction() as tx:
        cancel_order(order_id, tx, "changed my mind")


def ledger(shop):
    return [(entry["kind"], entry["order_id"]) for entry in shop.sandbox.ledger("payment")]


def test_an_approved_card_pays_the_order_and_sends_what_comes_next(shop):
    message = reserved(shop)
    assert shop.attempt(message) == DONE
    detail = shop.show()
    assert detail.order.status == "paid"
    assert (detail.payment.state, detail.payment.amount_minor) == ("captured", 500)
    assert detail.payment.capture_id == shop.sandbox.ledger("payment")[0]["capture_id"]
    assert sorted(each.queue for each in shop.take("shipping", "points", "notify")) == [
        "notify", "points", "shipping",
    ]  # fmt: skip


def test_the_intent_is_written_before_the_gateway_is_called(shop):
    # PAY1
    _, request = shop.prepare(reserved(shop))
    assert shop.show().payment.state == "intent"
    assert ledger(shop) == []
    assert "tok_" not in repr(request)


def test_a_repeated_capture_has_no_second_effect(shop):
    message = reserved(shop)
    shop.attempt(message)
    before = shop.show()
    assert shop.attempt(message) == DONE
    assert shop.show() == before
    assert ledger(shop) == [("capture", "o-1")]


def test_a_declined_card_cancels_the_order_and_gives_its_stock_back(shop):
    shop.attempt(reserved(shop, card="tok_0002"))
    shop.run("inventory")
    detail = shop.show()
    assert detail.order.status == "cancelled"
    assert detail.order.attention_reason is None
    assert (detail.payment.state, detail.payment.reason) == ("declined", "insufficient funds")
    assert shop.stock() == {"p-1": (100, 0, 0)}


def test_a_time_out_is_unknown_and_resolved_by_asking_not_by_charging_again(shop):
    # PAY3
    # Given a gateway that captures but does not answer
    message = reserved(shop, card="tok_0003")
    outcome = shop.attempt(message)
    assert isinstance(outcome, Postpone)
    assert shop.show().payment.state == "unknown"
    assert shop.order().status == "reserved"
    # When the message comes again, it asks
    claim, request = shop.prepare(message)
    assert request.ask_first
    assert shop.complete(message, claim, shop.call(message, request)) == DONE
    # Then the one capture is found
    assert shop.order().status == "paid"
    assert ledger(shop) == [("capture", "o-1")]


def test_a_time_out_before_which_nothing_happened_is_captured_by_the_same_key(shop):
    message = reserved(shop, card="tok_0004")
    assert isinstance(shop.attempt(message), Postpone)
    assert shop.attempt(message) == DONE
    assert ledger(shop) == [("capture", "o-1")]


def test_a_refusal_for_now_comes_back_when_the_gateway_says(shop):
    message = reserved(shop, card="tok_0005")
    outcome = shop.attempt(message)
    assert isinstance(outcome, Postpone)
    assert outcome.delay_s == 1.0
    assert shop.attempt(message) == DONE
    assert shop.order().status == "paid"


def test_a_gateway_that_is_down_costs_no_attempt(shop):
    message = reserved(shop)
    shop.sandbox.stop()
    outcome = shop.attempt(message)
    assert isinstance(outcome, Postpone)
    assert "cannot connect" in outcome.reason
    shop.sandbox.start()
    assert shop.attempt(message) == DONE
    assert ledger(shop) == [("capture", "o-1")]


def test_a_second_owner_of_the_message_asks_before_capturing(shop):
    # PAY2
    # Given an owner whose process died after the gateway had captured
    message = reserved(shop)
    _, request = shop.prepare(message)
    shop.call(message, request)
    # When its lease has run out and another takes over
    claim, request = shop.prepare(message, resumed=True)
    assert request.ask_first
    shop.complete(message, claim, shop.call(message, request))
    # Then the money was taken once
    assert shop.order().status == "paid"
    assert ledger(shop) == [("capture", "o-1")]


def test_a_result_that_two_owners_report_is_written_once(shop):
    message = reserved(shop)
    claim, request = shop.prepare(message)
    result = shop.call(message, request)
    assert shop.complete(message, claim, result) == DONE
    assert shop.complete(message, claim, result) == DONE
    assert shop.events().count("payment_captured") == 1


def test_a_request_the_gateway_calls_wrong_is_dead_and_compensated(shop):
    message = reserved(shop, card="tok")  # the sandbox wants four characters
    outcome = shop.attempt(message)
    assert outcome == Dead("capture: the payment service refused it with 400")
    shop.die(message, outcome.reason)
    shop.run()
    detail = shop.show()
    assert detail.order.status == "cancelled"
    assert detail.order.pending == []
    assert detail.order.attention_reason.startswith("payment_failed: capture: the payment service refused")
    assert "refund_skipped" in shop.events()
    assert shop.stock() == {"p-1": (100, 0, 0)}
    assert shop.reconcile().is_ok


# --- what is believed of an answer ---------------------------------------------------


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"amount_minor": 100}, "amount_minor '100' instead of 500"),
        ({"currency": "USD"}, "currency 'USD' instead of 'EUR'"),
        ({"order_id": "o-9"}, "order_id 'o-9' instead of 'o-1'"),
    ],
)
def test_a_capture_of_other_money_under_the_orders_key_is_never_believed(shop, changes, said):
    # Given a capture of something else that stands under the key
    other = {"amount_minor": 500, "currency": "EUR", "order_id": "o-1"} | changes
    shop.payment.capture(Capture("capture:shop:o-1", **other, card_token="tok_0001"))
    message = reserved(shop)
    # When the order is to be paid
    assert isinstance(shop.attempt(message), Postpone)  # the service refuses the key: 409
    outcome = shop.attempt(message)
    # Then a person is asked, and nothing is shipped
    assert isinstance(outcome, Dead)
    assert said in outcome.reason
    shop.die(message, outcome.reason)
    detail = shop.show()
    assert (detail.payment.state, detail.order.status) == ("unknown", "cancelled")
    assert "another capture" in detail.order.attention_reason
    assert "payment_captured" not in shop.events()


def test_an_answer_about_another_amount_is_never_paid(shop):
    outcome = shop.attempt(reserved(shop, card="tok_0008"))
    assert isinstance(outcome, Dead)
    assert "amount_minor '1' instead of 500" in outcome.reason
    assert shop.order().status == "reserved"


def test_a_capture_that_is_pending_is_asked_for_again(shop):
    message = reserved(shop, card="tok_0007")
    outcome = shop.attempt(message)
    assert isinstance(outcome, Postpone)
    assert "pending" in outcome.reason
    assert shop.order().status == "reserved"
    assert shop.attempt(message) == DONE
    assert shop.order().status == "paid"
    assert ledger(shop) == [("capture", "o-1")]


def test_an_intent_of_before_is_captured_under_its_own_key(shop):
    message = reserved(shop)
    shop.prepare(message)
    with shop.session.transaction() as tx:
        tx.execute("UPDATE shop.payments SET idempotency_key = 'capture:o-1'")
    assert shop.attempt(message) == DONE
    assert [entry["idempotency_key"] for entry in shop.sandbox.ledger("payment")] == ["capture:o-1"]


# --- a service that forgets keys and cannot be asked --------------------------------------


@pytest.fixture
def forgetful(database, sandbox):
    """A shop whose payment service has no look-up and forgets a key after a minute."""
    sandbox.behave("payment", forget_keys_s=60.0, lookup=False)
    with open_shop(database, sandbox, key_life_s=50.0, can_find=False) as shop:
        shop.load(p_1=100)
        yield shop


def grow_old(shop):
    """Let the keys of all payments have been used for the first time a minute ago."""
    with shop.session.transaction() as tx:
        tx.execute("UPDATE shop.payments SET first_called_at = now() - interval '60 s'")
        tx.execute("UPDATE shop.refunds SET called_at = called_at - interval '60 s'")


def test_a_capture_is_tried_again_while_the_service_knows_its_key(forgetful):
    message = reserved(forgetful, card="tok_0003")
    assert isinstance(forgetful.attempt(message), Postpone)
    assert forgetful.attempt(message) == DONE
    assert ledger(forgetful) == [("capture", "o-1")]


def test_a_capture_whose_key_may_be_forgotten_is_not_tried_again_but_a_person_is_asked(forgetful):
    message = reserved(forgetful, card="tok_0003")
    assert isinstance(forgetful.attempt(message), Postpone)
    grow_old(forgetful)
    outcome = forgetful.attempt(message)
    assert isinstance(outcome, Dead)
    assert "could take the money twice" in outcome.reason
    forgetful.die(message, outcome.reason)
    assert forgetful.show().order.attention_reason is not None
    assert ledger(forgetful) == [("capture", "o-1")]


def test_a_stored_error_is_asked_for_until_its_key_is_old_and_never_captured_twice(forgetful):
    forgetful.sandbox.behave("payment", error=1.0, stored_errors=True, lookup=False)
    message = reserved(forgetful)
    for _ in range(3):
        assert isinstance(forgetful.attempt(message), Postpone)
    grow_old(forgetful)
    assert isinstance(forgetful.attempt(message), Dead)
    assert ledger(forgetful) == [("capture", "o-1")]


def test_a_refund_whose_key_may_be_forgotten_is_looked_for_before_it_is_tried_again(shop):
    # Given a refund that was made although its answer was lost
    message = reserved(shop)
    claim, request = shop.prepare(message)
    cancel(shop)
    shop.complete(message, claim, shop.call(message, request))
    (refund,) = shop.take("payment")
    claim, request = shop.prepare(refund)
    shop.call(refund, request)
    grow_old(shop)
    # When it is tried again after the service may have forgotten the key
    shop.external["RefundPayment"]._key_life_s = 50.0
    claim, request = shop.prepare(refund)
    assert request.ask_first
    assert shop.complete(refund, claim, shop.call(refund, request)) == DONE
    # Then the one refund is found
    assert ledger(shop) == [("capture", "o-1"), ("refund", "o-1")]


# --- cancelled meanwhile ------------------------------------------------------------


def test_an_order_cancelled_before_its_capture_is_not_charged(shop):
    message = reserved(shop)
    cancel(shop)
    assert shop.attempt(message) == DONE
    assert shop.events()[-1] == "payment_skipped"
    assert shop.show().payment is None
    assert ledger(shop) == []


def test_a_capture_under_way_when_the_order_is_cancelled_is_refunded(shop):
    # Given a call on its way
    message = reserved(shop)
    claim, request = shop.prepare(message)
    cancel(shop)
    # When its result comes
    assert shop.complete(message, claim, shop.call(message, request)) == DONE
    assert shop.order().pending == ["notify_cancelled", "refund", "release"]
    shop.run()
    # Then the money goes back, once
    assert shop.order().status == "refunded"
    assert ledger(shop) == [("capture", "o-1"), ("refund", "o-1")]
    assert shop.show().payment.refund_id is not None
    assert shop.reconcile().is_ok


def test_a_declined_card_of_a_cancelled_order_changes_nothing_more(shop):
    message = reserved(shop, card="tok_0002")
    claim, request = shop.prepare(message)
    cancel(shop)
    shop.complete(message, claim, shop.call(message, request))
    shop.run()
    assert shop.order().status == "cancelled"
    assert shop.events().count("payment_declined") == 1
    assert shop.reconcile().is_ok


def test_a_cancelled_order_with_an_unknown_capture_asks_and_does_not_capture(shop):
    message = reserved(shop, card="tok_0004")
    assert isinstance(shop.attempt(message), Postpone)
    cancel(shop)
    assert shop.attempt(message) == DONE
    assert shop.events()[-1] == "payment_skipped"
    assert ledger(shop) == []


def test_a_cancelled_order_with_an_unknown_capture_that_happened_is_refunded(shop):
    message = reserved(shop, card="tok_0003")
    assert isinstance(shop.attempt(message), Postpone)
    cancel(shop)
    assert shop.attempt(message) == DONE
    shop.run()
    assert shop.order().status == "refunded"
    assert ledger(shop) == [("capture", "o-1"), ("refund", "o-1")]


def test_a_capture_given_up_is_refunded_if_it_had_happened(shop):
    message = reserved(shop, card="tok_0003")
    shop.attempt(message)
    shop.die(message)
    shop.run()
    assert shop.order().status == "refunded"
    assert shop.order().attention_reason.startswith("payment_failed")
    assert ledger(shop) == [("capture", "o-1"), ("refund", "o-1")]
    assert shop.reconcile().is_ok


def test_a_capture_reported_after_it_was_given_up_and_found_nowhere_is_refunded(shop):
    # Given an owner that froze before its request left
    message = reserved(shop)
    claim, request = shop.prepare(message)
    shop.die(message)
    shop.run()
    assert shop.order().status == "cancelled"
    assert "refund_skipped" in shop.events()
    # When it wakes up, captures, and tells
    assert shop.complete(message, claim, shop.call(message, request)) == DONE
    shop.run()
    # Then the money goes back all the same
    assert shop.order().status == "refunded"
    assert ledger(shop) == [("capture", "o-1"), ("refund", "o-1")]
    assert shop.reconcile().is_ok


def test_nothing_to_refund_is_not_said_while_a_capture_may_be_on_its_way(database, sandbox):
    with open_shop(database, sandbox, settles_s=60.0) as shop:
        shop.load(p_1=100)
        message = reserved(shop, card="tok_0004")
        shop.attempt(message)
        shop.die(message)
        (refund,) = shop.take("payment")
        assert isinstance(shop.attempt(refund), Postpone)
        assert "refund" in shop.order().pending
        with shop.session.transaction() as tx:
            tx.execute("UPDATE shop.payments SET called_at = now() - interval '61 seconds'")
        assert shop.attempt(refund) == DONE
        assert shop.events()[-1] == "refund_skipped"


def test_a_capture_reported_while_the_gateway_is_asked_for_it_is_refunded(shop):
    # Given a refund that asked, and the gateway knew of no capture
    message = reserved(shop)
    claim, request = shop.prepare(message)
    shop.die(message)
    (refund,) = shop.take("payment")
    refund_claim, asked = shop.prepare(refund)
    nothing = shop.call(refund, asked)
    # When the capture is made and reported before the refund's answer is
    shop.complete(message, claim, shop.call(message, request))
    # Then that answer is out of date
    assert isinstance(shop.complete(refund, refund_claim, nothing), Postpone)
    assert shop.attempt(refund) == DONE
    shop.run()
    assert shop.order().status == "refunded"
    assert ledger(shop) == [("capture", "o-1"), ("refund", "o-1")]
    assert shop.reconcile().is_ok


def test_a_refund_that_times_out_is_sent_again_under_its_key(shop):
    message = reserved(shop)
    claim, request = shop.prepare(message)
    cancel(shop)
    shop.complete(message, claim, shop.call(message, request))
    (refund,) = shop.take("payment")
    # Given a refund that is made but not answered
    claim, request = shop.prepare(refund)
    shop.call(refund, request)
    assert isinstance(shop.complete(refund, claim, OutcomeUnknown("no answer")), Postpone)
    # When it is tried again
    assert shop.attempt(refund) == DONE
    assert shop.attempt(refund) == DONE
    assert shop.order().status == "refunded"
    assert ledger(shop) == [("capture", "o-1"), ("refund", "o-1")]


def test_a_refund_given_up_stays_pending_until_its_replay_succeeds(shop):
    message = reserved(shop)
    claim, request = shop.prepare(message)
    cancel(shop)
    shop.complete(message, claim, shop.call(message, request))
    (refund,) = shop.take("payment")
    shop.die(refund)
    assert shop.order().status == "cancelled"
    assert "refund" in shop.order().pending
    assert shop.attempt(refund) == DONE
    assert shop.order().status == "refunded"


# --- commands that are not in their place ---------------------------------------------


@pytest.mark.parametrize("command", [CapturePayment, RefundPayment])
def test_a_payment_command_for_an_order_that_is_only_placed_is_too_early(shop, command):
    shop.place(an_order("o-1"))
    assert isinstance(shop.attempt(foreign("payment", command(order_id="o-1"))), Postpone)
    assert ledger(shop) == []


@pytest.mark.parametrize("command", [CapturePayment, RefundPayment])
def test_a_payment_command_for_an_unknown_order_is_dead(shop, command):
    assert shop.attempt(foreign("payment", command(order_id="o-7"))) == Dead("no order 'o-7'")


def test_a_foreign_refund_of_a_paid_order_gives_nothing_back(shop):
    shop.attempt(reserved(shop))
    assert shop.attempt(foreign("payment", RefundPayment(order_id="o-1"))) == DONE
    assert ledger(shop) == [("capture", "o-1")]
    assert shop.order().status == "paid"


def test_a_capture_s_trace_is_the_order_s(shop):
    message = reserved(shop)
    shop.attempt(message)
    trace_ids = {each.envelope.traceparent[3:35] for each in shop.take("shipping", "points", "notify")}
    assert trace_ids == {shop.order().traceparent[3:35]}
