"""Notifications against the sandbox SMS service: at most once, whatever happens."""

from contextlib import closing

import pytest

from ordermq.cli.program import migrations_for
from ordermq.errors import GatewayUnavailable
from ordermq.shop import cancel_order, module, place_order
from ordermq.shop.commands import SendNotification, Template
from ordermq.shop.handlers import SendNotificationHandler
from ordermq.shop.notifications import NotificationChannel, adopt
from ordermq.store import Session, migrate
from ordermq.task import DONE, Dead, Postpone
from tests.support.shop import an_order, foreign, open_shop


@pytest.fixture
def shop(database, sandbox):
    with open_shop(database, sandbox) as shop:
        yield shop


def cancelled(shop, order_id="o-1", **changes):
    """Place and cancel an order; return its SendNotification."""
    shop.place(an_order(order_id, **changes))
    with shop.session.transaction() as tx:
        cancel_order(order_id, tx, "changed my mind")
    (message,) = shop.take("notify")
    return message


def sent(shop):
    return [entry["reference"] for entry in shop.sandbox.ledger("sms")]


def state(shop):
    (row,) = shop.show().notifications
    return row.state


def test_a_customer_gets_one_text_however_often_the_message_comes(shop):
    message = cancelled(shop)
    for _ in range(3):
        assert shop.attempt(message) == DONE
    assert sent(shop) == ["o-1:order_cancelled"]
    assert state(shop) == "sent"
    assert shop.show().notifications[0].provider_id == shop.sandbox.ledger("sms")[0]["message_id"]
    assert shop.events().count("notification_sent") == 1


def test_the_text_names_the_order_and_the_phone_is_the_customer_s(shop):
    shop.attempt(cancelled(shop, phone="+4915112345678"))
    (entry,) = shop.sandbox.ledger("sms")
    assert entry["to"] == "+4915112345678"
    assert entry["text"] == "Your order o-1 was cancelled. Anything we charged is paid back."


@pytest.mark.parametrize("phone", ["please ring twice", "+49 30"])
def test_a_phone_that_is_no_number_costs_the_text_and_not_the_order(shop, phone):
    assert shop.attempt(cancelled(shop, phone=phone, notify="text")) == DONE
    [told] = shop.show().notifications
    assert (told.state, told.reason) == ("skipped", "the phone number cannot be used")
    assert shop.sandbox.ledger("sms") == []
    assert "notify_cancelled" not in shop.order().pending
    assert shop.order().attention_reason is None


def test_a_national_number_is_texted_in_the_country_that_is_set(shop, tmp_path):
    message = cancelled(shop, phone="030 / 12 34 56")
    shop.external["SendNotification"] = SendNotificationHandler(shop.sms, region="DE")
    assert shop.attempt(message) == DONE
    assert [entry["to"] for entry in shop.sandbox.ledger("sms")] == ["+4930123456"]


def test_an_order_without_a_phone_is_skipped(shop):
    assert shop.attempt(cancelled(shop, phone=None, notify="text")) == DONE
    assert state(shop) == "skipped"
    assert shop.events()[-1] == "notification_skipped"
    assert shop.order().attention_reason is None


@pytest.mark.parametrize(("ending", "was_sent"), [("0003", 1), ("0004", 0)])
def test_a_time_out_is_unknown_and_never_sent_again(shop, ending, was_sent):
    message = cancelled(shop, phone=f"+49301{ending}")
    assert shop.attempt(message) == DONE
    assert state(shop) == "unknown"
    assert shop.order().attention_reason.startswith("notification_unknown: ")
    assert shop.attempt(message) == DONE
    assert shop.attempt(message, resumed=True) == DONE
    assert len(sent(shop)) == was_sent


def test_a_message_whose_sender_did_not_come_back_is_unknown_and_never_sent_again(shop):
    # NTF1, NTF2: the row was committed as ``sending`` before the call that is missing here.
    message = cancelled(shop)
    shop.prepare(message)  # and the process dies
    assert shop.attempt(message, resumed=True) == DONE
    assert state(shop) == "unknown"
    assert sent(shop) == []


def test_a_result_that_arrives_after_the_text_was_taken_for_unknown_is_written(shop):
    message = cancelled(shop)
    claim, request = shop.prepare(message)
    shop.attempt(message, resumed=True)
    assert shop.complete(message, claim, shop.call(message, request)) == DONE
    assert state(shop) == "sent"
    assert shop.events()[-2:] == ["notification_unknown", "notification_sent"]


def test_a_refusal_for_now_is_tried_again(shop):
    message = cancelled(shop, phone="+493010005")
    outcome = shop.attempt(message)
    assert isinstance(outcome, Postpone)
    assert outcome.delay_s == 1.0
    assert state(shop) == "failed"
    assert shop.attempt(message) == DONE
    assert state(shop) == "sent"
    assert len(sent(shop)) == 1


