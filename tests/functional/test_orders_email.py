"""E-mails to customers through the sandbox's mail server: at most once, whatever happens."""

import pytest

from ordermq.shop import cancel_order
from ordermq.shop.commands import SendEmail, Template
from ordermq.shop.events import EventType, Step
from ordermq.shop.journal import Journal
from ordermq.shop.model import Contact
from ordermq.shop.notifications import NotificationChannel, adopt
from ordermq.task import DONE, Dead, Postpone
from tests.support.shop import an_order, foreign, open_shop


@pytest.fixture
def shop(database, sandbox):
    with open_shop(database, sandbox) as shop:
        shop.load(p_1=1000)
        yield shop


def by(shop, notify, order_id="o-1", email="anna@example.com", phone="+4930123456"):
    """Place an order whose customer is told by ``notify``: text, email, both or none."""
    contact = Contact(email=email, phone=phone)
    shop.place(an_order(order_id, contact=contact, notify=notify))


def cancelled(shop, order_id="o-1", **changes):
    """Place and cancel an order; return its SendEmail."""
    by(shop, "email", order_id, **changes)
    with shop.session.transaction() as tx:
        cancel_order(order_id, tx, "changed my mind")
    (message,) = shop.take("email")
    return message


def ids(shop):
    return [entry["message_id"].partition("/shop@")[0][1:] for entry in shop.sandbox.ledger("mail")]


def states(shop, order_id="o-1"):
    return {(row.template, row.channel, row.number): row.state for row in shop.show(order_id).notifications}


def state(shop):
    (only,) = states(shop).values()
    return only


def test_a_customer_gets_one_email_however_often_the_message_comes(shop):
    message = cancelled(shop)
    for _ in range(3):
        assert shop.attempt(message) == DONE
    (entry,) = shop.sandbox.ledger("mail")
    assert entry["message_id"] == "<o-1/order_cancelled/shop@shop.example>"
    assert (entry["to"], entry["subject"]) == ("anna@example.com", "Your order o-1 was cancelled")
    assert "Anything we charged is paid back." in entry["text"]
    assert "<p>Your order o-1 was cancelled.</p>" in entry["html"]
    assert states(shop) == {("order_cancelled", "email", 0): "sent"}
    assert shop.show().notifications[0].provider_id == "250 2.0.0"
    assert shop.events().count("notification_sent") == 1
    assert shop.sandbox.ledger("sms") == []


@pytest.mark.parametrize(
    ("notify", "texts", "emails"), [("text", 1, 0), ("email", 0, 1), ("both", 1, 1), ("none", 0, 0)]
)
def test_an_order_is_told_by_the_channels_it_names(shop, notify, texts, emails):
    # SAG5
    by(shop, notify)
    shop.run()
    assert [len(shop.sandbox.ledger(each)) for each in ("sms", "mail")] == [texts, emails]
    assert shop.order().status == "completed"
    assert shop.reconcile().is_ok


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"email": None}, "no e-mail address"),
        ({"email": "<anna>@example.com"}, "the e-mail address cannot be used"),
    ],
)
def test_an_order_without_an_address_that_can_be_used_is_skipped(shop, changes, reason):
    assert shop.attempt(cancelled(shop, **changes)) == DONE
    assert (state(shop), shop.show().notifications[0].reason) == ("skipped", reason)
    assert shop.events()[-1] == "notification_skipped"
    assert shop.order().attention_reason is None


def test_a_shop_without_a_mail_server_skips_the_email_and_completes_the_order(database, sandbox):
    with open_shop(database, sandbox, mail=False) as shop:
        shop.load(p_1=1)
        by(shop, "email")
        shop.run()
        assert (state(shop), shop.order().status) == ("skipped", "completed")
        assert shop.show().notifications[0].reason == "no mail server is configured"
        assert shop.reconcile().is_ok


def test_a_number_that_is_none_costs_the_text_and_not_the_order(shop):
    by(shop, "both", phone="call me")
    shop.run()
    assert states(shop) == {
        ("order_confirmed", "text", 0): "skipped",
        ("order_confirmed", "email", 0): "sent",
    }
    assert (shop.order().status, shop.order().attention_reason) == ("completed", None)


