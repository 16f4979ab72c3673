"""Messages about an order that no handler can read: a person is asked, and nothing else is done."""

import pytest

from ordermq.amqp import apply
from ordermq.cli.program import registry_of
from ordermq.clock import utc_now
from ordermq.consumer import neighbours
from ordermq.message import Envelope, Properties, Publishing
from ordermq.message.headers import VERSION, to_properties
from ordermq.observe import trace
from ordermq.shop import module, queries
from ordermq.shop.replay import Wish, replay_orders
from ordermq.shop.resolve import resolve_order
from ordermq.shop.selection import Selection
from ordermq.store import starts
from ordermq.task import Registry, handler
from ordermq.task.handler import handlers_in
from ordermq.testing import wait_until
from ordermq.topology import build
from tests.support.connection import manager_of
from tests.support.probe import Probe
from tests.support.runtime import PREFIX
from tests.support.shop import QUEUES, an_order, open_shop

SHOP = registry_of([module])
NOT_JSON = b'{"order_id": "o-1"'
ALERTS = "SELECT correlation_id FROM ordermq.outbox WHERE type = 'AlertOperator'"


@pytest.fixture
def shop(rig, database):
    """Two orders whose stock is reserved; ``rig`` has the processes that handle their messages."""
    manager = manager_of(rig.settings.broker)
    try:
        apply(manager, build(PREFIX, QUEUES))
    finally:
        manager.close(2.0)
    with open_shop(database) as shop:
        shop.load(p_1=9)
        shop.place(an_order("o-1"), an_order("o-2"))
        shop.handle(*shop.take("inventory"))
        yield shop


def unreadable(message_id, order_id="o-1", kind="AwardPoints", body=NOT_JSON, headers=()):
    return Properties(message_id, kind, order_id, headers=dict(headers)), body


def publish(rig, *messages, queue="points"):
    rig.publish_raw(queue, *messages)


def wait_for_letters(rig, count):
    found = "SELECT count(*) FROM ordermq.dead_letters"
    wait_until(lambda: rig.value(found) == count, 20.0, what=f"{count} dead letters")


def asked(shop):
    with shop.session.transaction() as tx:
        rows = queries.select(tx, Selection(needs_person=True))
        return {row.order_id: row.attention_reason for row in rows}


def resolve(shop, order_id="o-1"):
    with shop.session.transaction() as tx:
        return resolve_order(order_id, tx, by="anna@shop1", reason="looked")


def assert_nothing_is_wrong(shop):
    """But that these orders are under way still, and their messages wait."""
    assert {each.name for each in shop.reconcile().checks if each.wrong} <= {"orders_at_rest", "outbox_empty"}


@pytest.mark.parametrize(
    ("message", "why"),
    [
        (unreadable("m"), "not JSON"),
        (unreadable("m", body=b'{"order_id": 7}'), "not a AwardPoints"),
        (unreadable("m", body=b"\xff\xfe"), "not JSON"),
        (unreadable("m", kind="Unheard"), "queue 'points' takes AwardPoints, AdjustPoints, not Unheard"),
        (unreadable("m", headers={VERSION: 9}), "version 9 is newer"),
    ],
    ids=["not JSON", "a wrong payload", "not UTF-8", "an unknown type", "a version to come"],
)
def test_an_order_whose_message_no_handler_reads_needs_a_person_and_goes_on(rig, shop, message, why, caplog):
    before = shop.order()
    rig.consumer("points", registry=SHOP)
    publish(rig, message)
    wait_for_letters(rig, 1)
    [(order_id, reason)] = asked(shop).items()
    assert order_id == "o-1"
    assert reason.startswith("attention_raised: a message of queue points could not be read: ")
    assert why in reason
    assert f"order o-1 needs a person: attention_raised (step none): {reason[18:]}" in caplog.text
    assert rig.rows(ALERTS) == [("o-1",)]
    after = shop.order()
    assert (after.status, after.pending) == (before.status, before.pending)

    assert len(resolve(shop).discarded) == 1
    assert asked(shop) == {}
    assert_nothing_is_wrong(shop)


def test_however_many_messages_name_an_order_it_asks_once_until_it_is_resolved(rig, shop):
    rig.consumer("points", registry=SHOP, threads=4)
    publish(rig, *(unreadable(f"m-{number}") for number in range(40)))
    wait_for_letters(rig, 40)
    assert shop.events().count("attention_raised") == 1
    assert len(rig.rows(ALERTS)) == 1
    assert len(resolve(shop).discarded) == 40
    publish(rig, unreadable("another"))
    wait_for_letters(rig, 41)
    assert list(asked(shop)) == ["o-1"]
    assert shop.events().count("attention_raised") == 2
    assert_nothing_is_wrong(shop)