def test_a_service_that_is_down_is_tried_again(shop):
    message = cancelled(shop)
    shop.sandbox.stop()
    outcome = shop.attempt(message)
    assert isinstance(outcome, Postpone)
    assert "cannot connect" in outcome.reason
    shop.sandbox.start()
    assert shop.attempt(message) == DONE
    assert len(sent(shop)) == 1


def test_a_service_restarted_between_two_messages_costs_no_message(shop):
    # Given a kept-alive connection whose other end is gone
    shop.attempt(cancelled(shop, "o-1"))
    shop.sandbox.stop()
    shop.sandbox.start()
    # When the next message is sent, it is not sent into the void
    assert shop.attempt(cancelled(shop, "o-2")) == DONE
    assert sent(shop) == ["o-1:order_cancelled", "o-2:order_cancelled"]


def test_a_number_that_takes_no_messages_is_dead_and_the_order_goes_on(shop):
    message = cancelled(shop, phone="+493010002")
    outcome = shop.attempt(message)
    assert outcome == Dead("the SMS service refused it with 422")
    shop.die(message, outcome.reason)
    assert state(shop) == "failed"
    assert shop.order().pending == ["reserve"]
    assert shop.order().attention_reason.startswith("notification_failed")


def test_what_was_given_up_unsent_can_be_replayed(shop):
    message = cancelled(shop)
    claim, _ = shop.prepare(message)
    shop.complete(message, claim, GatewayUnavailable("no connection"))
    shop.die(message)
    assert shop.attempt(message) == DONE
    assert state(shop) == "sent"
    assert shop.events()[-2:] == ["notification_failed", "notification_sent"]


def test_what_was_being_sent_when_given_up_is_unknown_and_stays_unsent_by_a_replay(shop):
    message = cancelled(shop)
    shop.prepare(message)  # it kills the process, three times
    shop.die(message, "killed the process")
    assert state(shop) == "unknown"
    assert shop.attempt(message) == DONE
    assert sent(shop) == []


def test_a_foreign_message_cannot_tell_a_customer_what_is_not_so(shop):
    message = cancelled(shop)
    shop.attempt(message)
    confirm = SendNotification(order_id="o-1", template=Template.ORDER_CONFIRMED)
    assert shop.attempt(foreign("notify", confirm)) == DONE
    assert sent(shop) == ["o-1:order_cancelled"]


def test_a_notification_before_its_time_is_postponed(shop):
    shop.place(an_order("o-1"))
    confirm = SendNotification(order_id="o-1", template=Template.ORDER_CONFIRMED)
    assert isinstance(shop.attempt(foreign("notify", confirm)), Postpone)


def test_requests_and_errors_show_no_phone_and_no_text(shop):
    message = cancelled(shop, phone="+493010004")
    _, request = shop.prepare(message)
    assert "49301" not in repr(request)
    assert "Your order" not in repr(request)
    assert "49301" not in str(shop.call(message, request))


def test_a_restored_database_learns_from_the_ledger_which_texts_were_sent(shop, sandbox):
    message = cancelled(shop)
    shop.sms.send("+4930123456", "sent after the backup", reference="o-1:order_cancelled")
    with shop.session.transaction() as tx:
        (page,) = shop.sms.sent()
        ledger = [*page, "o-9:order_confirmed", "alert:o-1:4", "o-1:no_template"]
        assert adopt(ledger, NotificationChannel.TEXT, tx) == [("o-1", Template.ORDER_CANCELLED, 0)]
        assert adopt(ledger, NotificationChannel.TEXT, tx) == []
    assert shop.attempt(message) == DONE
    shop.run()
    assert [each["reference"] for each in sandbox.ledger("sms")] == ["o-1:order_cancelled"]
    assert (shop.order().pending, shop.order().attention_reason) == ([], None)
    assert shop.reconcile().is_ok


@pytest.mark.empty_database
def test_notifications_of_before_are_those_of_their_only_refund(database):
    # Given a database of before: a customer was told of a refund, and is being told of a confirmation
    with closing(Session(database.settings, name="before")) as session:
        migrations = migrations_for([module])
        migrate.migrate(session, [each for each in migrations if (each.scope, each.number) < ("shop", 8)])
        with session.transaction() as tx:
            place_order(an_order("o-1"), tx)
            tx.write_values(
                "INSERT INTO shop.notifications (order_id, template, state) VALUES %s",
                [("o-1", "order_refunded", "sent"), ("o-1", "order_confirmed", "sending")],
            )
        # When it is migrated
        migrate.migrate(session, migrations)
        # Then the refund is its first, and both were texts
        with session.transaction() as tx:
            rows = tx.fetch_all("SELECT template, channel, number, state FROM shop.notifications ORDER BY 1")
        assert rows == [("order_confirmed", "text", 0, "sending"), ("order_refunded", "text", 1, "sent")]
