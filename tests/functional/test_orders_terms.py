"""Orders that cost nothing, and orders whose money was taken before they came."""

import pytest

from ordermq.shop import Adjustment, Contact, PaidBefore, cancel_order
from ordermq.shop.gateways.payment import Capture
from tests.support.shop import an_order, open_shop

FREE = {"adjustments": (Adjustment("gift_card", -500, "XMAS"),), "total_minor": 0, "card_token": None}


@pytest.fixture
def shop(database, sandbox):
    with open_shop(database, sandbox) as shop:
        shop.load(p_1=5)
        yield shop


def captured_elsewhere(shop, order_id):
    """Take 5.00 EUR as another program of the shop would; return what the service calls it."""
    capture = Capture(f"till:{order_id}", order_id, 500, "EUR", card_token="tok_0001")  # the sandbox's
    return PaidBefore(reference=shop.payment.capture(capture).capture_id)


def taken(shop):
    return [
        (each.kind, each.idempotency_key, each.amount_minor)
        for page in shop.payment.ledger()
        for each in page
    ]


def test_a_free_order_goes_straight_on_and_nobody_is_asked_for_money(shop):
    shop.place(an_order("o-1", **FREE))
    shop.run()
    assert shop.order("o-1").status == "completed"
    assert "payment_captured" not in shop.events()
    assert taken(shop) == []
    assert shop.database.sql("TABLE shop.payments") == ""
    assert shop.reconcile().is_ok


def test_a_free_order_without_stock_is_cancelled_and_nothing_is_paid_back(shop):
    shop.place(an_order("o-1", ("p-1", 6), adjustments=(Adjustment("discount", -3000),), total_minor=0))
    shop.run()
    assert shop.order("o-1").status == "cancelled"
    assert taken(shop) == []
    assert shop.reconcile().is_ok


def test_an_order_that_is_paid_already_is_not_charged_again(shop):
    shop.place(an_order("o-1", payment=captured_elsewhere(shop, "o-1")))
    shop.run()
    assert shop.order("o-1").status == "completed"
    assert [kind for kind, *_ in taken(shop)] == ["capture"]
    assert shop.reconcile().is_ok


@pytest.mark.parametrize("is_short", [True, False])
def test_an_order_that_is_paid_already_and_comes_to_nothing_is_paid_back_by_its_reference(shop, is_short):
    if is_short:
        shop.load(p_1=0)
    shop.place(an_order("o-1", payment=captured_elsewhere(shop, "o-1")))
    if not is_short:
        with shop.session.transaction() as tx:
            cancel_order("o-1", tx, "changed my mind")
    shop.run()
    assert shop.order("o-1").status == "refunded"
    assert [(kind, amount) for kind, _, amount in taken(shop)] == [("capture", 500), ("refund", 500)]
    assert shop.reconcile().is_ok


def test_a_discounted_order_is_charged_exactly_its_total(shop):
    adjustments = (Adjustment("discount", -101), Adjustment("tax", 38), Adjustment("tax_included", 38))
    shop.place(an_order("o-1", adjustments=adjustments, total_minor=437))
    shop.run()
    assert [amount for *_, amount in taken(shop)] == [437]
    assert shop.reconcile().is_ok


def test_a_phone_that_is_no_number_costs_the_text_and_not_the_order(shop):
    shop.place(an_order("o-1", contact=Contact(phone="please ring twice")))
    shop.run()
    assert shop.order("o-1").status == "completed"
    assert list(shop.sms.sent()) == []
    assert shop.reconcile().is_ok
