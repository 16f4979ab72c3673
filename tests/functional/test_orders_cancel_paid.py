"""Cancelling orders that are paid: until the goods leave, everything is taken back."""

import pytest

from ordermq.errors import OrderConflict
from ordermq.shop import Status, cancel_order
from ordermq.task import DONE
from tests.support.shop import an_order, open_shop


@pytest.fixture
def shop(database, sandbox):
    with open_shop(database, sandbox) as shop:
        shop.load(p_1=5)
        shop.place(an_order("o-1"))
        shop.run("inventory", "payment")
        yield shop


def cancel(shop):
    with shop.session.transaction() as tx:
        return cancel_order("o-1", tx, "changed my mind")


def points(shop):
    return shop.show().points


def test_a_paid_order_that_is_not_shipped_is_cancelled_and_refunded(shop):
    assert cancel(shop).status is Status.CANCELLED
    assert shop.order().pending == [
        "adjust_points", "award", "notify_cancelled", "notify_confirmed", "refund", "release", "ship",
    ]  # fmt: skip
    shop.run()
    detail = shop.show()
    assert (detail.order.status, detail.order.pending) == ("refunded", [])
    assert detail.order.attention_reason is None
    assert {"shipment_skipped", "points_skipped"} <= set(shop.events())
    assert (detail.shipment_number, detail.points) == (None, None)
    assert shop.stock() == {"p-1": (5, 0, 0)}
    assert [entry["kind"] for entry in shop.sandbox.ledger("payment")] == ["capture", "refund"]
    assert shop.reconcile().is_ok
    assert cancel(shop).is_duplicate


def test_points_that_were_awarded_are_taken_back(shop):
    shop.run("points")
    assert points(shop) == 5
    cancel(shop)
    shop.run()
    assert points(shop) == 0
    assert "points_adjusted" in shop.events()
    assert shop.order().status == "refunded"
    assert shop.reconcile().is_ok


def test_points_wait_for_an_award_that_is_under_way(shop):
    (award,) = shop.take("points")
    cancel(shop)
    (adjust,) = shop.take("points")
    assert "too early" in shop.attempt(adjust).reason
    assert shop.attempt(award) == DONE
    assert shop.attempt(adjust) == DONE
    assert shop.events()[-2:] == ["points_skipped", "points_adjusted"]


def test_an_order_that_is_shipped_is_not_cancelled_and_the_error_says_what_to_type(shop):
    shop.run("shipping")
    with pytest.raises(OrderConflict, match=r"'ordermq order return'.* 'ordermq order refund'"):
        cancel(shop)
    assert shop.order().status == "paid"


def test_a_shipment_under_way_and_a_cancellation_exclude_each_other(shop):
    (ship,) = shop.take("shipping")

    def refused(session):
        with session.transaction() as tx, pytest.raises(OrderConflict) as caught:
            cancel_order("o-1", tx, "changed my mind")
        return str(caught.value)

    error = shop.one_after_another(lambda tx: ship.handler.call([ship.payload], tx), refused)
    assert "shipped" in error
    assert shop.order().status == "paid"
    assert shop.stock() == {"p-1": (4, 0, 1)}


def test_a_shipment_that_is_dead_ends_with_its_replay(shop):
    (ship,) = shop.take("shipping")
    shop.die(ship)
    cancel(shop)
    shop.run()
    assert shop.order().pending == ["ship"]
    assert shop.attempt(ship) == DONE
    assert (shop.order().status, shop.order().pending) == ("refunded", [])
    assert shop.stock() == {"p-1": (5, 0, 0)}
