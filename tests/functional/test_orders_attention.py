"""Orders that need a person: who gets a text, how a person ends it, and when that is refused."""

import pytest
from msgspec.structs import replace

from ordermq.clock import utc_now
from ordermq.errors import OrderConflict, OrderNotFound
from ordermq.message import Envelope
from ordermq.shop.cli import passes
from ordermq.shop.cli.passes import BulkOptions, BulkWork
from ordermq.shop.cli.resolving import ResolveTally
from ordermq.shop.commands import AlertOperator
from ordermq.shop.resolve import resolve_order, resolve_orders
from ordermq.shop.selection import Selection
from ordermq.store import actions, dead_letters
from ordermq.task import DONE, Dead, Postpone, Retry
from tests.support.shop import an_order, open_shop

PHONE = "+493090"


@pytest.fixture
def shop(database, sandbox):
    with open_shop(database, sandbox, alert_phone=PHONE) as shop:
        shop.load(p_1=9)
        yield shop


def give_up(shop, message, reason):
    """Give a message up as the runtime does: its dead letter and what follows, in one transaction."""
    with shop.session.transaction() as tx:
        dead_letters.keep(tx, message.queue, [(message.envelope, message.body, reason)])
        message.handler.on_dead(message.payload, reason, tx)


def resolve(shop, order_id="o-1"):
    with shop.session.transaction() as tx:
        return resolve_order(order_id, tx, by="anna@shop1", reason="called them")


def letters(shop):
    with shop.session.transaction() as tx:
        return dead_letters.select(tx)


def paid(shop):
    shop.place(an_order("o-1"))
    shop.run("inventory", "payment")


# --- alerts -------------------------------------------------------------------


def test_an_event_that_needs_a_person_is_logged_counted_and_texted_once_it_is_committed(
    shop, sandbox, caplog
):
    # JRN3: the alert commits with the event; its log line and its count come after the commit.
    paid(shop)
    (message,) = shop.take("shipping")
    with pytest.raises(RuntimeError), shop.session.transaction() as tx:
        message.handler.on_dead(message.payload, "rolled back", tx)
        raise RuntimeError
    assert [each for each in caplog.records if each.levelname == "CRITICAL"] == []
    give_up(shop, message, "label printer refused")
    (line,) = [each.getMessage() for each in caplog.records if each.levelname == "CRITICAL"]
    assert line == "order o-1 needs a person: shipment_failed (step ship): label printer refused"

    (alert,) = shop.take("notify", types=["AlertOperator"])
    assert alert.envelope.message_id == "o-1:4:alert"
    assert alert.envelope.correlation_id == "o-1"
    assert alert.payload == AlertOperator(order_id="o-1", version=4, event="shipment_failed", step="ship")
    assert alert.envelope.traceparent[:35] == message.envelope.traceparent[:35]
    assert shop.attempt(alert) == DONE
    (text,) = [each for each in sandbox.ledger("sms") if each["reference"] == "alert:o-1:4"]
    assert (text["to"], "o-1" in text["text"], len(text["text"]) <= 160) == (PHONE, True, True)
    assert "printer" not in text["text"]


def test_without_a_phone_an_alert_is_done(database, sandbox):
    with open_shop(database, sandbox) as shop:
        shop.place(an_order("o-1"))
        shop.die(shop.take("inventory")[0])
        (alert,) = shop.take("notify", types=["AlertOperator"])
        assert shop.attempt(alert) == DONE
        assert sandbox.ledger("sms") == []


def alerts(shop, count):
    """The alerts of so many orders that fail together."""
    shop.place(*(an_order(f"o-{number}") for number in range(1, count + 1)))
    for message in shop.take("inventory"):
        shop.die(message)
    return shop.take("notify", types=["AlertOperator"])


def waits(message):
    """Let a message have been postponed, just now."""
    message.envelope = replace(message.envelope, first_failed_at=utc_now())
    return message


def alert_texts(sandbox):
    return [each["text"] for each in sandbox.ledger("sms") if each["reference"].startswith("alert:")]


def test_when_many_orders_fail_together_one_text_goes_out_at_once_and_the_others_wait(database, sandbox):
    with open_shop(database, sandbox, alert_phone=PHONE, alert_every_s=3600.0) as shop:
        first, *others = alerts(shop, 3)
        (claim, request), *answers = shop.prepare_all(first, *others)
        assert all(isinstance(answer, Postpone) for _, answer in answers)
        assert shop.complete(first, claim, shop.call(first, request)) == DONE
        (text,) = alert_texts(sandbox)
        assert text.startswith("Order o-1 needs a person: reservation_failed; 2 more do. Type:")
        # Nothing had seen them waiting when that text was made.
        assert [isinstance(shop.attempt(waits(each)), Postpone) for each in others] == [True, True]


