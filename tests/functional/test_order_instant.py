"""An order at any instant, and the tables of orders put right from the history, on a real database."""

import json
from datetime import UTC, datetime, timedelta

import pytest

from ordermq.clock import utc_now
from ordermq.errors import BadInput, OrderNotFound
from ordermq.failpoints import EXIT_CODE
from ordermq.shop import (
    Adjustment,
    cancel_order,
    order_at,
    order_diff,
    order_history,
    pay_order,
    refund_order,
    return_goods,
)
from ordermq.shop.events import EventType
from ordermq.shop.journal import Journal
from ordermq.shop.rebuild import compare_orders, repair_orders
from ordermq.shop.reopen import reopen_order
from ordermq.store import actions
from ordermq.store.numbering import Sequencer
from tests.support.commands import run_program
from tests.support.shop import an_order, open_shop

WHY = {"by": "anna", "reason": "damaged"}
IDS = ["o-back", "o-declined", "o-free", "o-gone", "o-mail", "o-short"]
ALL_OFF = (Adjustment("discount", -500, "GIFT"),)

_ROWS = """
    SELECT string_agg(o::text, E'\\n' ORDER BY o.order_id) FROM shop.orders AS o
    UNION ALL SELECT string_agg(i::text, E'\\n' ORDER BY i.order_id, i.line_no) FROM shop.order_items AS i
"""

_CLOCK_AHEAD = """
    SET session_replication_role = replica;
    UPDATE shop.order_events SET occurred_at = occurred_at + interval '1 day'
     WHERE order_id = 'o-mail'
       AND version = (SELECT max(version) - 1 FROM shop.order_events WHERE order_id = 'o-mail')
"""

# What a person with psql might do, each to other columns.
_WRONG = (
    "UPDATE shop.orders SET status = 'placed', pending = '{reserve}', version = 1 WHERE order_id = 'o-back'",
    "UPDATE shop.orders SET refunded_minor = 7, customer_id = 'c-2' WHERE order_id = 'o-gone'",
    "UPDATE shop.orders SET attention_reason = 'look', content_sha256 = '\\x00' WHERE order_id = 'o-mail'",
    "UPDATE shop.order_items SET refunded = 0, quantity = 9 WHERE order_id = 'o-back'",
    "DELETE FROM shop.order_items WHERE order_id = 'o-declined'",
    "INSERT INTO shop.order_items (order_id, line_no, product_id, quantity, unit_price_minor, freight_minor)"
    " VALUES ('o-free', 2, 'p-9', 1, 1, 1)",
)


class SeenShop:
    """A shop, and what its tables had of the order o-back at some instants."""

    def __init__(self, shop, env):
        self.shop, self.env = shop, env
        self.seen = []

    def look(self):
        row = self.shop.order("o-back")
        self.seen.append((utc_now(), row.status, row.pending, row.refunded_minor, row.version))

    def run(self, *argv, **env):
        return run_program("ordermq", *argv, env={**self.env, **env})

    def json(self, *argv):
        """Return the lines of JSON that a command prints, which must end with 0."""
        found = self.run(*argv, "--json")
        assert found.returncode == 0, found
        return [json.loads(line) for line in found.stdout.splitlines()]

    def rows(self):
        with self.shop.session.transaction() as tx:
            return tx.fetch_all(_ROWS)

    def differ(self):
        """Return the orders whose rows are not what their events say."""
        with self.shop.session.transaction() as tx:
            found = compare_orders(IDS, tx)
            assert sorted(each.stored.order_id for each in found) == IDS
            return {each.stored.order_id: each.differences for each in found if each.differences}

    def spoil(self):
        with self.shop.session.transaction() as tx:
            for each in _WRONG:
                tx.execute(each)


