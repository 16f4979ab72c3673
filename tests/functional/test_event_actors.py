"""Each event says who made it and under which trace, and the audit log's leaf holds both."""

import json
from contextlib import closing

import pytest

from ordermq.observe import trace
from ordermq.outward import OutwardRecords
from ordermq.shop import cancel_order, module, place_order, place_orders
from ordermq.shop.events import EventType
from ordermq.shop.journal import Journal
from ordermq.shop.resolve import resolve_order
from ordermq.store import Session, join_transaction
from ordermq.store.connecting import connect
from ordermq.store.numbering import Sequencer
from tests.support.shop import an_order, open_shop

(RECORDS,) = module.load_each("records")
STORED = "SELECT body FROM shop.order_events ORDER BY version"


@pytest.fixture
def shop(database):
    with open_shop(database) as opened:
        yield opened


def made_by(shop, order_id):
    """Return type, actor and trace id of an order's events."""
    bodies = [json.loads(each.body) for each in shop.show(order_id).events]
    return [(each["type"], each["actor"], each["trace_id"]) for each in bodies]


def test_an_event_says_who_made_it_and_under_which_trace(shop):
    caller = trace.new()
    shop.load(p_1=100)
    with closing(Session(shop.database.settings, name="webshop")) as session, session.transaction() as tx:
        place_order(an_order("o-1"), tx, traceparent=caller)
        place_orders([an_order("o-2")], tx)
        [(traceparent,)] = tx.fetch_all("SELECT traceparent FROM shop.orders WHERE order_id = 'o-2'")
    own = trace.trace_id_of(traceparent)
    assert made_by(shop, "o-1") == [("order_placed", "webshop", caller[3:35])]
    assert made_by(shop, "o-2") == [("order_placed", "webshop", own)]

    message = shop.take("inventory")[0]
    handled = trace.child(message.envelope.traceparent)
    with closing(Session(shop.database.settings, name="c", actor="inventory")) as session:
        with session.transaction(traces={"o-1": handled}) as tx:
            message.handler.call([message.payload], tx)
        with session.transaction() as tx:
            journal = Journal(tx, ["o-2"])
            journal.record("o-2", EventType.ATTENTION_RAISED, attention="look")
            journal.write()
    with shop.session.transaction() as tx:
        resolve_order("o-2", tx, by="anna@desk", reason="looked")
        cancel_order("o-2", tx, "changed my mind", by="ben@desk")
    assert made_by(shop, "o-1")[1] == ("stock_reserved", "inventory", caller[3:35])
    assert made_by(shop, "o-2")[1:] == [
        ("attention_raised", "inventory", own),
        ("attention_resolved", "anna@desk", own),
        ("cancel_requested", "ben@desk", own),
    ]
    with shop.session.transaction() as tx:
        contents = [bytes(row[3]) for row in tx.fetch_all(RECORDS.select)]
    assert all(b'"actor":' in each for each in contents)
    assert any(b'"actor":"ben@desk"' in each for each in contents)
    # The trace of the order stands in its first event alone, and whoever reads gets it with each.
    assert [b'"trace_id":' in each for each in contents if b'"o-2"' in each] == [True, False, False, False]


def test_an_event_goes_outward_with_its_trace_wherever_that_is_stored(shop):
    caller, other = trace.new(), trace.new()
    with closing(Session(shop.database.settings, name="c", actor="inventory")) as session:
        with session.transaction() as tx:
            place_order(an_order("o-1"), tx, traceparent=caller)
        for traces in ({}, {"o-1": trace.child(caller)}, {"o-1": other}):
            with session.transaction(traces=traces) as tx:
                journal = Journal(tx, ["o-1"])
                journal.record("o-1", EventType.ATTENTION_RESOLVED, by="anna@desk", reason="looked")
                journal.write()
        Sequencer()(session, is_active=True)
        with session.transaction() as tx:
            outward = OutwardRecords([RECORDS], "/orders")
            events = [each.event for each in outward.read(tx, 0, 10, None)]
            stored = [bytes(body) for (body,) in tx.fetch_all(STORED)]
    traces = [caller[3:35]] * 3 + [other[3:35]]
    assert [json.loads(each.data)["trace_id"] for each in events] == traces
    assert [trace.trace_id_of(each.traceparent) for each in events] == traces
    assert [b'"trace_id":' in each for each in stored] == [True, False, False, True]
    assert [each.data for each in events][::3] == stored[::3]
    for each in events:
        assert (
            each.data
            == json.dumps(
                json.loads(each.data), sort_keys=True, separators=(",", ":"), ensure_ascii=False
            ).encode()
        )
    assert made_by(shop, "o-1") == [
        (json.loads(each.data)["type"], "inventory", json.loads(each.data)["trace_id"]) for each in events
    ]


def test_a_transaction_of_another_connection_is_named_as_that_connection_is(shop):
    with closing(connect(shop.database.settings, name="their program")) as connection:
        connection.autocommit = False
        place_order(an_order("o-1"), join_transaction(connection))
        connection.commit()
    assert made_by(shop, "o-1")[0][1] == "their program"
