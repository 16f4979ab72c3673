"""Placing and cancelling orders in a shop's own transaction."""

import hashlib
import re
import threading
from contextlib import closing
from dataclasses import asdict
from datetime import UTC, datetime, timedelta, timezone
from random import Random

import msgspec
import psycopg2
import pytest
from psycopg2.extras import DictCursor, NamedTupleCursor, RealDictCursor

from ordermq.errors import BadInput, OrderConflict, OrderNotFound, StoreError, UsageError
from ordermq.shop import (
    Adjustment,
    Cancelled,
    Contact,
    Item,
    PaidBefore,
    Placed,
    Status,
    cancel_order,
    load_stock,
    place_order,
    place_orders,
)
from ordermq.store import Session, join_transaction, wake_relay
from ordermq.testing import wait_until
from tests.support.shop import CountingSession, an_order, open_shop

AMSTERDAM_TIME = timezone(timedelta(minutes=19, seconds=32))  # as it was until 1937
TRACE = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"
WAITING = """
    SELECT count(*) FROM pg_stat_activity
     WHERE application_name = 'second caller' AND wait_event_type = 'Lock'
"""


@pytest.fixture
def shop(database):
    with open_shop(database) as shop:
        yield shop


@pytest.fixture
def connection(database):
    """A plain psycopg2 application's connection."""
    settings = database.settings
    connection = psycopg2.connect(
        host=settings.host, port=settings.port, dbname=settings.name, user=settings.username,
        password=settings.password.reveal(),
    )  # fmt: skip
    yield connection
    connection.close()


def test_an_order_commits_with_the_application_s_own_data(shop, connection):
    with connection, connection.cursor() as cursor:
        cursor.execute("CREATE TABLE carts (cart_id text)")
    with connection, connection.cursor() as cursor:
        cursor.execute("INSERT INTO carts VALUES ('cart-1')")
        placed = place_order(an_order("o-1"), join_transaction(connection))
    assert placed == Placed("o-1", Status.PLACED, is_duplicate=False)
    assert shop.events() == ["order_placed"]
    assert [message.envelope.message_id for message in shop.take("inventory")] == ["o-1:1:inventory"]


@pytest.mark.parametrize("place", [lambda orders, tx: [place_order(orders[0], tx)], place_orders])
@pytest.mark.parametrize("cursors", [DictCursor, RealDictCursor, NamedTupleCursor])
def test_an_application_s_own_kind_of_cursor_changes_no_answer(shop, connection, cursors, place):
    connection.cursor_factory = cursors
    for is_duplicate in (False, True):
        with connection:
            answers = place([an_order("o-1")], join_transaction(connection))
        assert answers == [Placed("o-1", Status.PLACED, is_duplicate=is_duplicate)]
    with connection:
        assert load_stock([("p-1", 5)], join_transaction(connection)) == 1
        assert join_transaction(connection).fetch_one("SELECT 1, 2") == (1, 2)
        cancel_order("o-1", join_transaction(connection), "changed my mind")
    wake_relay(connection)
    assert shop.events() == ["order_placed", "cancel_requested"]


def one_by_one(orders, tx):
    return [place_order(order, tx) for order in orders]


@pytest.mark.parametrize("place", [one_by_one, place_orders])
def test_every_value_of_an_order_stands_in_its_own_column(shop, place):
    items = (
        Item(product_id="p-1", quantity=2, unit_price_minor=300, freight_minor=40),
        Item(product_id="p-2", quantity=5, unit_price_minor=60),
    )
    order = an_order(
        "o-1", customer_id="c-7", currency="BRL", items=items, total_minor=940,
        placed_at=datetime(2017, 5, 16, 15, 5, 35, tzinfo=UTC),
    )  # fmt: skip
    with shop.session.transaction() as tx:
        place([order], tx)
    with shop.session.transaction() as tx:
        row = tx.fetch_one("""
            SELECT order_id, customer_id, status, pending, version, currency, total_minor, content_sha256,
                   placed_at
              FROM shop.orders
        """)
        lines = tx.fetch_all(
            "SELECT order_id, line_no, product_id, quantity, unit_price_minor, freight_minor"
            " FROM shop.order_items ORDER BY line_no"
        )
        contacts = tx.fetch_all("TABLE shop.contacts")
        events = tx.fetch_all("SELECT order_id, version, type, step FROM shop.order_events")
        traces = tx.fetch_all(
            "SELECT traceparent FROM shop.orders UNION SELECT traceparent FROM ordermq.outbox"
        )
    assert row is not None
    assert (*row[:7], bytes(row[7]), row[8]) == (
        "o-1", "c-7", "placed", ["reserve"], 1, "BRL", 940, order.content_hash(), order.placed_at,
    )  # fmt: skip
    assert lines == [("o-1", 1, "p-1", 2, 300, 40), ("o-1", 2, "p-2", 5, 60, 0)]
    assert contacts == [("o-1", "tok_0001", "+4930123456", "someone@somewhere.example", "Some One")]
    assert events == [("o-1", 1, "order_placed", None)]
    assert len({traceparent.split("-")[1] for (traceparent,) in traces}) == 1
    [message] = shop.take("inventory")
    assert (message.envelope.correlation_id, message.envelope.attempt, message.envelope.hop) == ("o-1", 1, 0)