@pytest.fixture
def seen(ordermq_stack, database, sandbox):
    """Orders that were refunded in part, cancelled, declined and paid again, short and reopened, and free."""
    with open_shop(database, sandbox, grace_s=600.0) as shop:
        found = SeenShop(shop, {**ordermq_stack.environment(), "ORDERMQ_DATABASE_NAME": database.name})
        shop.load(p_1=20)
        shop.place(
            an_order("o-back", ("p-1", 3)),
            an_order("o-gone"),
            an_order("o-mail", notify="email"),
            an_order("o-declined", card="tok_0002"),
            an_order("o-short", ("p-1", 99)),
            an_order("o-free", adjustments=ALL_OFF, total_minor=0, card=None),
        )
        found.look()
        shop.handle(*shop.take("inventory"))
        found.look()
        for message in shop.take("payment"):
            shop.attempt(message)
        found.look()
        with shop.session.transaction() as tx:
            cancel_order("o-gone", tx, "changed my mind")
            pay_order("o-declined", "tok_0001", tx, by="anna")
        shop.run()
        found.look()
        with shop.session.transaction() as tx:
            refund_order("o-back", tx, lines={1: 2}, **WHY)
        found.look()
        with shop.session.transaction() as tx:
            return_goods("o-back", tx, lines={1: 1}, refund=False, **WHY)
            reopen_order("o-short", tx, by="anna", reason="we have some")
        shop.run()
        found.look()
        Sequencer()(shop.session, is_active=True)
        yield found


def test_an_order_is_what_it_was_at_each_instant_by_its_events_alone(seen):
    assert [each[1] for each in seen.seen[:4]] == ["placed", "reserved", "paid", "completed"]
    assert seen.differ() == {}
    with seen.shop.session.transaction() as tx:
        for at, status, pending, refunded_minor, version in seen.seen:
            order = order_at("o-back", at, tx)
            assert (order.state.status, sorted(order.state.pending)) == (status, sorted(pending))
            assert (order.refunded_minor, order.version) == (refunded_minor, version)
        (line,) = order.lines
        assert (line.refunded, line.returned, order.refunded_minor, order.payment) == (2, 1, 1000, "captured")
        placed, *_, now = [each[0] for each in seen.seen]
        diff = order_diff("o-back", placed, now, tx)
        assert [each.version for each in diff.events] == list(range(2, order.version + 1))
        assert ("status", "placed", "completed") in diff.changes
        assert order_diff("o-back", now, now, tx).changes == []
        with pytest.raises(BadInput, match="give the earlier instant first"):
            order_diff("o-back", now, placed, tx)
        with pytest.raises(OrderNotFound, match=r"accepted at 20.*Z: at 2020-.*Z there was nothing"):
            order_at("o-back", datetime(2020, 1, 1, tzinfo=UTC), tx)
        with pytest.raises(OrderNotFound, match="no order 'none'"):
            order_at("none", now, tx)
        assert order_at("o-gone", now, tx).because == "asked for: changed my mind"
        by = {each.event.type: each.event.by for each in order_history("o-declined", tx)}
        assert by[EventType.CARD_REPLACED] == "anna"


def test_a_version_follows_those_before_it_whatever_the_clocks_said(seen):
    with seen.shop.session.transaction() as tx:
        *_, before, last = [each.event for each in order_history("o-mail", tx)]
        seen.shop.database.postgres.sql(_CLOCK_AHEAD, database=seen.shop.database.name, superuser=True)
        assert order_at("o-mail", last.occurred_at, tx).version == last.version
        assert order_at("o-mail", last.occurred_at - timedelta(microseconds=1), tx).version < before.version


def test_commands_show_an_order_at_an_instant_its_history_and_what_changed(seen):
    placed, *_, now = [each[0].isoformat() for each in seen.seen]
    (then,) = seen.json("order", "show", "o-back", "--at", placed)
    assert (then["status"], then["pending"], then["version"]) == ("placed", ["reserve"], 1)
    assert then["lines"][0]["quantity"] == 3
    text = seen.run("order", "show", "o-back", "--at", now).stdout
    assert "paid back  10.00 EUR" in text
    assert "+493" not in text
    history = seen.json("order", "history", "o-back")
    assert [each["version"] for each in history] == list(range(1, len(history) + 1))
    assert all(isinstance(each["position"], int) for each in history)
    (asked,) = [each for each in history if each["type"] == "refund_requested"]
    assert (asked["actor"], asked["data"]["amount_minor"]) == ("anna", 1000)
    assert {"name": "pending", "before": [], "after": ["refund"]} in asked["changes"]
    assert "status placed -> reserved" in seen.run("order", "history", "o-back").stdout
    (diff,) = seen.json("order", "diff", "o-back", "--from", placed)  # to now
    assert (diff["from_version"], diff["to_version"]) == (1, len(history))
    assert {"name": "status", "before": "placed", "after": "completed"} in diff["changes"]
    assert "refund_requested" in seen.run("order", "diff", "o-back", "--from", placed, "--to", now).stdout
    for code, words, *argv in (
        (1, "there was nothing of it yet", "show", "o-back", "--at", "2020-01-01T00:00Z"),
        (1, "no order 'none'", "history", "none"),
        (1, "no order 'none'", "diff", "none", "--from", placed, "--to", now),
        (64, "names no time zone", "show", "o-back", "--at", "2026-11-01T10:42:00"),
        (65, "give the earlier instant first", "diff", "o-back", "--from", now, "--to", placed),
        (0, "in the future", "show", "o-back", "--at", "2999-01-01T00:00Z"),
    ):
        found = seen.run("order", *argv)
        assert (found.returncode, words in found.stderr) == (code, True), found


