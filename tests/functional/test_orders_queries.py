"""What operators see of orders."""

from datetime import timedelta

import pytest

from ordermq.clock import utc_now
from ordermq.errors import OrderConflict, OrderNotFound
from ordermq.shop import Status, cancel_order, place_order, place_orders, queries
from ordermq.shop.hold import hold_orders, release_orders
from ordermq.shop.selection import Selection
from tests.support.shop import QUEUES, an_order, open_shop


@pytest.fixture
def shop(database):
    """Two reserved orders, one cancelled for want of stock, one by the customer, one given up."""
    with open_shop(database) as shop:
        shop.load(p_1=3)
        shop.place(*(an_order(f"o-{n}") for n in (1, 2, 3)), an_order("o-short", ("p-1", 9)))
        shop.handle(*shop.take("inventory"))
        shop.place(an_order("o-dead"))
        shop.die(shop.take("inventory")[0], "gave up")
        with shop.session.transaction() as tx:
            cancel_order("o-3", tx, "changed my mind")
        yield shop


@pytest.fixture
def tx(shop):
    with shop.session.transaction() as tx:
        yield tx


def test_orders_are_listed_by_status_the_last_accepted_first(tx):
    assert {row.order_id for row in queries.select(tx, Selection(status=Status.RESERVED))} == {"o-1", "o-2"}
    assert [row.order_id for row in queries.select(tx, limit=2)] == ["o-dead", "o-1"]


def test_orders_are_found_by_all_of_their_attributes_placed_one_by_one_or_many(shop):
    attributes = {"merchant": "acme", "channel": 'a"p\\p, {ü}'}
    with shop.session.transaction() as tx:
        place_order(an_order("one", attributes=attributes), tx)
    with shop.session.transaction() as tx:
        place_orders([an_order("many-1", attributes=attributes), an_order("many-2")], tx)
        place_orders([an_order("many-3", attributes={"merchant": "acme", "channel": "web"})], tx)
        place_orders([an_order("many-4", attributes={"merchant": "other", "channel": "web"})], tx)

    def found(limit=100, **wanted):
        wanted["attributes"] = tuple(wanted["attributes"].items())
        with shop.session.transaction() as tx:
            return [row.order_id for row in queries.select(tx, Selection(**wanted), limit=limit)]

    assert found(attributes={"merchant": "acme"}) == ["many-1", "many-3", "one"]
    assert found(attributes={"merchant": "acme"}, limit=1) == ["many-1"]
    assert found(attributes=attributes) == ["many-1", "one"]
    assert found(attributes={"merchant": "acme", "channel": "web"}) == ["many-3"]
    assert found(attributes={"merchant": "acm"}) == []
    assert found(attributes={"merchant": "acme"}, status=Status.RESERVED) == []
    assert found(attributes={"merchant": "acme"}, needs_person=True) == []
    with shop.session.transaction() as tx:
        assert queries.show("one", tx, queues=QUEUES).order.attributes == attributes
        assert queries.show("many-2", tx, queues=QUEUES).order.attributes == {}
        again = place_order(an_order("one", attributes=dict(reversed(attributes.items()))), tx)
        assert again.is_duplicate
        with pytest.raises(OrderConflict):
            place_order(an_order("one"), tx)


def test_orders_that_need_attention_are_listed_with_the_reason(tx):
    (row,) = queries.select(tx, Selection(needs_person=True))
    assert (row.order_id, row.attention_reason) == ("o-dead", "reservation_failed: gave up")


def test_orders_are_counted_by_status_and_by_what_cancelled_them(tx):
    assert queries.count_by_status(tx) == {
        Status.PLACED: 0, Status.RESERVED: 2, Status.PAYMENT_DUE: 0, Status.PAID: 0, Status.COMPLETED: 0,
        Status.CANCELLED: 3, Status.REFUNDED: 0,
    }  # fmt: skip
    assert queries.count_cancellations(tx) == {
        "stock_rejected": 1, "cancel_requested": 1, "reservation_failed": 1,
    }  # fmt: skip
    assert queries.count_under_way(tx) == 5  # the cancelled ones still have customers to tell