def test_one_order_is_written_as_many_are(shop):
    # Two functions write orders, and their rows must look the same.
    contact = Contact(
        phone="+4930123456", email="o'neil\\@somewhere.example", name='Zoë "Zo" \\ O\'Neil 你好'
    )
    one, other = (
        an_order(
            order_id, contact=contact, placed_at=datetime(1930, 5, 16, 15, 5, 35, 123456, AMSTERDAM_TIME)
        )
        for order_id in ("o-1", "o-2")
    )
    with shop.session.transaction() as tx:
        place_order(one, tx, traceparent=TRACE)
        place_orders([other], tx, traceparent=TRACE)
    for table in ("shop.orders", "shop.order_items", "shop.contacts", "shop.order_events", "ordermq.outbox"):
        first, second = written(shop, table)
        assert first == {key: value.replace("o-2", "o-1") for key, value in second.items()}
    assert shop.database.sql("SELECT DISTINCT name FROM shop.contacts") == contact.name
    assert shop.database.sql(INSTANTS_AND_SPANS) == "2|t|t|t"


INSTANTS_AND_SPANS = """
    SELECT count(*), bool_and(now() - e.occurred_at < interval '1 minute'),
           bool_and(now() - m.occurred_at < interval '1 minute'), bool_and(m.traceparent <> o.traceparent)
      FROM shop.orders AS o JOIN shop.order_events AS e USING (order_id)
      JOIN ordermq.outbox AS m ON m.correlation_id = order_id
"""
OF_EACH_ROW = {
    "content_sha256", "outbox_id", "available_at", "accepted_at", "updated_at", "occurred_at",
    "first_called_at",
}  # fmt: skip


def written(shop, table):
    """Return the two rows of a table, as text, but for what is of each row's own."""
    with shop.session.transaction() as tx:
        rows = tx.fetch_all(f"SELECT to_jsonb(t) FROM {table} AS t ORDER BY t::text")  # noqa: S608 # a table of ours
    return [{key: as_text(value) for key, value in row.items() if key not in OF_EACH_ROW} for (row,) in rows]


def as_text(value):
    """Return a value as text; bytes as what they say, but for instants, spans and hashes in them."""
    text = str(value)
    if text.startswith("\\x"):
        text = bytes.fromhex(text[2:]).decode()
        return re.sub(r'"(content_sha256|occurred_at)":"[^"]*"', "", text)
    return re.sub(r"-[0-9a-f]{16}-01$", "", text)


def rich_order(order_id):
    """An order with all that an order may hold."""
    line = (Adjustment("discount", -100, "SUMMER"), Adjustment("tax_included", 21))
    item = Item(product_id="p-1", quantity=2, unit_price_minor=500, adjustments=line)
    return an_order(
        order_id, items=(item, item), total_minor=2265, card_token=None, notify="both",
        adjustments=(Adjustment("shipping", 490), Adjustment("rounding", -25, "\"Rappen\" \\")),
        payment=PaidBefore(reference="ch_1"), placed_at=datetime(2026, 1, 31, tzinfo=UTC),
    )  # fmt: skip