def test_rows_that_were_changed_by_hand_are_found_and_written_anew_byte_by_byte(seen):
    # PRJ3
    rebuild = ("projection", "rebuild", "--all")
    assert seen.run(*rebuild, "--reason", "looking").returncode == 0
    rows = seen.rows()
    seen.spoil()
    spoilt = seen.rows()
    found = seen.run(*rebuild, "--dry-run")
    assert found.returncode == 1
    assert "order o-back: shop.orders: status is placed, by the events completed" in found.stdout
    assert "order o-free: shop.order_items line 2: the row should not be there" in found.stdout
    assert "6 orders with" in found.stdout
    assert ": 5 differ (dry run: nothing was changed)" in found.stdout
    assert seen.rows() == spoilt
    killed = seen.run(
        *rebuild, "--reason", "x", "--rate", "9", ORDERMQ_FAILPOINT="projection.after_commit:exit@2"
    )
    assert killed.returncode == EXIT_CODE
    assert len(seen.differ()) == 3
    *_, done = seen.json(*rebuild, "--reason", "spoilt by psql")
    assert (done["differ"], done["repaired"], done["orders"]) == (3, 3, len(IDS))
    assert seen.rows() == rows
    assert seen.run(*rebuild, "--check").returncode == 0
    with seen.shop.session.transaction() as tx:
        (first, *more) = actions.select(tx, action="projection.rebuild")
        assert len(more) == 4
        assert first.reason.endswith(": spoilt by psql")


def test_what_events_cannot_repair_is_named_and_stays(seen):
    with seen.shop.session.transaction() as tx:
        tx.execute("DELETE FROM shop.shipments WHERE order_id = 'o-back'")
    found = seen.run("projection", "rebuild", "o-back", "o-gone", "--reason", "x", "--json")
    difference, summary = map(json.loads, found.stdout.splitlines())
    assert (found.returncode, difference["table"], difference["is_repairable"]) == (
        1,
        "shop.shipments",
        False,
    )
    assert (summary["orders"], summary["differ"], summary["repaired"]) == (2, 1, 0)
    unknown = seen.run("projection", "rebuild", "none", "--check")
    assert (unknown.returncode, "no order 'none'" in unknown.stderr) == (1, True)
    without = seen.run("projection", "rebuild", "o-back")
    assert (without.returncode, "say why with --reason" in without.stderr) == (64, True)


def test_a_repair_waits_for_a_handler_and_takes_the_events_that_it_has_written(seen):
    # PRJ1, PRJ2
    seen.spoil()

    def raise_attention(tx):
        journal = Journal(tx, ["o-mail"])
        journal.record("o-mail", EventType.ATTENTION_RAISED, attention="look at it")
        journal.write()

    def repair(session):
        with session.transaction() as tx:
            return repair_orders(["o-mail"], tx, by="anna", reason="x")

    before = seen.shop.order("o-mail").version
    (found,) = seen.shop.one_after_another(raise_attention, repair)
    assert found.order.version == before + 1
    row = seen.shop.order("o-mail")
    assert (row.version, row.attention_reason) == (before + 1, "look")
    assert set(seen.differ()) == {"o-back", "o-gone", "o-declined", "o-free"}
