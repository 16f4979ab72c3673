"""Operators and programs act on an order only if it is still as they saw it (EXP1)."""

import pytest

from ordermq.errors import OrderNotFound, VersionConflict
from ordermq.shop import cancel_order, expect_version
from ordermq.shop.cli import passes
from ordermq.shop.cli.passes import BulkOptions, BulkWork, forecast_and_do
from ordermq.shop.cli.resolving import ResolveTally
from ordermq.shop.events import EventType
from ordermq.shop.journal import Journal
from ordermq.shop.resolve import Resolved, resolve_orders
from ordermq.shop.selection import Selection
from tests.support.shop import an_order, open_shop


@pytest.fixture
def shop(database):
    with open_shop(database) as opened:
        yield opened


def raise_attention(shop, *order_ids):
    with shop.session.transaction() as tx:
        journal = Journal(tx, order_ids)
        for each in order_ids:
            journal.record(each, EventType.ATTENTION_RAISED, attention="look")
        journal.write()


def test_an_order_that_has_changed_is_left_alone_and_the_error_says_both_versions(shop):
    shop.place(an_order("o-1"))
    raise_attention(shop, "o-1")
    expected = pytest.raises(VersionConflict, match="version 1 was expected and 2 was found")
    with expected as caught, shop.session.transaction() as tx:
        expect_version("o-1", 1, tx)
        cancel_order("o-1", tx, "as it was")
    assert (caught.value.expected, caught.value.found, caught.value.exit_code) == (1, 2, 65)
    assert shop.events() == ["order_placed", "attention_raised"]
    with shop.session.transaction() as tx, pytest.raises(OrderNotFound, match="o-9"):
        expect_version("o-9", 1, tx)
    with shop.session.transaction() as tx:
        expect_version("o-1", 2, tx)
        cancel_order("o-1", tx, "as it was")
    assert shop.events()[-1] == "cancel_requested"


def test_what_changes_between_forecast_and_deed_is_refused_and_the_others_are_done(shop, monkeypatch):
    shop.place(an_order("o-1"), an_order("o-2"))
    raise_attention(shop, "o-1", "o-2")
    said = []

    def work(order_ids, tx):
        return resolve_orders(order_ids, tx, by="anna@desk", reason="looked")

    def write(line):
        if not said:  # the forecast's own line: somebody else is quicker than the operator
            raise_attention(shop, "o-2")
        said.append(line)

    monkeypatch.setattr(passes, "write", write)
    bulk = BulkWork(
        "resolve", work, work, ResolveTally, lambda found: Resolved(found.order_id, None, [], [], found)
    )
    options = BulkOptions("looked", 0.0, yes=True, dry_run=False, as_json=False)
    tally = forecast_and_do(shop.session, Selection(order_ids=("o-1", "o-2")), bulk, options)
    assert tally.counts == {"resolved": 1, "refused": 1}
    assert any("o-2" in line and "version 2 was expected and 3 was found" in line for line in said)
    assert shop.events("o-1")[-1] == "attention_resolved"
    assert shop.events("o-2")[-1] == "attention_raised"


def test_orders_of_a_filter_that_change_after_the_forecast_are_left_alone_and_counted(shop, monkeypatch):
    for order_id in ("o-1", "o-2"):
        shop.place(an_order(order_id))
        raise_attention(shop, order_id)
    said = []
    monkeypatch.setattr(passes, "note", said.append)
    monkeypatch.setattr(passes, "ask", lambda question, *, yes: raise_attention(shop, "o-2"))

    def work(order_ids, tx):
        return resolve_orders(order_ids, tx, by="anna@shop1", reason="looked")

    bulk = BulkWork("resolve", work, work, ResolveTally, str)
    options = BulkOptions("looked", 0.0, yes=False, dry_run=False, as_json=True)
    tally = forecast_and_do(shop.session, Selection(needs_person=True), bulk, options)
    assert tally.counts == {"resolved": 1}
    assert said[-1].startswith("1 orders of the forecast have changed since, and stay as they are")
    assert shop.events("o-2")[-1] == "attention_raised"
