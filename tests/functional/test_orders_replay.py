"""Lost messages of orders: found by the history, sent again under their ids, never beside one that waits."""

import pytest
from msgspec.structs import replace

from ordermq.config import Loaded, Settings
from ordermq.message.envelope import MAX_HOP
from ordermq.message.headers import to_properties
from ordermq.shop import ShopSettings, cancel_order
from ordermq.shop.effects import ALERTS, BOOKINGS, TEXTS
from ordermq.shop.events import Event, EventType, Step
from ordermq.shop.forecast import forecast
from ordermq.shop.handlers import CapturePaymentHandler
from ordermq.shop.replay import Found, Wish, plan_orders, replay_orders, sends
from ordermq.shop.resolve import resolve_order
from ordermq.store import dead_letters, inbox
from ordermq.task import DONE, Claim
from ordermq.task.forecast import PlannedMessage
from tests.support.inbox import settled
from tests.support.shop import an_order, open_shop

HOUR_S = 3600.0


@pytest.fixture
def shop(database):
    """One reserved order whose CapturePayment was taken off the outbox and never came back."""
    with open_shop(database) as shop:
        shop.load(p_1=9)
        shop.place(an_order("o-1"))
        shop.handle(*shop.take("inventory"))
        (shop.lost,) = shop.take("payment")
        yield shop


EVERYTHING = Wish(allow_notify=True)


def replay(shop, *order_ids, wish=EVERYTHING):
    """Return what was decided about the messages of pending steps, and about orders without any."""
    with shop.session.transaction() as tx:
        planned = replay_orders(order_ids or ("o-1",), tx, wish)
    return [each for each in planned if each.found is not Found.DONE]


def in_transaction(shop, function, *args, **kwargs):
    with shop.session.transaction() as tx:
        return function(tx, *args, **kwargs)


def seen(shop, outcome, hop):
    in_transaction(shop, inbox.settle, "payment", [("o-1:2:payment", hop)], outcome)


def die(shop, hop=0):
    seen(shop, "dead", hop)
    in_transaction(shop, dead_letters.keep, "payment", [(shop.lost.envelope, shop.lost.body, "gave up")])
    return in_transaction(shop, dead_letters.select)[0]


def outbox(shop):
    with shop.session.transaction() as tx:
        return tx.fetch_all("SELECT message_id, type, attempt, hop, replay_no FROM ordermq.outbox")


def test_a_message_that_no_consumer_has_seen_is_sent_as_the_first_time_in_the_order_s_trace(shop):
    (answer,) = replay(shop)
    assert (answer.found, answer.step, answer.message_id, answer.hop) == (
        Found.SENT, Step.CAPTURE, "o-1:2:payment", 0,
    )  # fmt: skip
    (again,) = shop.take("payment")
    assert (again.envelope.message_id, again.envelope.type, again.envelope.hop, again.body) == (
        "o-1:2:payment", "CapturePayment", 0, shop.lost.body,
    )  # fmt: skip
    assert again.envelope.traceparent[:35] == shop.lost.envelope.traceparent[:35]


@pytest.mark.parametrize("outcome", ["retry", "postponed"])
def test_what_was_to_come_again_is_sent_as_the_hop_that_was_lost(shop, outcome):
    seen(shop, outcome, 4)
    replay(shop)
    assert outbox(shop) == [("o-1:2:payment", "CapturePayment", 1, 5, 1)]


def test_what_waits_in_the_outbox_is_on_its_way_however_late(shop):
    replay(shop)
    with shop.session.transaction() as tx:
        tx.execute("UPDATE ordermq.outbox SET available_at = now() + interval '1 hour'")
    (answer,) = replay(shop)
    assert (answer.found, len(outbox(shop))) == (Found.WAITING, 1)


def test_a_dead_letter_is_named_and_not_sent(shop):
    letter = die(shop)
    (answer,) = replay(shop)
    assert (answer.found, f"dead replay {letter.dead_letter_id} " in answer.note) == (Found.DEAD, True)
    assert outbox(shop) == []


