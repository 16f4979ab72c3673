"""Parts of a paid order that go back: money, goods, and what the customer and the books learn of it."""

import pytest

from ordermq.errors import BadInput, DataRefused, OrderConflict
from ordermq.shop import Adjustment, cancel_order, refund_order, return_goods
from ordermq.shop.by_hand import refunded_by_hand
from ordermq.shop.gateways import Refund
from ordermq.store import actions
from ordermq.task import DONE, Dead, Postpone
from tests.support.shop import an_order, open_shop

WHY = {"by": "anna", "reason": "damaged"}


@pytest.fixture
def shop(database, sandbox):
    with open_shop(database, sandbox) as shop:
        shop.load(p_1=10, p_2=10)
        yield shop


def completed(shop, *items, **changes):
    shop.place(an_order("o-1", *(items or [("p-1", 3)]), **changes))
    shop.run()
    assert shop.order().status == "completed"


def refund(shop, **asked):
    with shop.session.transaction() as tx:
        return refund_order("o-1", tx, **WHY, **asked)


def come_back(shop, **asked):
    with shop.session.transaction() as tx:
        return return_goods("o-1", tx, **WHY, **asked)


def by_hand(shop, amount, reference="re_1"):
    with shop.session.transaction() as tx:
        return refunded_by_hand("o-1", amount, tx, by="anna", reference=reference, reason="dashboard")


def moved(shop):
    return [(each["kind"], each["amount_minor"]) for each in shop.sandbox.ledger("payment")]


def books(shop):
    return [(each.refund_no, each.state, each.amount_minor) for each in shop.show().refunds]


def assert_balanced(shop):
    report = shop.reconcile()
    assert report.is_ok, [check for check in report.checks if check.wrong]


def test_two_requests_at_the_same_instant_are_one_after_the_other(shop):
    # RFD3
    completed(shop)

    def second(session):
        with session.transaction() as tx:
            return refund_order("o-1", tx, lines={1: 2}, **WHY)

    asked = shop.one_after_another(lambda tx: refund_order("o-1", tx, lines={1: 2}, **WHY), second)
    assert asked.is_duplicate
    shop.run()
    assert books(shop) == [(1, "refunded", 1000)]


def test_units_of_a_line_are_paid_back_and_the_order_stays_completed(shop):
    completed(shop)
    asked = refund(shop, lines={1: 2})
    assert (asked.refund_no, asked.amount_minor, asked.is_duplicate) == (1, 1000, False)
    assert (shop.order().status, shop.order().pending) == ("completed", ["refund"])
    shop.run()
    detail = shop.show()
    assert (detail.order.status, detail.order.pending, detail.order.refunded_minor) == ("completed", [], 1000)
    assert moved(shop) == [("capture", 1500), ("refund", 1000)]
    assert [(each.refunded, each.returned) for each in detail.items] == [(2, 0)]
    texts = [each["text"] for each in shop.sandbox.ledger("sms") if "refunded" in each["reference"]]
    assert texts == ["We have paid back 10.00 EUR for your order o-1."]
    assert_balanced(shop)


def test_the_same_request_again_is_absorbed_and_a_second_one_on_purpose_is_not(shop):
    completed(shop)
    refund(shop, lines={1: 1})
    assert refund(shop, lines={1: 1}).is_duplicate  # also while the first is under way
    shop.run()
    again = refund(shop, lines={1: 1})
    assert (again.is_duplicate, again.refund_no, again.amount_minor) == (True, 1, 500)
    assert refund(shop, lines={1: 1}, again=True).refund_no == 2
    shop.run()
    assert books(shop) == [(1, "refunded", 500), (2, "refunded", 500)]
    assert [each.idempotency_key for each in shop.show().refunds] == [
        "refund:capture:shop:o-1", "refund:2:capture:shop:o-1",
    ]  # fmt: skip
    assert len([each for each in shop.sandbox.ledger("sms") if "refunded" in each["reference"]]) == 2
    assert_balanced(shop)


def test_parts_are_worth_their_share_with_discounts_and_add_up_to_the_total(shop):
    # 1000 and 500 less a discount of 101: 933 and 466
    adjustments = (Adjustment("discount", -101, "XMAS"),)
    completed(shop, ("p-1", 2), ("p-2", 1), adjustments=adjustments, total_minor=1399)
    worth = []
    for again in (False, True):
        worth.append(refund(shop, lines={1: 1}, again=again).amount_minor)
        shop.run()
    worth.append(refund(shop, lines={2: 1}).amount_minor)
    shop.run()
    assert worth == [466, 467, 466]
    assert shop.order().refunded_minor == 1399
    assert shop.order().status == "completed"  # its goods are with the customer
    assert_balanced(shop)