@pytest.mark.parametrize("place", [one_by_one, place_orders])
def test_what_an_order_costs_beside_its_items_is_stored_line_by_line(shop, place):
    with shop.session.transaction() as tx:
        place([an_order("o-0"), rich_order("o-1"), an_order("o-2")], tx)
        place([rich_order("o-1")], tx)
        adjustments = tx.fetch_all("TABLE shop.order_adjustments ORDER BY line_no, adjustment_no")
        orders = tx.fetch_all(
            "SELECT order_id, total_minor, charge, notify FROM shop.orders ORDER BY order_id"
        )
        payments = tx.fetch_all(
            "SELECT order_id, idempotency_key, amount_minor, currency, state, capture_id FROM shop.payments"
        )
        body = tx.fetch_one("SELECT body FROM shop.order_events WHERE order_id = 'o-1'")
    assert adjustments == [
        ("o-1", 0, 1, "shipping", 490, ""),
        ("o-1", 0, 2, "rounding", -25, '"Rappen" \\'),
        *(
            ("o-1", line_no, number, *columns)
            for line_no in (1, 2)
            for number, columns in enumerate([("discount", -100, "SUMMER"), ("tax_included", 21, "")], 1)
        ),
    ]
    assert orders == [
        ("o-0", 500, "card", "text"),
        ("o-1", 2265, "paid", "both"),
        ("o-2", 500, "card", "text"),
    ]
    assert payments == [("o-1", "paid:o-1", 2265, "EUR", "captured", "ch_1")]
    assert b"SUMMER" not in bytes(body[0])


def test_a_rich_order_is_written_alone_as_it_is_among_many(shop):
    with shop.session.transaction() as tx:
        place_order(rich_order("o-1"), tx, traceparent=TRACE)
        place_orders([rich_order("o-2")], tx, traceparent=TRACE)
    for table in ("shop.orders", "shop.contacts", "shop.order_events", "ordermq.outbox", "shop.payments"):
        first, second = written(shop, table)
        assert first == {key: value.replace("o-2", "o-1") for key, value in second.items()}


FREE = {"adjustments": (Adjustment("gift_card", -500),), "total_minor": 0}
TERMS = "SELECT charge, notify, card_token FROM shop.orders NATURAL JOIN shop.contacts"


@pytest.mark.parametrize(
    ("changes", "stored"),
    [
        ({}, "card|text|tok_0001"),
        (FREE, "free|text|"),
        (FREE | {"card_token": None}, "free|text|"),
        ({"payment": PaidBefore(reference="ch_1")}, "paid|text|"),
        ({"contact": Contact()}, "card|text|tok_0001"),
        ({"contact": Contact(email="a@b.example")}, "card|email|tok_0001"),
        ({"contact": Contact(email="a@b.example", phone="call me")}, "card|email|tok_0001"),
        ({"contact": Contact(email="a@b.example"), "notify": "none"}, "card|none|tok_0001"),
    ],
)
@pytest.mark.parametrize("place", [one_by_one, place_orders])
def test_who_is_charged_and_how_the_customer_is_told_is_decided_when_it_is_placed(
    shop, place, changes, stored
):
    with shop.session.transaction() as tx:
        place([an_order("o-1", **changes)], tx)
    assert shop.database.sql(TERMS) == stored


def test_a_plain_order_is_placed_with_one_statement_and_a_rich_one_too(shop):
    with closing(CountingSession(shop.database.settings)) as session:
        for order in (an_order("o-1"), rich_order("o-2")):
            session.statements = 0
            with session.transaction() as tx:
                place_order(order, tx)
            assert session.statements == 1
        session.statements = 0
        with session.transaction() as tx:
            place_orders([an_order("o-3"), rich_order("o-4")], tx)
        assert session.statements == 2


@pytest.mark.parametrize("place", [place_order, lambda order, tx: place_orders([order], tx)])
def test_no_table_of_which_an_order_needs_no_row_holds_up_placing_it(shop, connection, place):
    with connection, connection.cursor() as cursor:
        cursor.execute("LOCK TABLE shop.payments, shop.order_adjustments")
        with shop.session.transaction() as tx:
            place(an_order("o-1"), tx)
    assert shop.events() == ["order_placed"]