def test_a_text_covers_the_alerts_that_waited_when_it_was_made_and_none_that_came_later(shop, sandbox):
    # ALR1
    first, second, late, *waiting = [waits(each) for each in alerts(shop, 50)]
    assert shop.attempt(first) == DONE
    assert shop.attempt(waits(late)) == DONE
    assert [shop.attempt(each) for each in (second, *waiting)] == [DONE] * 48
    texts = alert_texts(sandbox)
    assert len(texts) == 2
    assert all("; 49 more do." in text for text in texts)


def test_a_text_that_was_not_sent_covers_no_alert(shop, sandbox):
    first, second = [waits(each) for each in alerts(shop, 2)]
    sandbox.behave("sms", error=1.0)
    assert isinstance(shop.attempt(first), Postpone)
    assert isinstance(shop.attempt(second), Postpone)
    sandbox.behave("sms")
    assert shop.attempt(second) == DONE
    assert shop.attempt(first) == DONE
    assert len(alert_texts(sandbox)) == 1


def test_an_alert_of_unknown_outcome_is_tried_again_and_a_dead_one_raises_no_alert(shop, sandbox):
    shop.place(an_order("o-1"))
    shop.die(shop.take("inventory")[0])
    (alert,) = shop.take("notify", types=["AlertOperator"])
    sandbox.behave("sms", timeout=1.0)
    assert isinstance(shop.attempt(alert), Retry)
    sandbox.behave("sms", decline=1.0)
    assert isinstance(shop.attempt(alert), Dead)
    assert alert.handler.on_dead is None
    with shop.session.transaction() as tx:
        dead_letters.keep(tx, alert.queue, [(alert.envelope, alert.body, "refused")])
    sandbox.behave("sms")
    shop.run()
    assert shop.order().status == "cancelled"
    assert shop.events().count("attention_raised") == 0
    resolve(shop)
    assert shop.reconcile().is_ok


# --- resolving ----------------------------------------------------------------


def test_resolving_clears_the_reason_discards_the_letters_and_records_it(shop):
    paid(shop)
    (message,) = shop.take("points")
    give_up(shop, message, "gave up")
    shop.run()
    assert shop.order().attention_reason == "points_failed: gave up"
    assert shop.reconcile().is_ok
    resolved = resolve(shop)
    assert resolved.attention_reason == "points_failed: gave up"
    order = shop.order()
    assert (order.status, order.attention_reason) == ("completed", None)
    assert shop.events()[-1] == "attention_resolved"
    assert letters(shop) == []
    with shop.session.transaction() as tx:
        done = [(each.action, each.actor, each.reason) for each in actions.select(tx)]
    assert done == [
        ("dead.discard", "anna@shop1", "called them"), ("order.resolve", "anna@shop1", "called them"),
    ]  # fmt: skip
    assert shop.reconcile().is_ok
    assert resolve(shop).attention_reason is None  # asking twice is asking once
    assert shop.events().count("attention_resolved") == 1


def test_what_goes_wrong_after_a_resolve_asks_again(shop):
    paid(shop)
    give_up(shop, shop.take("points")[0], "first")
    resolve(shop)
    give_up(shop, shop.take("notify", types=["SendNotification"])[0], "second")
    assert shop.order().attention_reason == "notification_failed: second"
    shop.run()
    assert shop.reconcile().is_ok


@pytest.mark.parametrize(
    ("queue", "card", "command"),
    [("shipping", "0001", "CreateShipment"), ("inventory", "0002", "ReleaseStock")],
)
def test_a_step_that_must_be_done_cannot_be_resolved_away(shop, queue, card, command):
    shop.place(an_order("o-1", card=f"tok_{card}"))
    shop.handle(*shop.take("inventory"))
    shop.run("payment")
    (message,) = shop.take(queue, types=[command])
    give_up(shop, message, "gave up")
    shop.run("points", "notify")
    (letter,) = letters(shop)
    with pytest.raises(OrderConflict, match=f"ordermq dead replay {letter.dead_letter_id} "):
        resolve(shop)
    assert shop.order().attention_reason is not None
    with shop.session.transaction() as tx:
        assert dead_letters.replay(tx, letter, by="anna", reason="repaired")
    with pytest.raises(OrderConflict, match="ordermq-publish replay --order o-1"):
        resolve(shop)
    shop.run()
    resolve(shop)
    assert shop.order().pending == []
    assert shop.reconcile().is_ok