def test_a_connection_lost_after_the_message_is_unknown_and_never_sent_again(shop):
    # NTF2
    message = cancelled(shop, email="anna0003@example.com")
    assert shop.attempt(message) == DONE
    assert state(shop) == "unknown"
    assert shop.order().attention_reason.startswith(
        "notification_unknown: OutcomeUnknown: the mail server got"
    )
    assert shop.attempt(message) == DONE
    assert shop.attempt(message, resumed=True) == DONE
    assert ids(shop) == ["o-1/order_cancelled"]


@pytest.mark.parametrize("ending", ["0004", "0005"])
def test_what_was_certainly_not_taken_is_sent_the_second_time(shop, ending):
    message = cancelled(shop, email=f"anna{ending}@example.com")
    assert isinstance(shop.attempt(message), Postpone)
    assert state(shop) == "failed"
    assert shop.attempt(message) == DONE
    assert (state(shop), ids(shop)) == ("sent", ["o-1/order_cancelled"])


def test_a_message_whose_sender_did_not_come_back_is_unknown_and_never_sent_again(shop):
    # NTF1: the row was committed as ``sending`` before the call that is missing here.
    message = cancelled(shop)
    shop.prepare(message)  # and the process dies
    assert shop.attempt(message, resumed=True) == DONE
    assert (state(shop), ids(shop)) == ("unknown", [])


def test_a_mailbox_that_is_none_is_dead_and_the_order_goes_on(shop):
    message = cancelled(shop, email="anna0002@example.com")
    outcome = shop.attempt(message)
    assert outcome == Dead("the mail server answered 550 5.1.1 to the recipient")
    shop.die(message, outcome.reason)
    assert state(shop) == "failed"
    assert shop.order().pending == ["reserve"]
    assert shop.order().attention_reason.startswith("notification_failed")


def test_a_server_that_is_down_costs_no_attempt(shop):
    message = cancelled(shop)
    shop.sandbox.stop()
    outcome = shop.attempt(message)
    assert isinstance(outcome, Postpone)
    assert "before the message: Connection refused" in outcome.reason
    shop.sandbox.start()
    assert shop.attempt(message) == DONE
    assert ids(shop) == ["o-1/order_cancelled"]


def test_a_foreign_message_cannot_tell_a_customer_what_is_not_so(shop):
    shop.attempt(cancelled(shop))
    for template in (Template.ORDER_CONFIRMED, Template.PAYMENT_DUE):
        assert shop.attempt(foreign("email", SendEmail(order_id="o-1", template=template))) == DONE
    assert ids(shop) == ["o-1/order_cancelled"]


def test_requests_and_errors_show_no_address_and_no_text(shop, caplog):
    message = cancelled(shop, email="anna0005@example.com")
    _, request = shop.prepare(message)
    for shown in (repr(request), str(shop.call(message, request)), caplog.text):
        assert "anna" not in shown
        assert "Your order" not in shown


def test_a_restored_database_learns_from_the_books_which_emails_were_sent(shop):
    message = cancelled(shop)
    _, request = shop.prepare(message)
    shop.call(message, request)  # after the backup
    shop.database.sql("DELETE FROM shop.notifications")
    with shop.session.transaction() as tx:
        (page,) = shop.mail.sent()
        assert adopt(page, NotificationChannel.EMAIL, tx) == [("o-1", Template.ORDER_CANCELLED, 0)]
        assert adopt(page, NotificationChannel.EMAIL, tx) == []
    assert shop.attempt(message) == DONE
    shop.run()
    assert ids(shop) == ["o-1/order_cancelled"]
    assert shop.order().pending == []
    assert shop.reconcile().is_ok


def test_reconcile_names_an_email_that_the_books_have_twice_or_not_at_all(shop):
    message = cancelled(shop)
    shop.attempt(message)
    shop.run()
    page = ["o-1:order_cancelled", "o-1:order_cancelled"]
    wrong = {check.name: check.offenders for check in shop.reconcile(emails=[page]).checks if check.wrong}
    assert wrong == {"notified_at_most_once": ("o-1:order_cancelled: 2 e-mails",)}
    wrong = {check.name: check.offenders for check in shop.reconcile(emails=[[]]).checks if check.wrong}
    assert wrong == {"message_books_agree": ("o-1:order_cancelled by e-mail: sent, not sent",)}


# --- several refunds, several declined cards ----------------------------------


def refund(shop, amount_minor, order_id="o-1"):
    """Record that a part went back; return the command that tells the customer."""
    with shop.session.transaction() as tx:
        journal = Journal(tx, [order_id])
        journal.record(order_id, EventType.REFUND_REQUESTED)
        journal.record(order_id, EventType.PAYMENT_REFUNDED, Step.REFUND, amount_minor=amount_minor)
        journal.write()
    (message,) = shop.take("email")
    return message


