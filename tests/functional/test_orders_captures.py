"""Captures after a decline or a refund: another card, the grace for it, and orders that are opened again."""

import pytest

from ordermq.errors import BadInput, OrderConflict, OrderNotFound, StoreError
from ordermq.shop import cancel_order, pay_order, queries, refund_order
from ordermq.shop.gateways import Captured, LedgerEntry
from ordermq.shop.handlers.capture import CaptureReply
from ordermq.shop.reopen import reopen_order
from ordermq.task import DONE, Postpone
from tests.support.shop import an_order, open_shop

GRACE_S = 3600.0
KEY = "capture:shop:o-1"
DECLINED, GOOD, LOST = "tok_0002", "tok_4242", "tok_0003"


@pytest.fixture
def shop(database, sandbox):
    with open_shop(database, sandbox, grace_s=GRACE_S) as shop:
        shop.load(p_1=10)
        yield shop


def declined(shop, **changes):
    """Bring an order to where it waits for another card; return its ExpirePayment."""
    shop.place(an_order("o-1", card=DECLINED, **changes))
    shop.run("inventory")
    (capture,) = shop.take("payment")
    assert shop.attempt(capture) == DONE
    (expiry,) = shop.take("payment")
    return expiry


def pay(shop, card=GOOD):
    with shop.session.transaction() as tx:
        return pay_order("o-1", card, tx, by="anna")


def reopen(shop, card=None):
    with shop.session.transaction() as tx:
        return reopen_order("o-1", tx, by="anna", reason="wants it", card_token=card)


def pay_back(shop, units, *, again=False):
    with shop.session.transaction() as tx:
        refund_order("o-1", tx, lines={1: units}, by="anna", reason="damaged", again=again)


def cancel(shop):
    with shop.session.transaction() as tx:
        cancel_order("o-1", tx, "changed my mind")


def captures(shop):
    """What the service has, and what we have, of each capture."""
    ledger = [(entry["kind"], entry["idempotency_key"]) for entry in shop.sandbox.ledger("payment")]
    with shop.session.transaction() as tx:
        ours = tx.fetch_all(
            "SELECT capture_no, idempotency_key, state FROM shop.earlier_payments WHERE order_id = 'o-1'"
            " UNION ALL SELECT capture_no, idempotency_key, state FROM shop.payments WHERE order_id = 'o-1'"
            " ORDER BY 1"
        )
    return ledger, ours


def failed(shop):
    return [check.name for check in shop.reconcile().checks if check.wrong]


def time_passes(shop):
    with shop.session.transaction() as tx:
        tx.execute("UPDATE shop.orders SET due_until = due_until - interval '1 hour'")


def test_an_order_whose_card_was_declined_waits_is_told_and_is_paid_by_another_card(shop):
    # CAP2
    declined(shop)
    shop.run("notify")
    detail = shop.show()
    assert (detail.order.status, detail.order.pending) == ("payment_due", ["expire"])
    assert shop.stock() == {"p-1": (9, 1, 0)}  # the goods stay reserved
    with shop.session.transaction() as tx:
        assert queries.stuck(tx, older_than_s=0.0, action_s=3600.0) == []  # it has time until due_until
    (text,) = shop.sandbox.ledger("sms")
    assert text["text"].startswith("Your card was declined. Pay 5.00 EUR for order o-1 until ")
    assert failed(shop) == ["orders_at_rest"]
    assert pay(shop).status == "reserved"
    shop.run()
    assert shop.order().status == "completed"
    assert captures(shop) == (
        [("capture", f"{KEY}:2")],
        [(1, KEY, "declined"), (2, f"{KEY}:2", "captured")],
    )
    assert shop.reconcile().is_ok


def test_a_card_that_is_given_twice_is_charged_once_and_another_one_meanwhile_is_refused(shop):
    declined(shop)
    assert not pay(shop).is_duplicate
    assert pay(shop).is_duplicate
    with pytest.raises(OrderConflict, match="its own card was not declined"):
        pay(shop, "tok_other")
    shop.run()
    assert pay(shop).is_duplicate
    with pytest.raises(OrderConflict, match="it is paid"):
        pay(shop, "tok_other")
    assert shop.events().count("card_replaced") == 1