def test_of_many_orders_those_with_a_step_that_must_be_done_are_refused_and_the_others_resolved(shop):
    shop.place(*(an_order(f"o-{number}") for number in range(1, 5)))
    shop.handle(*shop.take("inventory"))
    shop.run("payment")
    unshipped, unpointed = shop.take("shipping"), shop.take("points")
    give_up(shop, next(each for each in unshipped if each.envelope.correlation_id == "o-1"), "gave up")
    give_up(shop, next(each for each in unpointed if each.envelope.correlation_id == "o-2"), "gave up")
    shop.run("notify")
    with shop.session.transaction() as tx:
        answers = resolve_orders(["o-1", "o-2", "o-3", "o-9"], tx, by="anna@shop1", reason="done")
    refused, resolved, unchanged, unknown = answers
    assert ("ship was given up" in str(refused.refused), refused.discarded) == (True, [])
    assert (resolved.attention_reason, len(resolved.discarded)) == ("points_failed: gave up", 1)
    assert (unchanged.attention_reason, unchanged.refused) == (None, None)
    assert isinstance(unknown.refused, OrderNotFound)
    assert shop.order("o-1").attention_reason == "shipment_failed: gave up"
    assert shop.order("o-2").attention_reason is None
    assert [each.correlation_id for each in letters(shop)] == ["o-1"]


def test_an_order_with_an_event_of_a_newer_release_is_refused_and_the_others_are_resolved(shop):
    shop.place(an_order("o-1"), an_order("o-2"))
    for message in shop.take("inventory"):
        give_up(shop, message, "gave up")
    with shop.session.transaction() as tx:
        tx.execute("INSERT INTO shop.order_events VALUES ('o-1', 9, 'points_failed', 'bonus', now(), '{}')")
        newer, resolved = resolve_orders(["o-1", "o-2"], tx, by="anna@shop1", reason="done")
    assert "event 9 of order o-1 ends the step 'bonus', which this code does not know" in str(newer.refused)
    assert newer.refused.exit_code == 78
    assert resolved.refused is None
    assert [shop.order(each).attention_reason is None for each in ("o-1", "o-2")] == [False, True]


def test_a_bulk_resolve_ends_only_what_its_forecast_saw(shop, monkeypatch):
    shop.place(an_order("o-1"), an_order("o-2"))
    shop.handle(*shop.take("inventory"))
    shop.run("payment")
    first, second = sorted(shop.take("points"), key=lambda each: each.envelope.correlation_id)
    give_up(shop, first, "gave up")
    # While the operator reads the forecast, a second order comes to need a person.
    monkeypatch.setattr(passes, "ask", lambda question, *, yes: give_up(shop, second, "gave up too"))

    def work(order_ids, tx):
        return resolve_orders(order_ids, tx, by="anna@shop1", reason="done")

    options = BulkOptions(reason="done", rate=0.0, yes=False, dry_run=False, as_json=True)
    bulk = BulkWork("resolve", work, work, ResolveTally, str)
    tally = passes.forecast_and_do(shop.session, Selection(needs_person=True), bulk, options)
    assert tally.counts.total() == 1
    assert shop.order("o-1").attention_reason is None
    assert shop.order("o-2").attention_reason == "points_failed: gave up too"
    assert [each.correlation_id for each in letters(shop)] == ["o-2"]


def test_a_letter_that_is_replayed_meanwhile_is_not_said_to_be_discarded(shop, monkeypatch):
    paid(shop)
    give_up(shop, shop.take("points")[0], "gave up")
    monkeypatch.setattr(dead_letters, "discard", lambda tx, ids, *, by, reason: set())
    assert resolve(shop).discarded == []


def test_an_unknown_order_cannot_be_resolved(shop):
    with pytest.raises(OrderNotFound):
        resolve(shop, "o-7")


def test_an_alert_says_nothing_of_the_customer(shop):
    paid(shop)
    give_up(shop, shop.take("shipping")[0], "could not reach anna@example.com")
    (alert,) = shop.take("notify", types=["AlertOperator"])
    assert isinstance(alert.envelope, Envelope)
    assert b"anna" not in alert.body
