"""Orders that meet something unpleasant, through the whole pipeline."""

from collections import Counter

import psycopg2
import pytest

from ordermq.shop import Contact, cancel_order, place_order, place_orders
from ordermq.shop.intake.generate import generate
from ordermq.store import join_transaction, outbox
from ordermq.testing import wait_until
from tests.support.pipeline import QUEUES
from tests.support.shop import an_order

CARDS = ("0001", "0002", "0003", "0004", "0005")
BEING_PAID = "SELECT count(*) FROM ordermq.leases WHERE queue = 'payment'"


def booked(sandbox, kind):
    """Return how often the payment service did this, by order."""
    return Counter(line["order_id"] for line in sandbox.ledger("payment") if line["kind"] == kind)


def test_every_unhappy_card_ends_right_and_none_is_charged_twice(pipeline, sandbox):
    pipeline.stock(p_1=1000)
    orders = [an_order(f"{card}-{number}", card=f"tok_{card}") for card in CARDS for number in range(8)]
    pipeline.begin(ORDERMQ_CONSUMER_BREAKER_FAILURES="100")  # the cards fail, not the service
    pipeline.place(orders)
    pipeline.end_well(len(orders))
    wanted = {order.order_id: 1 for order in orders if not order.card_token.endswith("0002")}
    assert booked(sandbox, "capture") == wanted
    assert pipeline.count("completed") == len(wanted)
    assert pipeline.count("cancelled") == 8  # the declined ones
    assert pipeline.rows("SELECT order_id FROM shop.orders WHERE attention_reason LIKE 'payment%%'") == []


def test_an_order_cancelled_while_its_payment_is_under_way_is_refunded(pipeline, sandbox):
    pipeline.stock(p_1=5)
    sandbox.behave("payment", latency_ms=4000)
    pipeline.begin()
    pipeline.place([an_order("o-1"), an_order("o-2")])
    wait_until(lambda: pipeline.value(BEING_PAID) == 2, 20.0)
    with pipeline.session.transaction() as tx:  # a command would take too long on a busy machine
        cancel_order("o-1", tx, "changed their mind")
    outbox.wake_relay(pipeline.session)
    sandbox.behave("payment")
    pipeline.end_well(2)
    assert pipeline.rows("SELECT order_id, status FROM shop.orders ORDER BY order_id") == [
        ("o-1", "refunded"),
        ("o-2", "completed"),
    ]
    assert (booked(sandbox, "capture"), booked(sandbox, "refund")) == ({"o-1": 1, "o-2": 1}, {"o-1": 1})
    assert pipeline.value("SELECT on_hand FROM shop.stock") == 4


def test_two_consumers_on_stock_too_small_for_all_give_out_exactly_what_there_is(pipeline):
    units = {"hot": 17, "warm": 40}
    pipeline.stock(**units)
    baskets = ([("hot", 1), ("warm", 1)], [("warm", 1)], [("hot", 1)])
    orders = [an_order(f"o-{number:03}", *baskets[number % 3]) for number in range(120)]
    pipeline.begin("inventory:2", "relay", *QUEUES)
    pipeline.wait_ready("inventory", "inventory:2")
    rebuild = ("ordermq", "projection", "rebuild", "--all", "--reason", "looking")
    for start in range(0, len(orders), 6):
        pipeline.place(orders[start : start + 6])
        if start % 24 == 0:  # what is written meanwhile does not differ (PRJ1)
            assert ": 0 differ" in pipeline.ok(*rebuild)
    pipeline.end_well(len(orders))
    given = dict(pipeline.rows("SELECT product_id, sum(quantity) FROM shop.reservations GROUP BY product_id"))
    assert given == units
    assert pipeline.count("completed") + pipeline.count("cancelled") == len(orders)


def test_a_dead_letter_alerts_an_operator_is_replayed_and_its_order_completes(pipeline, sandbox):
    pipeline.stock(p_1=100)
    orders = [an_order(f"o-{number}") for number in range(10)]
    with pipeline.session.transaction() as tx:
        tx.execute("ALTER TABLE shop.shipments ADD CONSTRAINT planted CHECK (order_id <> 'o-7')")
    pipeline.begin(ORDERMQ_SHOP_ALERT_PHONE="+493090")
    pipeline.place(orders)
    pipeline.wait_for(9, "completed")
    (letter,) = wait_until(lambda: pipeline.lines("ordermq", "dead", "list"), 20.0)
    assert (letter["queue"], letter["correlation_id"], letter["type"]) == (
        "shipping",
        "o-7",
        "CreateShipment",
    )
    assert "planted" in letter["reason"]
    assert "planted" in pipeline.value("SELECT attention_reason FROM shop.orders WHERE order_id = 'o-7'")

    assert pipeline.has_logged("shipping", "order o-7 needs a person: shipment_failed (step ship)")
    texts = wait_until(lambda: [each for each in sandbox.ledger("sms") if each["to"] == "+493090"], 20.0)
    assert [each["text"] for each in texts] == [
        "Order o-7 needs a person: shipment_failed. Type: ordermq order show o-7"
    ]
    early = pipeline.run("ordermq", "order", "resolve", "o-7", "--reason", "leave me alone")
    assert early.returncode == 65
    assert f"ordermq dead replay {letter['dead_letter_id']} " in early.stderr
    stuck = pipeline.run("ordermq-publish", "replay", "--order", "o-7", "--reason", "looking", "--dry-run")
    assert f"order o-7 ship: dead (ordermq dead replay {letter['dead_letter_id']} " in stuck.stdout

    with pipeline.session.transaction() as tx:
        tx.execute("ALTER TABLE shop.shipments DROP CONSTRAINT planted")
    pipeline.ok(
        "ordermq", "dead", "replay", str(letter["dead_letter_id"]), "--reason", "the constraint is gone"
    )
    pipeline.end_well(len(orders))
    assert pipeline.count("completed") == len(orders)


