"""Money that went back at the payment service itself, and cancelled orders that are opened again."""

import json
from datetime import timedelta

import pytest
from msgspec.structs import replace

from ordermq.clock import utc_now
from ordermq.errors import GatewayRefused, OrderConflict
from ordermq.shop import cancel_order
from ordermq.shop.by_hand import refunded_by_hand
from ordermq.shop.gateways import Capture, Captured, GivenBack, Pending, Refund
from ordermq.shop.gateways.http import Answer
from ordermq.shop.history import why_cancelled
from ordermq.shop.queries import count_cancellations
from ordermq.shop.reopen import reopen_order
from ordermq.shop.resolve import resolve_order
from ordermq.store import dead_letters
from ordermq.task import DONE, Dead, Postpone
from tests.support.shop import an_order, open_shop


@pytest.fixture
def shop(database, sandbox):
    with open_shop(database, sandbox) as shop:
        shop.load(p_1=2)
        yield shop


def cancel(shop, order_id="o-1"):
    with shop.session.transaction() as tx:
        cancel_order(order_id, tx, "changed my mind")


def awaiting_refund(shop):
    """Bring an order to where its capture came too late; return its RefundPayment."""
    shop.place(an_order("o-1"))
    shop.handle(*shop.take("inventory"))
    (message,) = shop.take("payment")
    claim, request = shop.prepare(message)
    cancel(shop)
    shop.complete(message, claim, shop.call(message, request))
    (refund,) = shop.take("payment")
    return refund


def at_the_dashboard(shop, amount_minor):
    capture_id = shop.show().payment.capture_id
    shop.payment.refund(Refund(f"dash-{amount_minor}", capture_id, amount_minor, "EUR"))


def by_hand(shop, amount="5.00", reference="re_1"):
    with shop.session.transaction() as tx:
        return refunded_by_hand("o-1", amount, tx, by="anna", reference=reference, reason="dashboard")


def give_up(shop, message, outcome):
    with shop.session.transaction() as tx:
        dead_letters.keep(tx, message.queue, [(message.envelope, message.body, outcome.reason)])
        message.handler.on_dead(message.payload, outcome.reason, tx)


def failing_for(message, minutes):
    since = utc_now() - timedelta(minutes=minutes)
    message.envelope = replace(message.envelope, first_failed_at=since)
    return message


def test_a_refund_made_at_the_service_ends_the_order_without_a_person(shop):
    refund = awaiting_refund(shop)
    at_the_dashboard(shop, 200)
    at_the_dashboard(shop, 300)
    assert shop.attempt(refund) == DONE
    shop.run()
    assert (shop.order().status, shop.order().attention_reason) == ("refunded", None)
    assert shop.reconcile().is_ok


def test_a_part_refunded_at_the_service_asks_a_person_within_an_hour_who_ends_it(shop):
    refund = awaiting_refund(shop)
    at_the_dashboard(shop, 200)
    outcome = shop.attempt(failing_for(refund, 40))
    assert isinstance(outcome, Postpone)
    assert "only 300 of" in outcome.reason
    outcome = shop.attempt(failing_for(refund, 51))
    assert isinstance(outcome, Dead)
    give_up(shop, refund, outcome)
    assert "only 300 of" in shop.order().attention_reason
    with pytest.raises(OrderConflict, match="order refunded o-1"), shop.session.transaction() as tx:
        resolve_order("o-1", tx, by="anna", reason="done")
    at_the_dashboard(shop, 300)
    assert by_hand(shop).status == "refunded"
    assert by_hand(shop).is_duplicate
    shop.run()
    detail = shop.show()
    assert (detail.order.pending, detail.order.attention_reason) == ([], None)
    assert (detail.payment.state, detail.payment.refund_id) == ("refunded", "re_1")
    assert [each.outcome for each in detail.messages if each.place == "dead"] == ["discarded"]
    assert shop.attempt(refund) == DONE
    assert shop.reconcile().is_ok, [check for check in shop.reconcile().checks if check.wrong]


def test_a_capture_that_the_service_no_longer_knows_asks_a_person_who_ends_it(shop):
    refund = awaiting_refund(shop)
    with shop.session.transaction() as tx:
        tx.execute("UPDATE shop.payments SET capture_id = 'cap_gone'")
    outcome = shop.attempt(refund)
    assert isinstance(outcome, Dead)
    give_up(shop, refund, outcome)
    by_hand(shop)
    shop.run()
    assert (shop.order().status, shop.order().attention_reason) == ("refunded", None)


def test_a_part_by_hand_ends_the_order_and_the_text_names_its_amount(shop):
    awaiting_refund(shop)
    by_hand(shop, "4.00")
    shop.run()
    assert (shop.order().status, shop.order().pending) == ("refunded", [])
    texts = {entry["reference"]: entry["text"] for entry in shop.sandbox.ledger("sms")}
    assert texts["o-1:order_refunded"] == "We have paid back 4.00 EUR for your order o-1."