def test_never_more_goes_back_than_was_taken_and_no_more_units_than_were_ordered(shop):
    completed(shop)
    with pytest.raises(BadInput, match="line 1: 4 units cannot be paid back; 3 are left"):
        refund(shop, lines={1: 4})
    with pytest.raises(BadInput, match="has no line 2"):
        refund(shop, lines={2: 1})
    refund(shop, amount_minor=1200)
    with pytest.raises(OrderConflict, match="refund 1 is under way"):
        refund(shop, amount_minor=100)
    shop.run()
    with pytest.raises(BadInput, match=r"5\.00 EUR cannot go back, only 3\.00 EUR"):
        refund(shop, lines={1: 1})
    by_hand(shop, "1.00")
    assert refund(shop).amount_minor == 200
    shop.run()
    with pytest.raises(BadInput, match="nothing to give back"):
        refund(shop, again=True)
    assert books(shop) == [(1, "refunded", 1200), (2, "by_hand", 100), (3, "refunded", 200)]
    assert shop.order().refunded_minor == 1500
    assert_balanced(shop)


@pytest.mark.parametrize(
    "statement",
    [
        "UPDATE shop.orders SET refunded_minor = total_minor + 1",
        "UPDATE shop.order_items SET refunded = quantity + 1",
        "UPDATE shop.order_items SET returned = quantity + 1",
        "UPDATE shop.reservations SET returned = quantity + 1",
        "INSERT INTO shop.refunds (order_id, refund_no, capture_no, amount_minor, state)"
        " SELECT 'o-1', no, 1, 1, 'open' FROM generate_series(1, 2) AS no",
    ],
)
def test_the_database_refuses_more_than_there_was(shop, statement):
    # RFD1, RFD2
    completed(shop)
    with pytest.raises(DataRefused), shop.session.transaction() as tx:
        tx.execute(statement)


def test_goods_that_come_back_are_on_hand_again_and_paid_back_and_the_movement_is_recorded(shop):
    completed(shop, ("p-1", 3), ("p-2", 1))
    asked = come_back(shop, lines={1: 2, 2: 1})
    assert (asked.amount_minor, asked.restocked) == (1500, {"p-1": 2, "p-2": 1})
    assert come_back(shop, lines={1: 2, 2: 1}).is_duplicate
    shop.run()
    assert shop.stock() == {"p-1": (9, 0, 1), "p-2": (10, 0, 0)}
    assert "goods_returned" in shop.events()
    with shop.session.transaction() as tx:
        recorded = [(each.action, each.subject, each.reason) for each in actions.select(tx)]
    assert recorded == [
        (
            "order.return",
            "order o-1",
            "refund 1 of 15.00 EUR, refund 1x2 2x1, return 1x2 2x1, restock: damaged",
        ),
        ("stock.restock", "product p-2", "by 1: return 1 of order o-1: damaged"),
        ("stock.restock", "product p-1", "by 2: return 1 of order o-1: damaged"),
    ]
    with pytest.raises(BadInput, match="2 units cannot be returned; 1 are left"):
        come_back(shop, lines={1: 2}, refund=False)
    assert_balanced(shop)


def test_broken_goods_come_back_without_stock_and_paid_ones_without_money(shop):
    completed(shop)
    refund(shop, lines={1: 1})
    shop.run()
    asked = come_back(shop, lines={1: 1}, refund=False, restock=False)
    assert (asked.amount_minor, asked.restocked) == (0, {})
    shop.run()
    assert books(shop) == [(1, "refunded", 500), (2, "returned", 0)]
    assert [(each.refunded, each.returned) for each in shop.show().items] == [(1, 1)]
    assert shop.stock()["p-1"] == (7, 0, 3)
    assert_balanced(shop)


def test_goods_of_a_free_order_come_back_without_money(shop):
    completed(shop, adjustments=(Adjustment("gift_card", -1500),), total_minor=0, card_token=None)
    with pytest.raises(OrderConflict, match="was free"):
        refund(shop)
    assert come_back(shop, lines={1: 3}).amount_minor == 0
    assert shop.stock()["p-1"] == (10, 0, 0)
    assert_balanced(shop)


def test_an_order_that_is_not_paid_or_not_shipped_says_what_to_do_instead(shop):
    shop.place(an_order("o-1"))
    with pytest.raises(OrderConflict, match="is placed, not paid yet"):
        refund(shop)
    shop.run("inventory", "payment")
    with pytest.raises(OrderConflict, match="is not shipped yet"):
        come_back(shop, lines={1: 1})
    assert refund(shop, amount_minor=100).amount_minor == 100
    with pytest.raises(OrderConflict, match="under way"), shop.session.transaction() as tx:
        cancel_order("o-1", tx, "changed my mind")
    shop.run("payment")
    with shop.session.transaction() as tx:
        cancel_order("o-1", tx, "changed my mind")
    shop.run()
    assert moved(shop) == [("capture", 500), ("refund", 100), ("refund", 400)]
    assert shop.order().status == "refunded"
    with pytest.raises(OrderConflict, match="goes back by itself"):
        refund(shop)
    assert_balanced(shop)


