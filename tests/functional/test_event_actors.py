"""Each event says who made it and under which trace, and the audit log's leaf holds both."""

import json
from contextlib import closing

import pytest

from ordermq.observe import trace
from ordermq.shop import cancel_order, module, place_order, place_orders
from ordermq.shop.events import EventType
from ordermq.shop.journal import Journal
from ordermq.shop.resolve import resolve_order
from ordermq.store import Session, join_transaction
from ordermq.store.connecting import connect
from tests.support.shop import an_order, open_shop

(RECORDS,) = module.load_each("records")


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
    assert all(b'"actor":' in each and b'"trace_id":' in each for each in contents)
    assert any(b'"actor":"ben@desk"' in each for each in contents)


def test_a_transaction_of_another_connection_is_named_as_that_connection_is(shop):
    with closing(connect(shop.database.settings, name="their program")) as connection:
        connection.autocommit = False
        place_order(an_order("o-1"), join_transaction(connection))
        connection.commit()
    assert made_by(shop, "o-1")[0][1] == "their program"