def test_an_unknown_order_and_a_broken_envelope_ask_for_no_person(rig, shop):
    rig.consumer("points", registry=SHOP)
    publish(
        rig,
        unreadable("of-nobody", order_id="forged"),
        unreadable("of-none", order_id=None),
        unreadable("broken", headers={VERSION: "one"}),  # nothing of such an envelope is believed
        unreadable("spaced", order_id="o-1 o-2"),
    )
    wait_for_letters(rig, 4)
    assert asked(shop) == {}
    assert rig.rows(ALERTS) == []


def test_an_order_that_needs_a_person_already_keeps_its_reason(rig, shop):
    with shop.session.transaction() as tx:
        tx.execute("UPDATE shop.orders SET attention_reason = 'because' WHERE order_id = 'o-1'")
    rig.consumer("points", registry=SHOP)
    publish(rig, unreadable("m"), unreadable("n", order_id="o-2"))
    wait_for_letters(rig, 2)
    assert asked(shop)["o-1"] == "because"
    assert set(asked(shop)) == {"o-1", "o-2"}


def test_a_message_that_the_broker_dead_lettered_and_no_handler_can_read_asks_too(rig, shop):
    publish(rig, unreadable("m"))
    rig.rabbit.reject(f"{PREFIX}.points")
    rig.consumer("dead", registry=SHOP)
    wait_for_letters(rig, 1)
    assert "dead-lettered by the broker: rejected" in asked(shop)["o-1"]


def test_an_order_whose_own_message_was_spoilt_is_resolved_resumed_and_goes_on(rig, shop):
    shop.place(an_order("o-3"))
    (message,) = shop.take("inventory")
    rig.publish_raw("inventory", (to_properties(message.envelope), message.body[:-3]))
    rig.relay()
    rig.consumer("inventory", registry=SHOP)
    wait_for_letters(rig, 1)
    assert list(asked(shop)) == ["o-3"]
    resolve(shop, "o-3")
    with shop.session.transaction() as tx:
        [sent] = replay_orders(["o-3"], tx, Wish())
    assert (sent.found, sent.message_id) == ("sent", message.envelope.message_id)
    wait_until(lambda: shop.order("o-3").status == "reserved", 20.0, what="the order's stock")
    assert_nothing_is_wrong(shop)


# --- what a module's own on_unreadable may do -----------------------------------


def with_hook(on_unreadable):
    """Return a registry with one handler, which reads probes, and a hook for what it cannot read."""

    @handler(queue="single", message=Probe, key="order_id")
    def reading(message, tx):
        raise AssertionError("it cannot be read")

    return Registry(handlers_in({"reading": reading}), [on_unreadable])


def test_a_hook_that_fails_keeps_no_message_from_becoming_a_dead_letter(rig):
    def failing(queue, envelope, reason, tx):
        tx.execute("INSERT INTO deaths (order_id, reason) VALUES (%s, %s)", (envelope.correlation_id, reason))
        raise RuntimeError("the hook is broken")

    rig.consumer("single", registry=with_hook(failing))
    rig.publish_raw("single", unreadable("m", kind="Probe"))
    wait_for_letters(rig, 1)
    reason = rig.value("SELECT reason FROM ordermq.dead_letters")
    assert reason.endswith("; then on_unreadable failed: RuntimeError: the hook is broken")
    assert rig.rows("SELECT FROM deaths") == []


def test_a_hook_that_meets_trouble_of_the_server_again_and_again_holds_up_no_other_message(rig, monkeypatch):
    monkeypatch.setattr(neighbours, "GIVE_WAY_S", 0.5)

    def troubled(queue, envelope, reason, tx):
        tx.execute("DO $$ BEGIN RAISE EXCEPTION 'damaged' USING ERRCODE = 'XX001'; END $$")

    rig.consumer("single", registry=with_hook(troubled), threads=1)
    rig.publish_raw("single", unreadable("m", kind="Probe"))
    wait_for_letters(rig, 1)
    reason = rig.value("SELECT reason FROM ordermq.dead_letters")
    assert "; then on_unreadable failed: " in reason
    assert "XX001" in reason


def test_a_hook_that_kills_the_process_is_left_out_in_the_end(rig):
    reasons = []
    rig.consumer("single", registry=with_hook(lambda queue, envelope, reason, tx: reasons.append(reason)))
    properties = to_properties(Envelope("m", "Probe", 1, "o-1", trace.new(), utc_now()))
    properties.headers["x-delivery-count"] = 1  # it came back
    for number, count in enumerate((8, 9)):
        with rig.session.transaction() as tx:
            starts.put(tx, "single", {"m": starts.Started(starts=count)})
        rig.rabbit.publish(Publishing(PREFIX, "single", properties, NOT_JSON))
        wait_for_letters(rig, 1)
        assert len(reasons) == 1, number
        with rig.session.transaction() as tx:
            tx.execute("DELETE FROM ordermq.dead_letters")
            tx.execute("DELETE FROM ordermq.inbox")