def refunds_told(shop):
    return [
        entry["subject"] for entry in shop.sandbox.ledger("mail") if "/order_refunded" in entry["message_id"]
    ]


@pytest.fixture
def completed(shop):
    by(shop, "email")
    shop.run()
    return shop


def test_each_refund_is_told_once_with_its_own_amount(completed):
    # NTF4
    first = refund(completed, 120)
    assert completed.attempt(first) == DONE
    second = refund(completed, 30)
    for message in (second, first, second):
        assert completed.attempt(message) == DONE
    assert refunds_told(completed) == ["We have paid back 1.20 EUR", "We have paid back 0.30 EUR"]
    assert ids(completed)[1:] == ["o-1/order_refunded", "o-1/order_refunded/2"]


def test_a_refund_while_another_is_being_told_waits_and_is_told_afterwards(completed):
    # NTF4
    first = refund(completed, 120)
    claim, request = completed.prepare(first)
    second = refund(completed, 30)
    assert isinstance(completed.attempt(second), Postpone)
    assert completed.complete(first, claim, completed.call(first, request)) == DONE
    assert "email_refunded" in completed.order().pending  # the second is still to be told
    assert completed.attempt(second) == DONE
    assert completed.order().pending == ["adjust_points"]
    assert refunds_told(completed) == ["We have paid back 1.20 EUR", "We have paid back 0.30 EUR"]


def test_one_email_tells_of_a_refund_that_could_not_be_told_before(completed):
    # NTF4
    first = refund(completed, 120)
    completed.sandbox.behave("mail", error=1.0)
    assert isinstance(completed.attempt(first), Postpone)
    completed.sandbox.behave("mail")
    second = refund(completed, 30)
    for message in (second, first, second):
        assert completed.attempt(message) == DONE
    assert refunds_told(completed) == ["We have paid back 1.50 EUR"]


def test_a_refund_that_was_perhaps_told_is_not_told_again_with_the_next(completed):
    first = refund(completed, 120)
    completed.prepare(first)  # and the process dies
    completed.attempt(first, resumed=True)
    assert completed.attempt(refund(completed, 30)) == DONE
    assert refunds_told(completed) == ["We have paid back 0.30 EUR"]


def test_a_message_of_before_without_a_number_tells_of_every_refund_that_was_not_told(completed):
    refund(completed, 120)
    refund(completed, 30)
    message = foreign("email", SendEmail(order_id="o-1", template=Template.ORDER_REFUNDED))
    assert completed.attempt(message) == DONE
    assert refunds_told(completed) == ["We have paid back 1.50 EUR"]


def decline(shop, order_id="o-1"):
    """Record that the card was declined, with a grace of an hour; return the command that tells it."""
    with shop.session.transaction() as tx:
        journal = Journal(tx, [order_id])
        journal.record(order_id, EventType.CARD_DECLINED, Step.CAPTURE)
        journal.write()
    shop.database.sql("UPDATE shop.orders SET due_until = '2026-12-24 18:30+01'")
    (message,) = shop.take("email")
    return message


def replace_card(shop, order_id="o-1"):
    with shop.session.transaction() as tx:
        journal = Journal(tx, [order_id])
        journal.record(order_id, EventType.CARD_REPLACED)
        journal.write()


@pytest.fixture
def reserved(shop):
    by(shop, "email")
    shop.run("inventory")
    return shop


def test_a_declined_card_is_told_with_the_time_until_when_another_may_be_given(reserved):
    assert reserved.attempt(decline(reserved)) == DONE
    (entry,) = reserved.sandbox.ledger("mail")
    assert "Please pay with another card until 2026-12-24 17:30 UTC." in entry["text"]
    assert "5.00 EUR" in entry["text"]
    assert "tok" not in entry["text"]
    replace_card(reserved)
    assert reserved.attempt(decline(reserved)) == DONE
    assert ids(reserved) == ["o-1/payment_due", "o-1/payment_due/2"]


def test_a_customer_who_has_given_another_card_is_not_asked_for_one(reserved):
    message = decline(reserved)
    replace_card(reserved)
    assert reserved.attempt(message) == DONE
    assert (state(reserved), ids(reserved)) == ("skipped", [])
    assert "email_payment_due" not in reserved.order().pending