def test_an_order_all_of_whose_money_went_back_in_parts_is_cancelled_without_another_refund(shop):
    shop.place(an_order("o-1"))
    shop.run("inventory", "payment")
    refund(shop)
    shop.run("payment")
    with shop.session.transaction() as tx:
        cancel_order("o-1", tx, "changed my mind")
    shop.run()
    assert (shop.order().status, shop.order().pending) == ("cancelled", [])
    assert shop.show().payment.state == "refunded"
    assert moved(shop) == [("capture", 500), ("refund", 500)]
    assert_balanced(shop)


def test_a_refund_whose_answer_is_lost_is_made_once(shop):
    completed(shop)
    refund(shop, lines={1: 1})
    (message,) = shop.take("payment")
    shop.sandbox.behave("payment", timeout=1.0)
    for _ in range(3):  # lost before or after it was made
        assert isinstance(shop.attempt(message), Postpone)
    shop.sandbox.behave("payment")
    assert shop.attempt(message) == DONE
    assert shop.attempt(message) == DONE
    shop.run()
    assert moved(shop) == [("capture", 1500), ("refund", 500)]
    assert_balanced(shop)


def at_the_dashboard(shop, amount_minor):
    capture_id = shop.show().payment.capture_id
    shop.payment.refund(Refund(f"dash-{amount_minor}", capture_id, amount_minor, "EUR"))


@pytest.mark.parametrize(("before_minor", "said"), [(1500, "by our books 15.00 EUR"), (1200, "only 300 of")])
def test_a_service_that_has_less_left_than_our_books_asks_a_person_who_reports_it(shop, before_minor, said):
    completed(shop)
    at_the_dashboard(shop, before_minor)
    refund(shop, lines={1: 1})
    (message,) = shop.take("payment")
    with pytest.raises(OrderConflict, match="a refund of it is under way"):
        by_hand(shop, f"{before_minor // 100}.00")
    outcome = shop.attempt(message)
    assert said in outcome.reason
    assert isinstance(outcome, Dead if before_minor == 1500 else Postpone)  # the other one: within an hour
    shop.die(message, outcome.reason)
    assert (shop.order().status, shop.order().pending) == ("completed", ["refund"])
    assert said in shop.order().attention_reason
    by_hand(shop, f"{before_minor // 100}.00")
    shop.run()
    assert (shop.order().pending, shop.order().attention_reason) == ([], None)
    assert books(shop) == [(1, "by_hand", before_minor)]
    assert_balanced(shop)


def test_all_that_is_left_may_have_gone_back_at_the_service_itself(shop):
    completed(shop)
    at_the_dashboard(shop, 1500)
    refund(shop)
    shop.run()
    assert books(shop) == [(1, "given_back", 1500)]
    assert_balanced(shop)


def test_a_refund_that_went_through_after_it_was_reported_by_hand_asks_a_person(shop):
    completed(shop)
    refund(shop, lines={1: 1})
    (message,) = shop.take("payment")
    claim, request = shop.prepare(message)
    shop.die(message)
    by_hand(shop, "5.00")
    assert shop.complete(message, claim, shop.call(message, request)) == DONE
    assert "reported by hand, and the payment service has made it too" in shop.order().attention_reason
    assert shop.order().refunded_minor == 500


def test_an_answer_to_the_refund_before_does_not_end_the_next(shop):
    completed(shop)
    refund(shop, lines={1: 1})
    (message,) = shop.take("payment")
    claim, request = shop.prepare(message)
    late = shop.call(message, request)
    assert shop.complete(message, claim, late) == DONE
    refund(shop, lines={1: 2})
    assert shop.complete(message, claim, late) == DONE
    assert books(shop) == [(1, "refunded", 500), (2, "open", 1000)]


def test_an_answer_about_another_amount_is_not_believed(shop, monkeypatch):
    completed(shop)
    refund(shop, lines={1: 1})
    (message,) = shop.take("payment")
    client = shop.payment._client
    post = client.post

    def other_money(path, body, **options):
        return post(path, {**body, "amount_minor": 400}, **options)

    monkeypatch.setattr(client, "post", other_money)
    outcome = shop.attempt(message)
    assert isinstance(outcome, Dead)
    assert "amount_minor '400' instead of 500" in outcome.reason


def test_reconcile_finds_refunds_that_the_books_do_not_share(shop):
    completed(shop)
    refund(shop, lines={1: 1})
    shop.run()
    at_the_dashboard(shop, 300)
    wrong = {check.name: check.offenders for check in shop.reconcile().checks if not check.is_ok}
    assert wrong == {
        "refund_books_agree": (
            "o-1: 300 went back at the gateway beside our refunds, of which 0 is in our books",
        )
    }
    by_hand(shop, "3.00")
    shop.run()
    assert_balanced(shop)
    with shop.session.transaction() as tx:
        tx.execute("UPDATE shop.refunds SET amount_minor = 501 WHERE refund_no = 1")
    wrong = {check.name: check.offenders for check in shop.reconcile().checks if not check.is_ok}
    assert wrong == {
        "refunds_add_up": ("o-1: 800 went back, refunds say 801",),
        "refund_books_agree": ("o-1: refund 1 of 501, gateway has 500 EUR",),
    }
