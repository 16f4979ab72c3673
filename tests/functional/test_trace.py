"""``ordermq trace``: what happened to one order, and what it waits for."""

import pytest

from ordermq.shop import Contact, place_order
from ordermq.store import Session, leases
from ordermq.testing import wait_until
from tests.support.commands import Shop
from tests.support.rabbit import Rabbit
from tests.support.shop import an_order

SECRETS = ("+4930999111", "secret@mail.example", "Secret Name", "tok_secret")
ORDER = an_order("A-1", card=SECRETS[3], contact=Contact(phone=SECRETS[0], email=SECRETS[1], name=SECRETS[2]))


@pytest.fixture
def shop(ordermq_stack, vhost, database, sandbox, tmp_path):
    shop = Shop(
        ordermq_stack, vhost, database, tmp_path,
        ORDERMQ_SHOP_PAYMENT_URL=sandbox.payment_url, ORDERMQ_SHOP_SMS_URL=sandbox.sms_url,
        ORDERMQ_TOPOLOGY_MANAGEMENT_URL="",
    )  # fmt: skip
    yield shop
    shop.close()


@pytest.fixture
def session(shop, database):
    session = Session(database.settings, name="test")
    yield session
    session.close()


def place(session, order=ORDER):
    with session.transaction() as tx:
        place_order(order, tx)


def trace(shop, order_id="A-1"):
    return shop.json("ordermq", "trace", order_id)


def waits(shop, words, order_id="A-1"):
    """Wait until the sentence holds ``words``, and return what is told then."""
    seen = {}

    def says():
        seen.update(trace(shop, order_id))
        return words in seen["waits_for"]

    try:
        wait_until(says, 30, every_s=0.2)
    except TimeoutError:
        raise AssertionError(seen) from None
    return seen


def test_an_order_is_followed_from_the_outbox_over_its_queue_and_a_call_to_its_end(shop, session):
    shop.ok("ordermq", "stock", "load", "-", stdin=b"product_id,units\np-1,9\n")
    place(session)
    found = trace(shop)
    assert found["subjects"] == ["order A-1: placed, EUR 5.00"]
    assert found["waits_for"] == "It waits for reserve: the relay, and NONE IS ACTIVE."
    [waiting] = found["waiting"]
    assert (waiting["queue"], waiting["message_id"], waiting["place"]) == (
        "inventory", "A-1:1:inventory", "outbox",
    )  # fmt: skip
    assert any("management_url is not set" in each for each in found["notes"])
    shop.start("ordermq-relay")
    found = waits(shop, "queue inventory (1 ready, 0 being handled), and NO CONSUMER runs")
    assert found["waiting"][0]["place"] == "queue"
    shop.ok("ordermq", "pause", "inventory", "--reason", "they count the stock")
    assert "which is PAUSED since" in trace(shop)["waits_for"]
    shop.ok("ordermq", "resume", "inventory", "--reason", "counted")
    shop.start("ordermq-consumer", "--queue", "inventory")
    waits(shop, "capture: queue payment")
    with session.transaction() as tx:
        leases.take(tx, "payment", ["A-1:2:payment"], owner="host:7", lease_s=60.0)
    found = waits(shop, "capture: the answer to a call by host:7, whose lease ends at")
    assert found["waiting"][0]["place"] == "leased"
    with session.transaction() as tx:
        tx.execute("DELETE FROM ordermq.leases")
    for queue in ("payment", "notify", "points", "shipping"):
        shop.start("ordermq-consumer", "--queue", queue)
    shop.wait_at_rest()
    found = trace(shop)
    assert (found["waits_for"], found["waiting"]) == ("It waits for nothing.", [])
    told = [(each["kind"], each["text"]) for each in found["entries"]]
    assert ("event", "1 order_placed") in told
    assert ("message", "payment: done") in told
    assert any(kind == "payment" and "captured, EUR 5.00" in text for kind, text in told)
    assert any(kind == "notification" and "order_confirmed by text: sent" in text for kind, text in told)
    assert any(kind == "queue" and "inventory resumed by" in text for kind, text in told)
    assert [each["at"] for each in found["entries"]] == sorted(each["at"] for each in found["entries"])
    assert all(each["after_s"] >= 0 for each in found["entries"])
    printed = shop.ok("ordermq", "trace", "A-1")
    assert "It waits for nothing." in printed
    assert not [secret for secret in SECRETS if secret in printed or secret in str(found)]


def test_what_is_lost_dead_or_unknown_is_said_with_what_to_do(shop, session, vhost):
    place(session)
    relay = shop.start("ordermq-relay")
    waits(shop, "queue inventory (1 ready")
    vhost.broker.api("DELETE", f"queues/{vhost.name}/orders.inventory/contents")
    found = waits(shop, "queue inventory, which is empty")
    assert found["waiting"][0]["place"] == "lost"
    assert "ordermq-publish replay --order A-1" in found["waits_for"]
    rabbit = Rabbit(vhost.broker, vhost.settings)
    rabbit.delete_queue("orders.inventory")
    assert "which is MISSING: ordermq topology apply" in trace(shop)["waits_for"]
    rabbit.close()
    shop.ok("ordermq", "topology", "apply")
    relay.kill()
    with session.transaction() as tx:
        tx.execute(
            "INSERT INTO ordermq.dead_letters (queue, message_id, type, version, correlation_id, traceparent,"
            " occurred_at, attempt, hop, body, reason)"
            " VALUES ('inventory', 'A-1:1:inventory', 'ReserveStock', 1, 'A-1', '', now(), 8, 8,"
            " '{}', 'deadlock')"
        )
    found = trace(shop)
    [number] = [each["dead_letter_id"] for each in found["entries"] if each["kind"] == "dead letter"]
    assert f"reserve: a person: dead letter {number} (deadlock)" in found["waits_for"]
    shop.ok("ordermq", "dead", "replay", str(number), "--reason", "try again")
    texts = [each["text"] for each in trace(shop)["entries"] if each["kind"] == "dead letter"]
    assert texts[0] == f"{number} inventory: deadlock"
    assert texts[1].startswith(f"{number} replayed by ")
    unknown = shop.run("ordermq", "trace", "nobody")
    assert (unknown.returncode, unknown.stderr) == (1, "nothing is known of 'nobody'\n")


def test_a_message_that_is_tried_again_says_when_and_why(shop, session):
    place(session)
    with session.transaction() as tx:
        tx.execute(
            "UPDATE ordermq.outbox SET attempt = 3, hop = 2, last_error = 'timeout of their service',"
            " available_at = now() + interval '1 hour'"
        )
        tx.execute("INSERT INTO ordermq.inbox VALUES ('inventory', 'A-1:1:inventory', 1, 'retry', now())")
    found = trace(shop)
    assert "reserve: attempt 3 at " in found["waits_for"]
    assert "after: timeout of their service" in found["waits_for"]
    assert "inventory: retry at delivery 2, timeout of their service" in [
        each["text"] for each in found["entries"]
    ]
    with session.transaction() as tx:
        tx.execute("UPDATE ordermq.outbox SET refusals = 2, refused_reason = 'no route'")
    assert "the broker, which refused it (no route); the next try is at" in trace(shop)["waits_for"]