@pytest.fixture
def application(database):
    """A shop's own connection, opened as its author would."""
    settings = database.settings
    connection = psycopg2.connect(
        host=settings.host,
        port=settings.port,
        dbname=settings.name,
        user=settings.username,
        password=settings.password.reveal(),
    )
    yield connection
    connection.close()


def test_an_order_lives_and_dies_with_the_transaction_of_the_application_that_places_it(
    pipeline, application
):
    pipeline.stock(p_1=5)
    pipeline.begin()
    with application, application.cursor() as cursor:
        cursor.execute("CREATE TABLE baskets_closed (basket_id text PRIMARY KEY)")
    for basket_id, end in (("kept", application.commit), ("dropped", application.rollback)):
        with application.cursor() as cursor:
            cursor.execute("INSERT INTO baskets_closed VALUES (%s)", (basket_id,))
        place_order(an_order(basket_id), join_transaction(application))
        end()
    pipeline.end_well(1)
    assert pipeline.rows("SELECT order_id, status FROM shop.orders") == [("kept", "completed")]
    assert pipeline.rows("SELECT basket_id FROM baskets_closed") == [("kept",)]


def test_a_row_without_a_notification_is_found_by_the_relay_s_poll(pipeline, application):
    pipeline.begin("relay")
    pipeline.wait_ready("relay")
    listener = pipeline.open_session("listener")
    listener.listen("ordermq_outbox")
    with application:
        place_order(next(generate(1, 1)), join_transaction(application))
    pipeline.wait_outbox_empty()
    assert not listener.wait(0.0)  # it got no notification
    listener.close()


def by_email(pipeline, orders):
    """Place orders whose customers are told by e-mail."""
    with pipeline.session.transaction() as tx:
        assert not [each for each in place_orders(orders, tx) if isinstance(each, Exception)]
        tx.execute("UPDATE shop.orders SET notify = 'email'")
    outbox.wake_relay(pipeline.session)


def test_every_unhappy_address_ends_right_and_nobody_gets_an_email_twice(pipeline, sandbox):
    pipeline.stock(p_1=1000)
    orders = [
        an_order(f"{ending}-{number}", contact=Contact(email=f"anna{number}.{ending}@example.com"))
        for ending in CARDS
        for number in range(4)
    ]
    pipeline.begin(ORDERMQ_CONSUMER_BREAKER_FAILURES="100")  # the addresses fail, not the server
    pipeline.begin("email", ORDERMQ_CONSUMER_BREAKER_FAILURES="100")
    by_email(pipeline, orders)
    pipeline.end_well(len(orders))
    sent = Counter(entry["to"] for entry in sandbox.ledger("mail"))
    assert sent == {each.contact.email: 1 for each in orders if not each.order_id.startswith("0002")}
    assert sandbox.ledger("sms") == []
    assert pipeline.count("completed") == len(orders)
    states = dict(pipeline.rows("SELECT left(order_id, 4), min(state) FROM shop.notifications GROUP BY 1"))
    assert states == {"0001": "sent", "0002": "failed", "0003": "unknown", "0004": "sent", "0005": "sent"}


def test_emails_whose_consumer_dies_after_the_call_are_unknown_and_not_sent_again(pipeline, sandbox):
    # NTF2
    pipeline.stock(p_1=1000)
    pipeline.begin()
    pipeline.begin("email", ORDERMQ_FAILPOINT="external.after_call:exit")
    by_email(pipeline, [an_order("o-1", contact=Contact(email="anna@example.com"))])
    wait_until(lambda: pipeline.process("email").exit_code is not None, 20.0)
    pipeline.begin("email")
    pipeline.end_well(1)
    assert len(sandbox.ledger("mail")) == 1
    assert pipeline.rows("SELECT state FROM shop.notifications") == [("unknown",)]
