"""``ordermq order hold`` and ``release`` of many orders: who is held, who is not, what was agreed to."""

import pytest

from ordermq.errors import OrderNotFound
from ordermq.shop.cli import holding, passes
from ordermq.shop.cli.holding import hold_orders, release_orders
from ordermq.shop.cli.passes import BulkOptions
from ordermq.shop.selection import Selection
from ordermq.store import actions
from tests.support.shop import an_order, open_shop

ACME = (("merchant", "acme"),)


@pytest.fixture
def shop(database):
    with open_shop(database) as shop:
        shop.load(p_1=9)
        shop.place(*(an_order(f"o-{n}", attributes={"merchant": "acme"}) for n in (1, 2, 3)), an_order("o-4"))
        shop.handle(*shop.take("inventory"))
        yield shop


def hold(order_ids, tx, *, reason="looked at"):
    return hold_orders(order_ids, tx, by="ann", reason=reason, also_ended=False)


def release(order_ids, tx):
    return release_orders(order_ids, tx, by="ann", reason="well")


def do(shop, selection, *, releases=False, dry_run=False):
    """Hold or release orders as the command does, which asks; return what was counted."""
    work = holding._bulk_work("hold", "held", hold, holding._accepted_by_then)
    if releases:
        work = holding._bulk_work("release", "released", release, holding._held_by_then)
    options = BulkOptions(reason="x", rate=0.0, yes=False, dry_run=dry_run, as_json=True)
    return passes.forecast_and_do(shop.session, selection, work, options).counts


def held(shop):
    with shop.session.transaction() as tx:
        return {
            row[0]
            for row in tx.fetch_all("SELECT correlation_id FROM ordermq.holds WHERE released_at IS NULL")
        }


def test_a_merchant_s_orders_are_held_and_released_together_but_for_those_that_have_ended(shop, monkeypatch):
    monkeypatch.setattr(passes, "ask", lambda question, *, yes: None)
    with shop.session.transaction() as tx:
        tx.execute("UPDATE shop.orders SET status = 'completed', pending = '{}' WHERE order_id = 'o-3'")
    assert do(shop, Selection(attributes=ACME), dry_run=True) == {"held": 2, "unchanged": 1}
    assert held(shop) == set()
    assert do(shop, Selection(attributes=ACME)) == {"held": 2, "unchanged": 1}
    assert held(shop) == {"o-1", "o-2"}
    assert do(shop, Selection(attributes=ACME)) == {"unchanged": 3}
    with shop.session.transaction() as tx:
        hold(["o-4"], tx)
    assert do(shop, Selection(attributes=ACME, is_held=True), releases=True) == {"released": 2}
    assert held(shop) == {"o-4"}
    with shop.session.transaction() as tx:
        done = [(each.action, each.subject) for each in actions.select(tx) if each.subject == "order o-1"]
    assert sorted(done) == [("order.hold", "order o-1"), ("order.release", "order o-1")]


def test_an_order_that_goes_on_while_the_forecast_is_read_is_held_and_one_placed_then_is_not(
    shop, monkeypatch
):
    def ask(question, *, yes):
        with shop.session.transaction() as tx:
            tx.execute("UPDATE shop.orders SET updated_at = clock_timestamp() WHERE order_id = 'o-1'")
        shop.place(an_order("o-5", attributes={"merchant": "acme"}))

    monkeypatch.setattr(passes, "ask", ask)
    assert do(shop, Selection(attributes=ACME)) == {"held": 3}
    assert held(shop) == {"o-1", "o-2", "o-3"}


def test_what_is_held_while_the_forecast_is_read_is_not_released(shop, monkeypatch):
    with shop.session.transaction() as tx:
        hold(["o-1"], tx)

    def ask(question, *, yes):
        with shop.session.transaction() as tx:
            hold(["o-2"], tx, reason="fraud")

    monkeypatch.setattr(passes, "ask", ask)
    assert do(shop, Selection(is_held=True), releases=True) == {"released": 1}
    assert held(shop) == {"o-2"}


def test_of_given_ids_one_that_is_none_is_refused_and_the_others_are_held_whatever_they_wait_for(shop):
    with shop.session.transaction() as tx:
        tx.execute("UPDATE shop.orders SET status = 'completed', pending = '{}' WHERE order_id = 'o-3'")
        answers = hold_orders(["o-9", "o-3"], tx, by="ann", reason="x", also_ended=True)
        assert [(each.order_id, each.is_changed) for each in answers] == [("o-9", False), ("o-3", True)]
        assert isinstance(answers[0].refused, OrderNotFound)
        again, unknown = release_orders(["o-3", "o-9"], tx, by="ann", reason="x")
        assert (again.is_changed, again.hold.hold_reason, unknown.hold) == (True, "x", None)