@pytest.mark.parametrize("decision", [dead_letters.replay, None])
def test_a_letter_whose_replay_was_lost_or_that_was_discarded_is_sent_as_the_next_death_to_be(shop, decision):
    letter = die(shop)
    if decision is None:
        in_transaction(shop, dead_letters.discard, [letter.dead_letter_id], by="me", reason="wrong")
    else:
        in_transaction(shop, decision, letter, by="me", reason="repaired")
        shop.take("payment")
    replay(shop)
    # replay_no 1: if it dies again, that is a dead letter of its own.
    assert outbox(shop) == [("o-1:2:payment", "CapturePayment", 1, 1, 1)]


def test_a_step_that_is_pending_although_its_message_is_done_is_reported(shop):
    seen(shop, "done", 0)
    (answer,) = replay(shop)
    assert answer.found is Found.IMPOSSIBLE
    assert outbox(shop) == []


def test_a_step_whose_message_is_done_is_sent_anew_once_and_ends(shop):
    seen(shop, "done", 3)
    answers = replay(shop, wish=Wish(anew=True))
    assert [(each.found, each.hop) for each in answers] == [(Found.SENT, 4)]
    assert replay(shop, wish=Wish(anew=True))[0].found is Found.WAITING
    assert outbox(shop) == [("o-1:2:payment", "CapturePayment", 1, 4, 1)]
    # What is under way of an earlier hop stays settled; the new one is done once.
    key = "o-1:2:payment"
    assert in_transaction(shop, settled, "payment", [(key, 3)]) == {key}
    assert in_transaction(shop, settled, "payment", [(key, 4)]) == set()
    assert in_transaction(shop, inbox.settle, "payment", [(key, 4)], "done") == {key}


def test_nothing_happens_to_an_order_between_looking_and_sending(shop):
    # RPL2
    def cancel(session):
        with session.transaction() as tx:
            return cancel_order("o-1", tx, "customer")

    answers = []
    cancelled = shop.one_after_another(
        lambda tx: answers.extend(replay_orders(["o-1"], tx, EVERYTHING)), cancel
    )
    assert [each.found for each in answers] == [Found.DONE, Found.SENT]
    assert not cancelled.is_duplicate
    assert shop.events()[-1] == "cancel_requested"


@pytest.mark.parametrize("hop", [999_999, 1_000_000, MAX_HOP - 1, MAX_HOP])
def test_a_message_lost_after_any_number_of_hops_is_sent_at_one_that_the_inbox_accepts(shop, hop):
    seen(shop, "postponed", hop)
    (answer,) = replay(shop)
    assert answer.hop == min(hop + 1, MAX_HOP)
    (again,) = shop.take("payment")
    key = (again.envelope.message_id, again.envelope.hop)
    assert in_transaction(shop, inbox.settle, "payment", [key], "done") == {key[0]}


def test_a_dead_letter_that_can_never_be_replayed_keeps_no_order_from_being_replayed(shop):
    broken = replace(shop.lost.envelope, version=0, type="", correlation_id="")
    in_transaction(shop, dead_letters.keep, "payment", [(broken, shop.lost.body, "MalformedMessage")])
    (answer,) = replay(shop)
    assert answer.found is Found.SENT
    assert in_transaction(shop, settled, "payment", [("o-1:2:payment", answer.hop)]) == set()


def test_the_replay_of_a_message_that_no_handler_could_read_is_not_taken_for_one_settled_before(shop):
    seen(shop, "postponed", 5)
    in_transaction(shop, dead_letters.keep, "payment", [(shop.lost.envelope, b"{", "MalformedMessage")])
    [letter] = in_transaction(shop, dead_letters.select)
    in_transaction(shop, dead_letters.replay, letter, by="me", reason="mended")
    assert [row[3] for row in outbox(shop)] == [6]