def test_two_cards_at_the_same_instant_are_one_capture(shop):
    # CAP1
    declined(shop)
    found = []

    def second(session):
        try:
            with session.transaction() as tx:
                pay_order("o-1", "tok_other", tx)
        except OrderConflict as exc:
            found.append(exc)

    shop.one_after_another(lambda tx: pay_order("o-1", GOOD, tx), second)
    assert len(found) == 1
    shop.run()
    assert captures(shop)[0] == [("capture", f"{KEY}:2")]


def test_a_card_that_is_declined_too_begins_the_grace_again_and_the_first_expiry_waits(shop):
    first = declined(shop)
    pay(shop, "tok_second_0002")
    (capture,) = shop.take("payment")
    assert shop.attempt(first) == DONE  # the order does not wait at this moment
    shop.attempt(capture)
    (second,) = shop.take("payment")
    outcome = shop.attempt(first)
    assert isinstance(outcome, Postpone)
    assert GRACE_S - 60 < outcome.delay_s <= GRACE_S
    assert shop.order().status == "payment_due"
    time_passes(shop)
    assert shop.attempt(second) == DONE
    assert shop.attempt(first) == DONE
    assert shop.events().count("payment_expired") == 1
    assert [state for _, _, state in captures(shop)[1]] == ["declined", "declined"]


def test_without_another_card_in_time_the_order_is_cancelled_and_its_goods_are_free(shop):
    expiry = declined(shop)
    time_passes(shop)
    assert shop.attempt(expiry) == DONE
    with pytest.raises(OrderConflict, match="reopen"):
        pay(shop)
    shop.run()
    assert shop.order().status == "cancelled"
    assert shop.stock() == {"p-1": (10, 0, 0)}
    assert shop.reconcile().is_ok


def test_a_card_given_in_the_moment_of_the_expiry_wins_or_loses_and_never_both(shop):
    expiry = declined(shop)
    time_passes(shop)
    outcomes = shop.one_after_another(
        lambda tx: pay_order("o-1", GOOD, tx), lambda session: shop.handle(expiry, session=session)
    )
    assert outcomes == [DONE]
    assert shop.order().status == "reserved"
    assert "payment_expired" not in shop.events()


def test_a_result_of_the_capture_before_does_not_touch_the_next_one(shop):
    # CAP3
    # Given two owners of the first capture, of which one froze with its answer
    shop.place(an_order("o-1", card=DECLINED))
    shop.run("inventory")
    (first,) = shop.take("payment")
    claim, request = shop.prepare(first)
    late = shop.call(first, request)
    shop.attempt(first)
    pay(shop)
    # When that answer comes while the next capture waits, and again when it is made
    assert shop.complete(first, claim, late) == DONE
    assert captures(shop)[1][-1] == (2, f"{KEY}:2", "next")
    shop.run("payment", "inventory")
    assert shop.complete(first, claim, late) == DONE
    # Then only the next one counts
    assert shop.order().status == "paid"
    assert shop.order().attention_reason is None


def test_a_declined_capture_that_took_the_money_after_all_asks_for_a_person_once(shop):
    # CAP3
    shop.place(an_order("o-1", card=DECLINED))
    shop.run("inventory")
    (first,) = shop.take("payment")
    claim, _ = shop.prepare(first)
    shop.attempt(first)
    pay(shop, "tok_third_0002")
    for _ in range(2):
        assert shop.complete(first, claim, CaptureReply(KEY, Captured("cap_late"))) == DONE
    assert "capture 1 of the order was declined" in shop.order().attention_reason
    assert shop.events().count("attention_raised") == 1
    shop.run("payment")
    with pytest.raises(OrderConflict, match="its capture 1 took the money"):
        pay(shop)
    assert "captures_follow_each_other" in failed(shop)


