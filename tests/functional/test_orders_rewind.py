"""Orders put back to an earlier step, from where the saga lets them; their money is taken once."""

import pytest

from ordermq.shop import cancel_order
from ordermq.shop.events import EventType, Step
from ordermq.shop.payments import Payment, PaymentState
from ordermq.shop.rewind import RewindOutcome, rewind_orders, why_not_capture, why_not_money
from ordermq.shop.saga import State, Status
from ordermq.store import dead_letters, inbox, leases
from tests.support.shop import an_order, open_shop

GIVEN_UP = EventType.PAYMENT_FAILED


@pytest.fixture
def shop(database, sandbox):
    """One order whose payment was given up: it is cancelled, and what undoes it waits."""
    with open_shop(database, sandbox) as shop:
        shop.load(p_1=9)
        shop.place(an_order("o-1", ("p-1", 4)))
        shop.handle(*shop.take("inventory"))
        (capture,) = shop.take("payment")
        shop.die(capture)
        with shop.session.transaction() as tx:
            dead_letters.keep(tx, "payment", [(capture.envelope, capture.body, "refused")])
        yield shop


def rewind(shop, *order_ids, to=Step.CAPTURE):
    with shop.session.transaction() as tx:
        return rewind_orders(order_ids or ("o-1",), to, tx, by="anna@shop1", reason="it is back")


def captures(sandbox):
    return [each for each in sandbox.ledger("payment") if each["kind"] == "capture"]


def test_an_order_goes_on_from_its_payment_and_what_undid_it_is_withdrawn(shop, sandbox):
    (answer,) = rewind(shop)
    assert answer.outcome is RewindOutcome.REWOUND
    assert answer.note == (
        "stock kept, message to the customer withdrawn, refund withdrawn, release withdrawn,"
        " dead letter 1 discarded"
    )
    assert (str(answer.effect.amount), answer.effect.unit) == ("20.00", "EUR")
    order = shop.order()
    assert (order.status, order.pending, order.attention_reason) == ("reserved", ["capture"], None)
    assert shop.stock() == {"p-1": (5, 4, 0)}
    capture = shop.take("payment", types=["CapturePayment"])
    shop.take("inventory", "notify", "payment")  # what was withdrawn; handled, it does nothing
    for message in capture:
        assert shop.attempt(message).__class__.__name__ == "Done"
    shop.run()
    assert (shop.order().status, len(captures(sandbox))) == ("completed", 1)
    assert shop.events().count("order_rewound") == 1
    assert shop.reconcile().is_ok


def test_stock_that_was_released_is_reserved_again_for_all_or_the_order_stays(shop, sandbox):
    # RWD2
    shop.run("inventory", "notify")
    assert shop.stock() == {"p-1": (9, 0, 0)}
    shop.place(an_order("o-2", ("p-1", 6)))
    shop.handle(*shop.take("inventory"))
    (answer,) = rewind(shop)
    assert (answer.outcome, answer.note) == (
        RewindOutcome.REFUSED, "not enough stock of p-1; it stays as it is",
    )  # fmt: skip
    assert shop.order().status == "cancelled"
    with shop.session.transaction() as tx:
        cancel_order("o-2", tx, "changed my mind")
    shop.run("inventory")
    (answer,) = rewind(shop)
    assert answer.note.startswith("stock reserved again, refund withdrawn")
    assert shop.stock() == {"p-1": (5, 4, 0)}
    shop.run()
    assert (shop.order().status, len(captures(sandbox))) == ("completed", 1)
    assert shop.reconcile().is_ok


def test_money_that_was_taken_after_all_is_found_and_not_taken_twice(database, sandbox):
    # RWD1
    with open_shop(database, sandbox) as shop:
        shop.load(p_1=9)
        shop.place(an_order("o-1"))
        shop.handle(*shop.take("inventory"))
        (capture,) = shop.take("payment")
        _, request = shop.prepare(capture)
        shop.call(capture, request)  # taken, and nobody heard of it
        shop.die(capture)
        (refund,) = shop.take("payment")
        with shop.session.transaction() as tx:
            leases.take(tx, "payment", [refund.envelope.message_id], owner="a", lease_s=60.0)
        (answer,) = rewind(shop)
        assert answer.note == "its refund is being tried; it may be rewound to no step now"
        with shop.session.transaction() as tx:
            leases.release(tx, "payment", [refund.envelope.message_id], "a")
            inbox.settle(tx, "payment", [(refund.envelope.message_id, 0)], "postponed")
        assert [each.outcome for each in rewind(shop)] == [RewindOutcome.REFUSED]
        with shop.session.transaction() as tx:
            inbox.settle(tx, "payment", [(refund.envelope.message_id, 1)], "dead")
            dead_letters.keep(tx, "payment", [(refund.envelope, refund.body, "refused")])
        assert [each.outcome for each in rewind(shop)] == [RewindOutcome.REWOUND]
        assert [each.outcome for each in rewind(shop)] == [RewindOutcome.UNCHANGED]
        shop.run()
        assert (shop.order().status, len(captures(sandbox))) == ("completed", 1)
        assert shop.reconcile().is_ok


def test_an_order_that_is_at_rest_begins_anew_and_many_are_answered_one_by_one(shop, sandbox):
    shop.run()
    assert not shop.order().pending
    reopened, unknown = rewind(shop, "o-1", "o-9", to=Step.RESERVE)
    assert (reopened.outcome, unknown.outcome) == (RewindOutcome.REWOUND, RewindOutcome.REFUSED)
    assert shop.order().status == "placed"
    assert [each.outcome for each in rewind(shop, to=Step.RESERVE)] == [RewindOutcome.UNCHANGED]
    shop.run()
    assert (shop.order().status, len(captures(sandbox))) == ("completed", 1)


def test_an_order_that_its_customer_cancelled_is_not_put_back(database, sandbox):
    with open_shop(database, sandbox) as shop:
        shop.load(p_1=9)
        shop.place(an_order("o-1"))
        with shop.session.transaction() as tx:
            cancel_order("o-1", tx, "changed my mind")
        shop.run()
        (answer,) = rewind(shop)
        assert answer.note == (
            "it was cancelled by cancel_requested, not because its payment was given up;"
            " it may be rewound to: reserve"
        )


@pytest.mark.parametrize("status", Status)
def test_only_a_cancelled_order_can_be_put_back_to_its_payment(status):
    legal = why_not_capture(State(status), GIVEN_UP) is None
    assert legal is (status is Status.CANCELLED)
    assert why_not_capture(State(status, frozenset({Step.CAPTURE})), GIVEN_UP) is not None
    assert why_not_capture(State(status), EventType.CANCEL_REQUESTED) is not None


@pytest.mark.parametrize("state", PaymentState)
def test_money_that_is_with_the_shop_or_went_back_keeps_an_order_from_its_payment(state):
    # RWD1
    payment = Payment("o-1", "key", 100, "EUR", state, None, None, None, is_settling=False)
    is_free = state not in (PaymentState.CAPTURED, PaymentState.DECLINED, PaymentState.REFUNDED)
    assert (why_not_money(payment, is_refunding=False) is None) is is_free
    assert why_not_money(None, is_refunding=True) is not None