def test_a_connection_that_has_kept_its_plans_still_tells_a_new_order_from_a_known_one(shop):
    with shop.session.transaction() as tx:
        answers = [place_order(an_order(f"o-{number // 2}"), tx) for number in range(24)]
    assert [each.is_duplicate for each in answers] == [False, True] * 12
    assert len(shop.take("inventory")) == 12


def test_nothing_remains_of_an_order_whose_transaction_is_rolled_back(shop, connection):
    place_order(an_order("o-1"), join_transaction(connection))
    connection.rollback()
    for table in ("shop.orders", "shop.order_items", "shop.contacts", "shop.order_events", "ordermq.outbox"):
        assert shop.database.sql(f"TABLE {table}") == ""


def test_an_autocommit_connection_is_refused(shop, connection):
    connection.autocommit = True
    with pytest.raises(UsageError, match="autocommit"):
        place_order(an_order("o-1"), join_transaction(connection))
    with pytest.raises(OrderNotFound):
        shop.show()


def test_the_same_order_again_is_the_same_answer(shop):
    shop.place(an_order("o-1"))
    assert shop.place(an_order("o-1")) == [Placed("o-1", Status.PLACED, is_duplicate=True)]
    assert len(shop.take("inventory")) == 1


def test_the_same_order_later_is_answered_with_its_present_status(shop):
    shop.place(an_order("o-1"))
    with shop.session.transaction() as tx:
        cancel_order("o-1", tx, "changed my mind")
    assert shop.place(an_order("o-1")) == [Placed("o-1", Status.CANCELLED, is_duplicate=True)]


def test_another_order_of_the_same_id_is_a_conflict_that_leaves_the_transaction_good(shop):
    shop.place(an_order("o-1"))
    with shop.session.transaction() as tx:
        with pytest.raises(OrderConflict, match="o-1"):
            place_order(an_order("o-1", ("p-2", 9)), tx)
        place_order(an_order("o-2"), tx)
    assert [item.product_id for item in shop.show("o-1").items] == ["p-1"]
    assert shop.order("o-2").status == "placed"


def answer_of(order, tx):
    try:
        return [place_order(order, tx)]
    except OrderConflict as conflict:
        return [conflict]


def as_before(shop, order):
    """Place ``order``, and have its hash be the one that ordermq stored at first."""
    shop.place(order)
    version_1 = hashlib.sha256(msgspec.json.encode(order)).digest()
    with shop.session.transaction() as tx:
        tx.execute("UPDATE shop.orders SET content_sha256 = %s", (version_1,))


WRITTEN = {
    "contact": Contact(phone="+4930123456", name="Zoe\u0308"),
    "placed_at": datetime(2026, 1, 31, 10, 30, tzinfo=timezone(timedelta(hours=1))),
}


@pytest.mark.parametrize("place", [answer_of, lambda order, tx: place_orders([order], tx)])
@pytest.mark.parametrize(
    ("changes", "is_same"),
    [
        ({}, True),
        ({"contact": Contact(phone="00 49 30 123456", name="Zo\u00eb")}, True),
        ({"placed_at": datetime(2026, 1, 31, 9, 30, tzinfo=UTC)}, True),
        ({"placed_at": None}, True),  # the rows do not say whether it was named
        ({"placed_at": datetime(2026, 1, 31, 9, 31, tzinfo=UTC)}, False),
        ({"contact": Contact(phone="+4930123457", name="Zo\u00eb")}, False),
        ({"contact": Contact(phone="+4930123456")}, False),
        ({"customer_id": "c-2"}, False),
        ({"card_token": "tok_0002"}, False),
    ],
)
def test_an_order_of_before_in_another_spelling_is_compared_by_what_its_rows_mean(
    shop, place, changes, is_same
):
    as_before(shop, an_order("o-1", ("p-1", 2), ("p-2", 1), **WRITTEN))
    again = an_order("o-1", ("p-2", 1), ("p-1", 2), **(WRITTEN | changes))
    with shop.session.transaction() as tx:
        [answer] = place(again, tx)
    assert isinstance(answer, Placed if is_same else OrderConflict)
    assert shop.events() == ["order_placed"]


def test_an_order_of_before_with_other_lines_is_a_conflict(shop):
    as_before(shop, an_order("o-1", ("p-1", 2), ("p-2", 1)))
    for lines in [("p-1", 2), ("p-2", 2)], [("p-1", 1), ("p-2", 2)], [("p-1", 3)]:
        with pytest.raises(OrderConflict):
            shop.place(an_order("o-1", *lines))


