"""Reserving, releasing and shipping stock, in batches on real PostgreSQL."""

import threading
from random import Random

import pytest

from ordermq.errors import Contention
from ordermq.shop import cancel_order, reservations
from ordermq.shop.commands import (
    AwardPoints,
    CreateShipment,
    ReleaseStock,
    ReserveStock,
)
from ordermq.shop.events import EventType, Step
from ordermq.shop.journal import Journal
from ordermq.shop.reservations import ReservationEnd
from ordermq.shop.stock import lock_stock
from ordermq.store import Session
from ordermq.task import DONE, Dead, Postpone
from tests.support.shop import an_order, foreign, open_shop


@pytest.fixture
def shop(database):
    with open_shop(database) as shop:
        yield shop


def test_a_batch_gives_out_stock_in_its_order_all_items_or_none(shop):
    # STK2
    shop.load(p_1=3, p_2=1)
    shop.place(
        an_order("o-1", ("p-1", 2)),
        an_order("o-2", ("p-1", 1), ("p-2", 2)),
        an_order("o-3", ("p-1", 1)),
        an_order("o-4", ("p-1", 1)),
    )
    assert shop.handle(*shop.take("inventory")) == [DONE] * 4
    assert [shop.order(f"o-{n}").status for n in (1, 2, 3, 4)] == [
        "reserved", "cancelled", "reserved", "cancelled",
    ]  # fmt: skip
    assert shop.stock() == {"p-1": (0, 3, 0), "p-2": (1, 0, 0)}


def test_several_lines_of_one_product_are_one_reservation(shop):
    shop.load(p_1=3)
    shop.place(an_order("o-1", ("p-1", 2), ("p-1", 2)), an_order("o-2", ("p-1", 2), ("p-1", 1)))
    shop.handle(*shop.take("inventory"))
    assert [shop.order(f"o-{n}").status for n in (1, 2)] == ["cancelled", "reserved"]
    assert shop.stock() == {"p-1": (0, 3, 0)}


def test_a_repeated_command_has_no_second_effect(shop):
    shop.load(p_1=9)
    shop.place(an_order("o-1", ("p-1", 2)))
    messages = shop.take("inventory")
    shop.handle(*messages)
    before = shop.show()
    assert shop.handle(*messages) == [DONE]
    assert shop.handle(*messages, *messages) == [DONE, DONE]
    assert shop.show() == before
    assert shop.stock() == {"p-1": (7, 2, 0)}


def test_the_same_order_twice_in_one_batch_is_reserved_once(shop):
    shop.load(p_1=9)
    shop.place(an_order("o-1", ("p-1", 2)))
    messages = shop.take("inventory")
    assert shop.handle(*messages, *messages) == [DONE, DONE]
    assert shop.stock() == {"p-1": (7, 2, 0)}


def test_a_command_of_an_unknown_order_is_dead_and_its_neighbours_are_not(shop):
    shop.load(p_1=9)
    shop.place(an_order("o-1"))
    outcomes = shop.handle(foreign("inventory", ReserveStock(order_id="o-7")), *shop.take("inventory"))
    assert outcomes == [Dead("no order 'o-7'"), DONE]


@pytest.mark.parametrize(
    ("queue", "command"),
    [("inventory", ReleaseStock), ("shipping", CreateShipment), ("points", AwardPoints)],
)
def test_a_command_that_comes_too_early_is_postponed_and_changes_nothing(shop, queue, command):
    shop.load(p_1=9)
    shop.place(an_order("o-1"))
    outcomes = shop.handle(foreign(queue, command(order_id="o-1")))
    assert isinstance(outcomes[0], Postpone)
    assert shop.events() == ["order_placed"]


def test_releasing_twice_releases_once(shop):
    shop.load(p_1=9)
    shop.place(an_order("o-1", ("p-1", 2)))
    shop.handle(*shop.take("inventory"))
    with shop.session.transaction() as tx:
        cancel_order("o-1", tx, "changed my mind")
    messages = shop.take("inventory")
    assert shop.handle(*messages) == [DONE]
    assert shop.handle(*messages) == [DONE]
    assert shop.stock() == {"p-1": (9, 0, 0)}
    assert shop.events().count("stock_released") == 1