def test_a_cancelled_order_whose_capture_vanished_comes_to_rest_once_it_is_replayed(shop):
    seen(shop, "postponed", 1_000_000)
    in_transaction(shop, lambda tx: cancel_order("o-1", tx, "changed my mind"))
    with shop.session.transaction() as tx:
        resolved = resolve_order("o-1", tx, by="me", reason="it hangs")
    assert (resolved.attention_reason, "capture" in resolved.pending) == (None, True)
    replay(shop)
    (again,) = shop.take("payment")
    with shop.session.transaction() as tx:
        claim = Claim(again.payload, again.envelope, False, 5.0)
        [outcome] = CapturePaymentHandler(None, settles_s=0.0).prepare([claim], tx)
    assert (outcome, shop.events()[-1]) == (DONE, "payment_skipped")


def test_each_pending_step_of_an_order_gets_its_own_answer(shop):
    in_transaction(shop, lambda tx: cancel_order("o-1", tx, "changed my mind"))
    shop.place(an_order("o-2", ("p-1", 99)))
    shop.run("inventory")
    shop.take("notify")
    with shop.session.transaction() as tx:
        tx.execute("UPDATE shop.orders SET pending = '{}' WHERE order_id = 'o-2'")
    found = {(each.order_id, each.step): each.found for each in replay(shop, "o-1", "o-2", "o-9", "o-1")}
    assert found == {
        ("o-1", Step.CAPTURE): Found.SENT,
        ("o-1", Step.NOTIFY_CANCELLED): Found.SENT,
        ("o-9", None): Found.UNKNOWN,
    }
    assert sorted(row[0] for row in outbox(shop)) == ["o-1:2:payment", "o-1:3:notify"]


def test_no_customer_is_told_unless_that_is_allowed(shop):
    in_transaction(shop, lambda tx: cancel_order("o-1", tx, "changed my mind"))
    shop.take("notify")
    found = {each.step: each.found for each in replay(shop, wish=Wish())}
    assert found[Step.NOTIFY_CANCELLED] is Found.SUPPRESSED
    found = {each.step: each.effect for each in replay(shop, wish=Wish("notify", allow_notify=True))}
    assert found == {Step.NOTIFY_CANCELLED: TEXTS}


def test_what_is_planned_changes_nothing_and_what_is_sent_says_that_it_was_replayed(shop):
    planned = in_transaction(shop, lambda tx: plan_orders(["o-1"], tx, EVERYTHING))
    assert [each.found for each in planned] == [Found.DONE, Found.SENT]
    assert outbox(shop) == []
    assert replay(shop) == [planned[1]]
    assert outbox(shop) == [("o-1:2:payment", "CapturePayment", 1, 0, 1)]
    sent = to_properties(replace(shop.lost.envelope, replay_no=1))
    assert sent.headers["x-ordermq-replayed"] == 1


@pytest.mark.parametrize("is_outside", [False, True])
def test_dead_letters_are_forecast_with_points_and_alerts_where_they_leave_the_shop(shop, is_outside):
    settings = ShopSettings(points_gateway="x:Y" * is_outside, alert_phone="+49301" * is_outside)
    messages = [
        PlannedMessage("CapturePayment", "o-1", b'{"order_id":"o-1"}'),
        PlannedMessage("AlertOperator", "o-1", b"{}"),
        PlannedMessage("AwardPoints", "o-1", b'{"order_id":"o-1"}'),
    ]
    with shop.session.transaction() as tx:
        tx.execute("UPDATE shop.orders SET pending = '{capture,award}'")
        capture, alert, award = forecast(tx, Loaded(Settings(), {"shop": settings}, {}), messages)
    assert str(capture.amount) == "5.00"
    assert (alert, award) == ((ALERTS, BOOKINGS) if is_outside else (None, None))


def test_a_step_sent_twice_is_replayed_as_it_was_sent_last():
    history = [
        Event(EventType.ORDER_PLACED),
        Event(EventType.STOCK_RESERVED, Step.RESERVE),
        Event(EventType.PAYMENT_FAILED, Step.CAPTURE),
        Event(EventType.PAYMENT_CAPTURED, Step.CAPTURE),
    ]
    assert dict(sends(enumerate(history, start=1)))[Step.REFUND] == 4
    assert sends([(1, Event(EventType.SHIPMENT_CREATED, Step.SHIP))]) == []