def test_orders_to_which_nothing_happens_are_found(tx):
    assert queries.stuck(tx, older_than_s=3600, action_s=3600) == []
    tx.execute(
        "UPDATE shop.orders SET accepted_at = now() - interval '2 hours',"
        " updated_at = now() - interval '2 hours' WHERE order_id = 'o-2'"
    )
    assert [row.order_id for row in queries.stuck(tx, older_than_s=3600, action_s=3600)] == ["o-2"]


def test_orders_that_wait_by_design_are_not_stuck_until_their_time_is_over(tx):
    def stuck(action_s=3600.0):
        found = queries.stuck(tx, older_than_s=600, action_s=action_s)
        assert queries.count_stuck(tx, older_than_s=600, action_s=action_s) == len(found)
        return [row.order_id for row in found]

    tx.execute(
        "UPDATE shop.orders SET accepted_at = now() - interval '2 hours',"
        " updated_at = now() - interval '2 hours' WHERE order_id IN ('o-1', 'o-2')"
    )
    hold_orders(["o-1"], tx, by="anna", reason="looks like fraud", also_ended=False)
    assert stuck() == ["o-2"]
    release_orders(["o-1"], tx, by="anna", reason="it is none")
    tx.execute(
        "INSERT INTO shop.payments (order_id, idempotency_key, amount_minor, currency, state, action_at)"
        " VALUES ('o-1', 'key', 500, 'EUR', 'requires_action', now() - interval '1 hour 5 minutes')"
    )
    assert (stuck(), stuck(action_s=3000.0)) == (["o-2"], ["o-1", "o-2"])
    tx.execute("UPDATE shop.payments SET state = 'unknown'")
    assert stuck() == ["o-1", "o-2"]
    for minutes, found in ((5, ["o-1"]), (15, ["o-1", "o-2"])):
        tx.execute(
            "UPDATE shop.orders SET status = 'payment_due', due_until = now() - %s * interval '1 minute'"
            " WHERE order_id = 'o-2'",
            (minutes,),
        )
        assert stuck() == found


def test_latency_is_from_acceptance_to_the_terminal_status(tx):
    tx.execute("UPDATE shop.orders SET terminal_at = accepted_at + interval '2 s' WHERE status = 'cancelled'")
    latency = queries.latency(tx, since=utc_now() - timedelta(minutes=1))
    assert (latency.orders, latency.p50_s, latency.p99_s) == (3, 2.0, 2.0)
    assert queries.latency(tx, since=utc_now() + timedelta(minutes=1)) == queries.Latency(0, None, None)


def test_stock_is_shown_for_all_or_for_some_products(tx):
    assert [row.product_id for row in queries.stock(tx)] == ["p-1"]
    assert queries.stock(tx, products=["p-2"]) == []


def test_an_order_is_shown_with_its_messages_wherever_they_are(shop, tx):
    tx.execute(
        "INSERT INTO ordermq.inbox (queue, message_id, hop, outcome)"
        " VALUES ('inventory', 'o-3:1:inventory', 0, 'done')"
    )
    detail = queries.show("o-3", tx, queues=QUEUES)
    assert [(each.place, each.message_id, each.outcome) for each in detail.messages] == [
        ("outbox", "o-3:2:payment", "waiting"),
        ("outbox", "o-3:3:inventory", "waiting"),
        ("outbox", "o-3:3:notify", "waiting"),
        ("inbox", "o-3:1:inventory", "done"),
    ]
    assert [event.version for event in detail.events] == [1, 2, 3]
    assert detail.items[0].reservation == "reserved"


def test_an_unknown_order_is_not_found(tx):
    with pytest.raises(OrderNotFound, match="o-7"):
        queries.show("o-7", tx, queues=QUEUES)