def test_a_next_capture_whose_answer_is_lost_is_asked_for_and_made_once(shop):
    declined(shop)
    pay(shop, LOST)
    (capture,) = shop.take("payment")
    assert isinstance(shop.attempt(capture), Postpone)
    claim, request = shop.prepare(capture)
    assert request.ask_first
    assert shop.complete(capture, claim, shop.call(capture, request)) == DONE
    assert captures(shop)[0] == [("capture", f"{KEY}:2")]


def test_a_next_capture_that_is_given_up_before_it_was_tried_has_nothing_to_refund(shop):
    declined(shop)
    pay(shop)
    (capture,) = shop.take("payment")
    shop.die(capture)
    shop.run()
    assert (shop.order().status, shop.order().pending) == ("cancelled", [])
    assert "refund_skipped" in shop.events()
    assert captures(shop)[1][-1] == (2, f"{KEY}:2", "next")


def test_an_order_cancelled_before_its_next_capture_is_not_charged(shop):
    declined(shop)
    pay(shop)
    cancel(shop)
    shop.run()
    assert shop.order().status == "cancelled"
    assert captures(shop)[0] == []
    assert shop.reconcile().is_ok
    # Nothing was tried under its key, so that is used if the order is opened again
    reopen(shop, "tok_again")
    shop.run()
    assert shop.order().status == "completed"
    assert captures(shop)[0] == [("capture", f"{KEY}:2")]


@pytest.mark.parametrize(
    ("order_id", "card", "error"),
    [
        ("o-9", GOOD, OrderNotFound),
        ("o-1", "", BadInput),
        ("o-1", "two words", BadInput),
        ("o-1", None, BadInput),
    ],
)
def test_what_is_no_order_or_no_token_is_refused(shop, order_id, card, error):
    declined(shop)
    with shop.session.transaction() as tx, pytest.raises(error) as refused:
        pay_order(order_id, card, tx)
    assert "two words" not in str(refused.value)
    assert shop.order().status == "payment_due"


def entry(number, key, amount_minor=500):
    return LedgerEntry(number, "capture", key, "o-1", f"cap_{number}", amount_minor, "EUR")


@pytest.mark.parametrize(
    ("keys", "fault"),
    [
        ([f"{KEY}:2"], None),
        ([""], "o-1: capture 2 is captured, gateway has 0"),
        ([KEY], "o-1: capture 1 is declined, gateway has 1"),
        ([KEY, f"{KEY}:2"], "o-1: capture 1 is declined, gateway has 1"),
        ([f"{KEY}:2", f"{KEY}:2"], "o-1: capture 2 is captured, gateway has 2"),
    ],
)
def test_each_capture_number_is_looked_for_in_the_ledger(shop, keys, fault):
    declined(shop)
    pay(shop)
    shop.run()
    entries = [entry(number, key) for number, key in enumerate(keys, start=1)]
    (found,) = (
        check for check in shop.reconcile(ledger=[entries]).checks if check.name == "captures_agree_by_number"
    )
    assert (fault in found.offenders) if fault else not found.wrong


# --- opened again -------------------------------------------------------------------------


def test_an_order_whose_card_was_declined_is_opened_again_with_another_card_only(shop):
    shop.external["CapturePayment"].grace_s = 0.0
    shop.place(an_order("o-1", card=DECLINED))
    shop.run()
    assert shop.order().status == "cancelled"
    with pytest.raises(OrderConflict, match="a new card is needed"):
        reopen(shop)
    reopen(shop, GOOD)
    assert reopen(shop, GOOD).is_duplicate
    shop.run()
    assert shop.order().status == "completed"
    assert captures(shop)[0] == [("capture", f"{KEY}:2")]
    assert shop.reconcile().is_ok


def test_a_decline_that_only_the_refund_learns_of_uses_its_key_up_too(shop):
    # Given a capture that was declined without our hearing of it, and given up
    shop.place(an_order("o-1", card=DECLINED))
    shop.run("inventory")
    (capture,) = shop.take("payment")
    _, request = shop.prepare(capture)
    shop.call(capture, request)
    shop.die(capture)
    shop.run()
    assert (shop.order().status, shop.show().payment.state) == ("cancelled", "declined")
    # Then another card is charged under a key of its own
    reopen(shop, GOOD)
    shop.run()
    assert shop.order().status == "completed"
    assert captures(shop)[0] == [("capture", f"{KEY}:2")]