@pytest.mark.parametrize("place", [answer_of, lambda order, tx: place_orders([order], tx)])
@pytest.mark.parametrize("is_same", [True, False])
def test_of_two_callers_at_the_same_instant_the_second_waits_for_the_first(shop, is_same, place):
    # PLC1
    # Given a first caller that has not committed yet
    answers = []
    session = Session(shop.database.settings, name="second caller")
    other = an_order("o-1") if is_same else an_order("o-1", ("p-2", 1))

    def second_caller():
        with session.transaction() as tx:
            answers.extend(place(other, tx))

    second = threading.Thread(target=second_caller)
    with shop.session.transaction() as tx:
        place_order(an_order("o-1"), tx)
        # When a second one places the same id
        second.start()
        wait_until(lambda: shop.database.sql(WAITING) == "1", 10)
        assert answers == []
    second.join(10)
    session.close()
    # Then it sees what the first one did
    if is_same:
        assert answers == [Placed("o-1", Status.PLACED, is_duplicate=True)]
    else:
        assert isinstance(answers[0], OrderConflict)
    assert shop.events() == ["order_placed"]


def test_bulk_callers_that_share_orders_do_not_deadlock(shop):
    # PLC2
    faults = []

    def place_all(seed):
        random = Random(seed)
        with closing(Session(shop.database.settings, name="bulk caller")) as session:
            try:
                for number in range(20):
                    orders = [an_order(f"o-{number}-{each}") for each in range(30)]
                    random.shuffle(orders)
                    with session.transaction() as tx:
                        place_orders(orders, tx)
            except Exception as exc:
                faults.append(exc)

    threads = [threading.Thread(target=place_all, args=(seed,)) for seed in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert faults == []
    assert shop.database.sql("SELECT count(*) FROM shop.orders") == "600"


def test_many_orders_get_an_answer_each_in_their_order(shop):
    shop.place(an_order("o-1"), an_order("o-2"))
    many = [
        an_order("o-3"), an_order("o-1"), an_order("o-2", ("p-9", 1)), an_order("o-3"),
        an_order("o-3", ("p-9", 1)), an_order("o-0"),
    ]  # fmt: skip
    with shop.session.transaction() as tx:
        answers = place_orders(many, tx)
    assert [each if isinstance(each, Placed) else type(each) for each in answers] == [
        Placed("o-3", Status.PLACED, is_duplicate=False),
        Placed("o-1", Status.PLACED, is_duplicate=True),
        OrderConflict,
        Placed("o-3", Status.PLACED, is_duplicate=True),
        OrderConflict,
        Placed("o-0", Status.PLACED, is_duplicate=False),
    ]
    assert len(shop.take("inventory")) == 4


def test_an_order_s_trace_goes_on_from_the_caller_s_into_its_first_command(shop):
    trace_id = "4bf92f3577b34da6a3ce929d0e0e4736"
    with shop.session.transaction() as tx:
        place_order(an_order("o-1"), tx, traceparent=f"00-{trace_id}-00f067aa0ba902b7-01")
    assert trace_id in shop.order().traceparent
    assert trace_id in shop.take("inventory")[0].envelope.traceparent


def test_a_cancelled_order_s_commands_carry_its_trace(shop):
    shop.place(an_order("o-1"))
    with shop.session.transaction() as tx:
        cancel_order("o-1", tx, "changed my mind")
    trace_ids = {message.envelope.traceparent[3:35] for message in shop.take("inventory", "notify")}
    assert trace_ids == {shop.order().traceparent[3:35]}


def test_personal_data_stands_in_contacts_alone(shop):
    shop.place(an_order("o-1", card="tok_secret_0001", phone="+4915112345678"))
    shop.load(p_1=1)
    shop.handle(*shop.take("inventory"))
    with shop.session.transaction() as tx:
        tables = tx.fetch_all(
            "SELECT table_schema || '.' || table_name FROM information_schema.tables"
            " WHERE table_schema IN ('shop', 'ordermq') AND table_name <> 'contacts'"
        )
        for (table,) in tables:
            rows = tx.fetch_all(f"TABLE {table}")
            text = str([[bytes(v) if isinstance(v, memoryview) else v for v in row] for row in rows])
            for personal in ("tok_secret", "4915112345678", "someone@", "Some One"):
                assert personal not in text, table


# --- cancelling -----------------------------------------------------------------


def test_a_placed_order_can_be_cancelled_and_its_reservation_is_then_not_made(shop):
    shop.load(p_1=5)
    shop.place(an_order("o-1"))
    with shop.session.transaction() as tx:
        assert cancel_order("o-1", tx, "changed my mind").status is Status.CANCELLED
    shop.handle(*shop.take("inventory"))
    assert shop.stock() == {"p-1": (5, 0, 0)}
    assert shop.events() == ["order_placed", "cancel_requested", "stock_rejected"]


def test_a_reserved_order_can_be_cancelled_and_its_stock_comes_back(shop):
    shop.load(p_1=5)
    shop.place(an_order("o-1"))
    shop.handle(*shop.take("inventory"))
    with shop.session.transaction() as tx:
        cancel_order("o-1", tx, "changed my mind")
    shop.handle(*shop.take("inventory"))
    assert shop.stock() == {"p-1": (5, 0, 0)}
    assert shop.order().status == "cancelled"


def test_cancelling_twice_is_cancelling_once(shop):
    shop.place(an_order("o-1"))
    for is_duplicate in (False, True):
        with shop.session.transaction() as tx:
            cancelled = cancel_order("o-1", tx, "changed my mind")
        assert cancelled == Cancelled("o-1", Status.CANCELLED, is_duplicate)
    assert shop.events().count("cancel_requested") == 1


def test_cancelling_an_unknown_order_says_so(shop):
    with shop.session.transaction() as tx, pytest.raises(OrderNotFound, match="o-7"):
        cancel_order("o-7", tx, "what order")


# --- history and stock --------------------------------------------------------------


@pytest.mark.parametrize(
    "statement",
    [
        "UPDATE shop.order_events SET type = 'order_placed'",
        "DELETE FROM shop.order_events",
        "DELETE FROM shop.order_events WHERE order_id = 'nobody'",
        "TRUNCATE shop.order_events",
    ],
)
def test_the_history_of_orders_cannot_be_changed(shop, statement):
    shop.place(an_order("o-1"))
    with pytest.raises(StoreError, match="only added to"), shop.session.transaction() as tx:
        tx.execute(statement)
    assert shop.events() == ["order_placed"]


def test_loading_the_same_stock_twice_changes_nothing(shop):
    assert shop.load(p_1=5, p_2=7) == 2
    shop.load(p_1=5, p_2=7)
    assert shop.stock() == {"p-1": (5, 0, 0), "p-2": (7, 0, 0)}


def test_loading_more_of_what_is_partly_reserved_adds_to_what_is_on_hand(shop):
    shop.load(p_1=5)
    shop.place(an_order("o-1", ("p-1", 2)))
    shop.handle(*shop.take("inventory"))
    shop.load(p_1=9)
    assert shop.stock() == {"p-1": (7, 2, 0)}


def test_stock_cannot_be_loaded_below_what_is_reserved(shop):
    shop.load(p_1=5)
    shop.place(an_order("o-1", ("p-1", 2)))
    shop.handle(*shop.take("inventory"))
    with pytest.raises(BadInput, match="p-1"):
        shop.load(p_1=1)


@pytest.mark.parametrize(
    "rows", [[("p", -1)], [("p q", 1)], [("p", True)], [("p", 1), ("p", 2)], [("p", 2**53)]]
)
def test_stock_rows_out_of_bounds_are_refused(shop, rows):
    with shop.session.transaction() as tx, pytest.raises(BadInput):
        load_stock(rows, tx)


def test_everything_about_an_order_can_be_shown(shop):
    shop.load(p_1=5)
    shop.place(an_order("o-1", ("p-1", 2), ("p-1", 1)))
    detail = asdict(shop.show())
    assert detail["order"]["status"] == "placed"
    assert [(item["quantity"], item["reservation"]) for item in detail["items"]] == [(2, None), (1, None)]
    assert [(each["place"], each["message_id"]) for each in detail["messages"]] == [
        ("outbox", "o-1:1:inventory")
    ]
    assert detail["payment"] is None
    assert detail["shipment_number"] is None