CAPTURE = Capture("capture:shop:o-1", "o-1", 500, "EUR", "tok_0001")


@pytest.mark.parametrize(
    ("status", "expected"),
    [
        ("captured", Captured("cap_1")),
        ("refunded", GivenBack("cap_1", "refunded")),
        ("charged_back", GivenBack("cap_1", "charged_back")),
        ("pending", Pending("pending")),
    ],
)
def test_what_the_service_says_of_a_capture_is_recognised(shop, monkeypatch, status, expected):
    said = {
        "status": status,
        "capture_id": "cap_1",
        "order_id": "o-1",
        "amount_minor": 500,
        "currency": "EUR",
    }
    answer = Answer(200, json.dumps(said).encode(), None)
    monkeypatch.setattr(shop.payment._client, "get", lambda *_, **__: answer)
    assert shop.payment.find(CAPTURE) == expected


def test_a_capture_of_which_a_part_went_back_is_for_a_person(shop, monkeypatch):
    body = b'{"status": "partially_refunded", "capture_id": "cap_1", "order_id": "o-1"}'
    monkeypatch.setattr(shop.payment._client, "get", lambda *_, **__: Answer(200, body, None))
    with pytest.raises(GatewayRefused, match="a part of the capture"):
        shop.payment.find(CAPTURE)


# --- orders that are opened again ---


def reopen(shop, order_id="o-1"):
    with shop.session.transaction() as tx:
        return reopen_order(order_id, tx, by="anna", reason="by mistake")


def test_an_order_cancelled_before_its_payment_is_opened_again_and_completed(shop):
    shop.place(an_order("o-1"))
    shop.handle(*shop.take("inventory"))
    cancel(shop)  # the reservation is released
    with pytest.raises(OrderConflict, match="must end first"):
        reopen(shop)
    shop.run()
    assert shop.order().status == "cancelled"
    assert reopen(shop).status == "placed"
    assert reopen(shop).is_duplicate
    shop.run()
    assert (shop.order().status, shop.order().pending) == ("completed", [])
    assert why_cancelled(shop.show().events) is None
    with shop.session.transaction() as tx:
        assert count_cancellations(tx) == {}
    assert shop.reconcile().is_ok, [check for check in shop.reconcile().checks if check.wrong]


@pytest.mark.parametrize(
    "phone", ["+4930123456", None, "+493010003"], ids=["told", "no phone", "perhaps told"]
)
def test_an_order_can_be_cancelled_again_and_its_customer_is_told_at_most_once(shop, phone):
    shop.place(an_order("o-1", ("p-1", 3), phone=phone, notify="text"))
    shop.run()
    reopen(shop)
    shop.run()
    detail = shop.show()
    assert (detail.order.status, detail.order.pending) == ("cancelled", [])
    assert why_cancelled(detail.events) == "not enough stock of p-1"
    assert len(shop.sandbox.ledger("sms")) == (phone is not None)
    assert shop.reconcile().is_ok, [check for check in shop.reconcile().checks if check.wrong]


def test_a_payment_that_is_known_to_have_taken_nothing_is_captured_after_all(shop):
    shop.place(an_order("o-1"))
    shop.handle(*shop.take("inventory"))
    (capture,) = shop.take("payment")
    shop.prepare(capture)  # its intent is written, and the service never called
    cancel(shop)
    assert shop.attempt(capture) == DONE
    shop.run()
    assert shop.show().payment.state == "failed"
    reopen(shop)
    shop.run()
    assert (shop.order().status, shop.show().payment.state) == ("completed", "captured")
    assert [each["kind"] for each in shop.sandbox.ledger("payment")] == ["capture"]
    assert shop.reconcile().is_ok


def test_an_order_whose_money_was_asked_for_is_not_opened_again_without_another_card(shop):
    shop.place(an_order("o-1", card="tok_0002"))
    shop.run()
    with pytest.raises(OrderConflict, match="its payment is declined; a new card is needed"):
        reopen(shop)
    assert shop.attempt(awaiting_refund_of_another(shop)) == DONE
    shop.run()
    with pytest.raises(OrderConflict, match="its payment is refunded"):
        reopen(shop, "o-2")


def awaiting_refund_of_another(shop):
    shop.place(an_order("o-2"))
    shop.handle(*shop.take("inventory"))
    (message,) = shop.take("payment")
    claim, request = shop.prepare(message)
    cancel(shop, "o-2")
    shop.complete(message, claim, shop.call(message, request))
    (refund,) = shop.take("payment")
    return refund