def test_a_reservation_that_is_given_up_cancels_the_order_and_asks_for_a_human(shop):
    shop.place(an_order("o-1"))
    shop.die(shop.take("inventory")[0], "gave up after 8 attempts: disk on fire")
    order = shop.order()
    assert order.status == "cancelled"
    assert order.attention_reason == "reservation_failed: gave up after 8 attempts: disk on fire"
    assert [message.envelope.type for message in shop.take("inventory", "notify")] == [
        "SendNotification", "AlertOperator",
    ]  # fmt: skip


def test_a_release_that_is_given_up_stays_pending_until_its_replay_succeeds(shop):
    shop.load(p_1=9)
    shop.place(an_order("o-1", ("p-1", 2)))
    shop.handle(*shop.take("inventory"))
    with shop.session.transaction() as tx:
        cancel_order("o-1", tx, "changed my mind")
    (message,) = shop.take("inventory")
    shop.die(message)
    assert "release" in shop.order().pending
    assert shop.order().attention_reason.startswith("release_failed")
    assert shop.handle(message) == [DONE]
    assert "release" not in shop.order().pending
    assert shop.stock() == {"p-1": (9, 0, 0)}


def test_a_dead_letter_of_a_step_that_is_over_asks_for_a_human_and_changes_nothing_else(shop):
    shop.load(p_1=9)
    shop.place(an_order("o-1"))
    (message,) = shop.take("inventory")
    shop.handle(message)
    shop.die(message, "killed the process")
    order = shop.order()
    assert (order.status, order.pending) == ("reserved", ["capture"])
    assert order.attention_reason == "attention_raised: reserve is dead: killed the process"


def test_a_dead_letter_of_an_unknown_order_changes_nothing(shop):
    shop.die(foreign("inventory", ReserveStock(order_id="o-7")))
    assert shop.database.sql("TABLE shop.order_events") == ""


def test_concurrent_batches_on_the_same_products_neither_deadlock_nor_oversell(shop):
    # Given 400 orders, each for several of eight scarce products, in four batches of a random order
    random = Random(7)
    products = [f"p-{n}" for n in range(8)]
    shop.load(**{name: 60 for name in products})
    orders = [
        an_order(f"o-{n:03}", *((p, random.randint(1, 3)) for p in random.sample(products, 4)))
        for n in range(400)
    ]
    shop.place(*orders)
    messages = shop.take("inventory")
    random.shuffle(messages)
    faults = []

    def work(share):
        session = Session(shop.database.settings, name="batch")
        try:
            for start in range(0, len(share), 20):
                shop.handle(*share[start : start + 20], session=session)
        except Exception as exc:
            faults.append(exc)
        finally:
            session.close()

    # When four consumers work at once, every message being delivered to two of them
    shares = [messages[n::4] + messages[(n + 1) % 4 :: 4] for n in range(4)]
    threads = [threading.Thread(target=work, args=(share,)) for share in shares]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    # Then no batch waited for another in a circle, and what was given out is what there was
    assert [fault for fault in faults if isinstance(fault, Contention)] == []
    assert faults == []
    reserved = [order for order in orders if shop.order(order.order_id).status == "reserved"]
    for product in products:
        given = sum(order.quantities().get(product, 0) for order in reserved)
        assert shop.stock()[product] == (60 - given, given, 0)
    wrong = [check for check in shop.reconcile().checks if not check.is_ok]
    assert {check.name for check in wrong} == {"orders_at_rest", "outbox_empty"}