def test_a_refunded_order_is_opened_again_paid_again_and_gets_its_points_again(shop):
    # Given an order that was paid, got its points, and was cancelled and refunded
    shop.place(an_order("o-1"))
    shop.run("inventory", "payment", "points")
    assert shop.show().points == 5
    cancel(shop)
    shop.run()
    assert (shop.order().status, shop.show().points) == ("refunded", 0)
    assert shop.reconcile().is_ok
    # When it is opened again
    with pytest.raises(OrderConflict, match="a new card is needed"):
        reopen(shop)
    reopen(shop, GOOD)
    shop.run()
    # Then it is an order like any other
    detail = shop.show()
    assert (detail.order.status, detail.order.pending, detail.points) == ("completed", [], 5)
    assert captures(shop) == (
        [("capture", KEY), ("refund", f"refund:{KEY}"), ("capture", f"{KEY}:2")],
        [(1, KEY, "refunded"), (2, f"{KEY}:2", "captured")],
    )
    assert shop.reconcile().is_ok


def test_what_went_back_before_an_order_was_opened_again_counts_no_more(shop):
    # Given an order of which a unit was paid back, and then the rest
    shop.place(an_order("o-1", ("p-1", 2)))
    shop.run("inventory", "payment")
    pay_back(shop, 1)
    shop.run("payment")
    cancel(shop)
    shop.run()
    assert (shop.order().status, shop.order().refunded_minor) == ("refunded", 1000)
    # When it is opened again and completed
    reopen(shop, GOOD)
    shop.run()
    assert (shop.order().status, shop.order().refunded_minor, shop.show().points) == ("completed", 0, 10)
    assert shop.reconcile().is_ok
    # Then both units can be paid back again, and no more
    pay_back(shop, 2)
    shop.run()
    with pytest.raises(BadInput, match="0 are left"):
        pay_back(shop, 1, again=True)
    assert captures(shop)[0] == [
        ("capture", KEY), ("refund", f"refund:{KEY}"), ("refund", f"refund:2:{KEY}"),
        ("capture", f"{KEY}:2"), ("refund", f"refund:3:{KEY}:2"),
    ]  # fmt: skip
    assert shop.show().points == 0
    assert shop.reconcile().is_ok


def test_an_order_of_which_only_a_part_went_back_is_not_opened_again(shop):
    shop.place(an_order("o-1"))
    shop.run("inventory", "payment")
    cancel(shop)
    shop.run()
    with shop.session.transaction() as tx:
        tx.execute("UPDATE shop.orders SET refunded_minor = 499")
    with pytest.raises(OrderConflict, match=r"4\.99 of 5\.00 EUR went back"):
        reopen(shop, GOOD)


KEEP = """
    INSERT INTO shop.earlier_payments (order_id, capture_no, idempotency_key, amount_minor, currency, state)
    SELECT order_id, capture_no, idempotency_key, amount_minor, currency, state FROM shop.payments
"""
GO_ON = "UPDATE shop.payments SET capture_no = %s, idempotency_key = %s, state = %s, capture_id = NULL"


@pytest.mark.parametrize("values", [(3, "k", "next"), (2, KEY, "next"), (2, "k", "intent")])
def test_the_database_itself_refuses_a_capture_that_does_not_follow_from_the_one_before(shop, values):
    # CAP1, CAP2
    declined(shop)
    with pytest.raises(StoreError, match="cannot follow capture 1"), shop.session.transaction() as tx:
        tx.execute(KEEP)
        tx.execute(GO_ON, values)


def test_the_database_itself_refuses_the_next_capture_of_one_that_is_open(shop):
    # CAP1
    shop.place(an_order("o-1"))
    shop.run("inventory", "payment")
    with pytest.raises(StoreError, match="cannot follow capture 1"), shop.session.transaction() as tx:
        tx.execute(GO_ON, (2, "k", "next"))
