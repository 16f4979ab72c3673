"""Notifications prepared and completed many at once: each gets its own answer and its own state."""

from contextlib import closing

import pytest

from ordermq.errors import NotCalled
from ordermq.shop import cancel_order
from ordermq.shop.commands import SendNotification, Template
from ordermq.shop.handlers.notification import Delivered
from ordermq.shop.handlers.notify import SmsRequest
from ordermq.task import DONE, Claim, Dead, Outcome, Postpone
from tests.support.shop import CountingSession, an_order, foreign, open_shop


@pytest.fixture
def shop(database, sandbox):
    with open_shop(database, sandbox) as shop:
        shop.load(p_1=1000)
        yield shop


def cancelled(shop, phones):
    """Place and cancel orders; return their SendNotifications by order id. ``phones`` by order id."""
    shop.place(*(an_order(order_id, phone=phone, notify="text") for order_id, phone in phones.items()))
    for order_id in phones:
        with shop.session.transaction() as tx:
            cancel_order(order_id, tx, "changed my mind")
    return {each.payload.order_id: each for each in shop.take("notify")}


def by_name(messages, answers):
    return dict(zip(messages, answers, strict=True))


def state(shop, order_id):
    (row,) = shop.show(order_id).notifications
    return row.state


def test_each_notification_prepared_with_others_gets_its_own_answer(shop):
    # Given every kind of order a notification can find
    phones = dict.fromkeys(("fresh", "notified", "abandoned", "perhaps"), "+4930123456")
    phones |= {"failed": "+493010005", "no-phone": None, "given-up": "+493010006"}
    messages = cancelled(shop, phones)
    shop.attempt(messages["notified"])
    shop.attempt(messages["failed"])
    shop.attempt(messages["given-up"])
    shop.die(messages["given-up"])
    shop.prepare(messages["perhaps"])
    shop.die(messages["perhaps"])
    shop.prepare(messages["abandoned"])  # and its sender dies
    shop.place(an_order("placed"))
    for number, (name, order_id, template) in enumerate(
        [
            ("placed", "placed", Template.ORDER_CANCELLED),
            ("nobody", "nobody", Template.ORDER_CANCELLED),
            ("not-so", "fresh", Template.ORDER_CONFIRMED),
            ("again", "fresh", Template.ORDER_CANCELLED),
        ]
    ):
        payload = SendNotification(order_id=order_id, template=template)
        messages[name] = foreign("notify", payload, f"foreign-{number}")
    # When they are prepared at once
    answers = by_name(messages, (answer for _, answer in shop.prepare_all(*messages.values())))
    # Then each is answered as if it were alone
    requests = {name: each for name, each in answers.items() if isinstance(each, SmsRequest)}
    assert {name: (each.to, each.reference) for name, each in requests.items()} == {
        name: (phones[name], f"{name}:order_cancelled") for name in ("fresh", "failed", "given-up")
    }
    assert isinstance(answers.pop("placed"), Postpone)
    assert {name: each for name, each in answers.items() if isinstance(each, Outcome)} == {
        **dict.fromkeys(("notified", "abandoned", "perhaps", "no-phone", "again", "not-so"), DONE),
        "nobody": Dead("no order 'nobody'"),
    }
    assert {name: state(shop, name) for name in phones} == {
        **dict.fromkeys(("fresh", "failed", "given-up"), "sending"),
        "notified": "sent", "abandoned": "unknown", "perhaps": "unknown", "no-phone": "skipped",
    }  # fmt: skip
    assert {name for name in phones if shop.order(name).attention_reason} == {
        "abandoned",
        "perhaps",
        "given-up",
    }
    assert shop.order("abandoned").attention_reason == "notification_unknown: its sender did not come back"
    assert shop.events("no-phone")[-1] == "notification_skipped"