@pytest.mark.parametrize(
    "lock",
    [
        lambda ids, tx: Journal(tx, ids),
        lock_stock,
        reservations.wanted_stock,
        lambda ids, tx: reservations.end(ids, ReservationEnd.RELEASED, tx),
    ],
    ids=["orders-JRN2", "stock-STK1", "stock-STK1-wanted", "stock-STK1-ended"],
)
def test_batches_that_share_rows_lock_them_in_one_order(shop, lock):
    ids = [f"x-{n:02}" for n in range(20)]
    shop.place(*(an_order(each, (each, 1)) for each in ids))
    shop.load(**dict.fromkeys(ids, 1))
    with shop.session.transaction() as tx:
        reservations.reserve({each: {each: 1} for each in ids}, tx)
    faults = []

    def work(seed):
        random = Random(seed)
        session = Session(shop.database.settings, name="batch")
        try:
            for _ in range(20):
                with session.transaction(dry_run=True) as tx:
                    lock(random.sample(ids, 15), tx)
        except Exception as exc:
            faults.append(exc)
        finally:
            session.close()

    threads = [threading.Thread(target=work, args=(seed,)) for seed in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert faults == []


def test_a_batch_runs_a_fixed_number_of_statements(shop):
    shop.load(p_1=1000)
    for size in (1, 50):
        shop.place(*(an_order(f"o-{size}-{n}") for n in range(size)))
        messages = shop.take("inventory")
        counted = []
        with shop.session.transaction() as tx:
            for name in ("execute", "fetch_all", "fetch_one", "fetch_values", "write", "write_values"):
                _count_calls(tx, name, counted)
            messages[0].handler.call([message.payload for message in messages], tx)
        assert len(counted) == 5


def _count_calls(tx, name, counted):
    original = getattr(tx, name)

    def counting(*args, **kwargs):
        counted.append(name)
        return original(*args, **kwargs)

    setattr(tx, name, counting)


def test_shipping_and_points_complete_an_order_that_is_paid(shop):
    shop.load(p_1=9)
    shop.place(an_order("o-1", ("p-1", 3)))
    shop.handle(*shop.take("inventory"))
    with shop.session.transaction() as tx:
        tx.execute("UPDATE shop.orders SET status = 'paid', pending = '{ship,award}'")
    for command, queue in ((CreateShipment, "shipping"), (AwardPoints, "points")):
        for _ in range(2):
            assert shop.handle(foreign(queue, command(order_id="o-1"))) == [DONE]
    detail = shop.show()
    assert detail.order.status == "completed"
    assert detail.order.terminal_at is not None
    assert detail.shipment_number == 1
    assert detail.points == 15
    assert shop.stock() == {"p-1": (6, 0, 3)}
    assert [event.type for event in detail.events].count("shipment_created") == 1


def test_points_given_up_let_the_order_complete_and_a_replay_awards_them_late(shop):
    shop.load(p_1=9)
    shop.place(an_order("o-1", ("p-1", 3)))
    shop.handle(*shop.take("inventory"))
    with shop.session.transaction() as tx:
        tx.execute("UPDATE shop.orders SET status = 'paid', pending = '{award}'")
    message = foreign("points", AwardPoints(order_id="o-1"))
    shop.die(message)
    assert shop.order().status == "completed"
    assert shop.show().points is None
    assert shop.handle(message) == [DONE]
    assert shop.handle(message) == [DONE]
    assert shop.show().points == 15
    assert shop.order().status == "completed"


def test_shipping_given_up_keeps_the_order_paid_with_a_human_asked(shop):
    shop.load(p_1=9)
    shop.place(an_order("o-1"))
    shop.handle(*shop.take("inventory"))
    with shop.session.transaction() as tx:
        tx.execute("UPDATE shop.orders SET status = 'paid', pending = '{ship}'")
    message = foreign("shipping", CreateShipment(order_id="o-1"))
    shop.die(message, "label printer refused")
    assert shop.order().status == "paid"
    assert shop.order().attention_reason == "shipment_failed: label printer refused"
    assert shop.handle(message) == [DONE]
    assert shop.order().status == "completed"


def test_what_changes_an_order_on_its_way_touches_no_index(shop):
    shop.load(p_1=99)
    shop.place(*[an_order(f"o-{n}") for n in range(3)])
    with shop.session.transaction() as tx:
        journal = Journal(tx, [f"o-{n}" for n in range(3)])
        for order_id in journal.orders:
            journal.record(order_id, EventType.STOCK_RESERVED, Step.RESERVE)
        journal.write()
        counts = tx.fetch_one(
            """SELECT n_tup_upd, n_tup_hot_upd FROM pg_stat_xact_user_tables
                WHERE relid = 'shop.orders'::regclass"""
        )
    assert counts == (3, 3)