def test_each_notification_completed_with_others_gets_its_own_outcome(shop):
    # Given what an SMS service can answer, over real HTTP, and a call that was not made
    phones = {
        "sent": "+4930123456", "refused": "+493010002", "timed-out": "+493010003", "busy": "+493010005",
        "not-called": "+4930123456", "reported-late": "+4930123456",
    }  # fmt: skip
    messages = cancelled(shop, phones)
    prepared = by_name(messages, shop.prepare_all(*messages.values()))
    reported = {
        name: (claim, shop.call(messages[name], request)) for name, (claim, request) in prepared.items()
    }
    reported["not-called"] = (prepared["not-called"][0], NotCalled("its turn came too late"))
    reported["again"] = reported["sent"]
    shop.attempt(messages["reported-late"])  # another takes it for unknown
    # When all of it is reported at once
    outcomes = by_name(reported, shop.complete_all(*reported.values()))
    # Then each order has its own
    assert outcomes == {
        **dict.fromkeys(("sent", "again", "timed-out", "reported-late"), DONE),
        "refused": Dead("the SMS service refused it with 422"),
        "busy": Postpone("the SMS service answered 503", 1.0),
        "not-called": Postpone("its turn came too late"),
    }
    assert {name: state(shop, name) for name in phones} == {
        "sent": "sent", "refused": "failed", "timed-out": "unknown", "busy": "failed",
        "not-called": "failed", "reported-late": "sent",
    }  # fmt: skip
    assert {name for name in phones if shop.order(name).attention_reason} == {"timed-out", "reported-late"}
    assert shop.events("sent").count("notification_sent") == 1
    assert shop.events("reported-late")[-2:] == ["notification_unknown", "notification_sent"]
    ids = {entry["reference"]: entry["message_id"] for entry in shop.sandbox.ledger("sms")}
    assert shop.show("sent").notifications[0].provider_id == ids["sent:order_cancelled"]


def test_one_order_gets_two_notifications_in_one_batch(shop):
    # Given an order that was cancelled, and refunded before its customer got a text
    shop.place(an_order("o-1"))
    shop.handle(*shop.take("inventory"))
    (capture,) = shop.take("payment")
    claim, request = shop.prepare(capture)
    with shop.session.transaction() as tx:
        cancel_order("o-1", tx, "changed my mind")
    shop.complete(capture, claim, shop.call(capture, request))
    shop.run("payment")
    messages = shop.take("notify")
    assert len(messages) == 2
    # When both are sent together
    prepared = shop.prepare_all(*messages)
    results = [(claim, shop.call(messages[0], request)) for claim, request in prepared]
    assert shop.complete_all(*results) == [DONE, DONE]
    # Then the customer gets both texts, once each
    assert sorted(entry["reference"] for entry in shop.sandbox.ledger("sms")) == [
        "o-1:order_cancelled", "o-1:order_refunded",
    ]  # fmt: skip
    assert [row.state for row in shop.show("o-1").notifications] == ["sent", "sent"]


def test_of_batches_that_prepare_the_same_messages_at_the_same_instant_one_sends(shop):
    # NTF3
    # Given an owner about to write that it sends
    messages = cancelled(shop, dict.fromkeys(("o-1", "o-2"), "+4930123456"))
    claims = [Claim(each.payload, each.envelope, False, 5.0) for _, each in sorted(messages.items())]
    requests = []
    # When another comes
    prepared = shop.one_after_another(
        lambda tx: requests.extend(shop.external["SendNotification"].prepare(claims, tx)),
        lambda session: shop.prepare_all(*messages.values(), resumed=True, session=session),
    )
    # Then it waits, and does not send
    assert [type(request) for request in requests] == [SmsRequest, SmsRequest]
    assert [answer for _, answer in prepared] == [DONE, DONE]
    assert {state(shop, order_id) for order_id in messages} == {"unknown"}


def test_a_dead_notification_of_an_unknown_order_leaves_nothing(shop):
    message = foreign("notify", SendNotification(order_id="o-7", template=Template.ORDER_CONFIRMED))
    assert shop.attempt(message) == Dead("no order 'o-7'")
    shop.die(message)
    with shop.session.transaction() as tx:
        assert tx.fetch_one("SELECT count(*) FROM shop.notifications") == (0,)


def test_a_batch_of_notifications_takes_no_more_statements_than_one(shop):
    def cost(*order_ids):
        messages = cancelled(shop, dict.fromkeys(order_ids, "+4930123456"))
        with closing(CountingSession(shop.database.settings)) as session:
            claims = [claim for claim, _ in shop.prepare_all(*messages.values(), session=session)]
            before = session.statements
            shop.complete_all(*((claim, Delivered("sms-1")) for claim in claims), session=session)
        assert {state(shop, order_id) for order_id in order_ids} == {"sent"}
        return [before, session.statements - before]

    assert cost("o-1") == cost(*(f"m-{number}" for number in range(40))) == [3, 4]
