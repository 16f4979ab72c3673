"""Reconciliation holds after a mixed run, and finds each kind of planted fault."""

import secrets

import pytest

from ordermq.errors import BadInput, Contention, OrderConflict
from ordermq.shop import cancel_order, module
from ordermq.shop.by_hand import refunded_by_hand
from ordermq.shop.gateways import LedgerEntry
from ordermq.shop.reconcile import check_orders, checks
from ordermq.shop.resolve import resolve_order
from ordermq.shop.sandbox.private import PrivateSandbox
from ordermq.store import actions
from ordermq.store.checks import ACKNOWLEDGE, reconcile
from ordermq.testing.plugin import Database
from ordermq.testing.stack.account import server_account
from ordermq.testing.stack.place import Place
from ordermq.testing.stack.private import guarded
from tests.support.shop import Shop, an_order, make_tables, open_shop

EVERY_CHECK = {
    "orders_at_rest", "events_gap_free", "archives_agree", "history_agrees", "totals_agree_with_lines",
    "stock_conserved",
    "stock_agrees_with_reservations", "reservations_agree_with_orders", "completed_orders_are_whole",
    "shipments_belong_to_paid_orders",
    "payments_agree_with_orders", "points_agree_with_money", "refunds_add_up",
    "captured_at_most_once", "captures_belong_to_orders",
    "payment_books_agree", "refund_books_agree", "captures_follow_each_other", "captures_agree_by_number",
    "notified_at_most_once", "message_books_agree", "outbox_empty", "nothing_in_hand",
    "dead_letters_explained", "nothing_being_sent", "dead_letters_kept",
}  # fmt: skip


@pytest.fixture(scope="module")
def sandbox():
    """Gateways whose ledgers no test changes."""
    place = Place.temporary(server_account())
    with guarded(place):
        sandbox = PrivateSandbox(place)
        try:
            sandbox.start()
            yield sandbox
        finally:
            sandbox.kill()


@pytest.fixture(scope="module")
def database_template(ordermq_stack, sandbox):
    """A completed, a declined, a short, a refunded and a perhaps notified order, all at rest."""
    name = f"rested_{secrets.token_hex(6)}"
    ordermq_stack.postgres.create_database(name)
    rested = Database(ordermq_stack.postgres, name)
    make_tables(rested)
    with open_shop(rested, sandbox) as shop:
        shop.load(p_1=20, p_2=1)
        shop.place(
            an_order("completed", ("p-1", 2)),
            an_order("declined", card="tok_0002"),
            an_order("short", ("p-2", 2)),
            an_order("refunded"),
            an_order("unsure", phone="+493010003"),
        )
        shop.handle(*shop.take("inventory"))
        for message in shop.take("payment"):
            claim, request = shop.prepare(message)
            if message.payload.order_id == "refunded":
                with shop.session.transaction() as tx:
                    cancel_order("refunded", tx, "changed my mind")
            shop.complete(message, claim, shop.call(message, request))
        shop.run()
    yield name
    ordermq_stack.postgres.drop_database(name)


@pytest.fixture
def shop(database, sandbox):
    """A copy of it."""
    shop = Shop(database, sandbox)
    yield shop
    shop.session.close()


def plant(shop, *statements):
    """Change what the pipeline never would."""
    with shop.session.transaction() as tx:
        for statement in statements:
            tx.execute(statement)


def wrong(shop, **books):
    report = shop.reconcile(**books)
    return {check.name: check.offenders for check in report.checks if not check.is_ok}


def test_everything_agrees_after_a_mixed_run(shop):
    assert [shop.order(each).status for each in ("completed", "declined", "short", "refunded", "unsure")] == [
        "completed", "cancelled", "cancelled", "refunded", "completed",
    ]  # fmt: skip
    report = shop.reconcile()
    assert report.is_ok, [check for check in report.checks if not check.is_ok]
    assert {check.name for check in report.checks} == EVERY_CHECK | {"rows_follow_from_events"}
    notes = {check.name: check.note for check in report.checks}
    assert notes["orders_at_rest"] == "5 orders, 1 need attention"
    assert notes["captured_at_most_once"] == "3 captures, 1 refunds"


def test_a_check_that_takes_too_long_is_named_with_what_to_set(shop, monkeypatch):
    monkeypatch.setattr(checks, "ORDERS", {"slow_check": "SELECT pg_sleep(60)::text"})
    with pytest.raises(Contention) as stopped, shop.session.transaction() as tx:
        tx.execute("SET LOCAL statement_timeout = '50ms'")
        list(check_orders(tx, None, False))
    assert str(stopped.value).startswith("check slow_check: canceling statement due to statement timeout")
    assert "ORDERMQ_DATABASE_STATEMENT_TIMEOUT_S=600" in str(stopped.value)


def test_the_services_need_not_be_asked(shop):
    checks = module.load_each("checks")
    report = reconcile(shop.session, checks, None, ask_services=False)
    assert report.is_ok
    assert {check.name for check in report.checks} == EVERY_CHECK - {
        "captured_at_most_once", "captures_belong_to_orders", "payment_books_agree", "refund_books_agree",
        "captures_agree_by_number",
        "notified_at_most_once", "message_books_agree",
    }  # fmt: skip


_OF_AN_ORDER = {
    "orders": "customer_id, status, pending, version, currency, total_minor, content_sha256, traceparent,"
    " placed_at",
    "order_items": "line_no, product_id, quantity, unit_price_minor, freight_minor",
    "order_events": "version, type, step, occurred_at, body",
    "reservations": "product_id, quantity, state",
    "notifications": "template, channel, number, state",
    "points": "customer_id, points",
}
_COPIES = (
    "INSERT INTO shop.{0} (order_id, {1}) SELECT order_id || '-' || n, {1}"
    " FROM shop.{0}, generate_series(1, 3000) AS n WHERE order_id = 'completed'"
)


def test_tables_without_statistics_are_read_once_however_many_orders_there_are(shop):
    """As after a crash of PostgreSQL: it then took a few orders for granted, and read a table for each."""
    plant(
        shop,
        *(_COPIES.format(table, columns) for table, columns in _OF_AN_ORDER.items()),
    )
    rows_read = {}

    def count(node):
        read = (node["Actual Rows"] + node.get("Rows Removed by Filter", 0)) * node["Actual Loops"]
        return read + sum(count(each) for each in node.get("Plans", ()))

    def explain(tx, config, ask_services):
        for name, query in checks.ORDERS.items():
            (plan,) = tx.fetch_one(f"EXPLAIN (ANALYZE, FORMAT JSON) {query}")
            rows_read[name] = count(plan[0]["Plan"])
        return ()

    reconcile(shop.session, [explain], None, ask_services=False)
    assert max(rows_read.values()) < 300_000, rows_read


FAULTS = {
    "orders_at_rest": ["UPDATE shop.orders SET pending = '{ship}' WHERE order_id = 'completed'"],
    "events_gap_free": ["UPDATE shop.orders SET version = version + 1 WHERE order_id = 'completed'"],
    "archives_agree": [
        "UPDATE shop.orders SET archive_id = 1, archived_version = version WHERE order_id = 'completed'"
    ],
    "history_agrees": [
        "UPDATE shop.orders SET status = 'paid', pending = '{ship}' WHERE order_id = 'completed'"
    ],
    "totals_agree_with_lines": ["UPDATE shop.order_items SET freight_minor = 1 WHERE order_id = 'completed'"],
    "stock_conserved": [
        "ALTER TABLE shop.stock DROP CONSTRAINT stock_check",
        "UPDATE shop.stock SET on_hand = on_hand - 1 WHERE product_id = 'p-1'",
    ],
    "stock_agrees_with_reservations": [
        "UPDATE shop.stock SET on_hand = on_hand - 1, reserved = reserved + 1 WHERE product_id = 'p-1'"
    ],
    "reservations_agree_with_orders": [
        "UPDATE shop.reservations SET state = 'reserved' WHERE order_id = 'declined'"
    ],
    "completed_orders_are_whole": ["DELETE FROM shop.shipments WHERE order_id = 'completed'"],
    "shipments_belong_to_paid_orders": ["INSERT INTO shop.shipments (order_id) VALUES ('declined')"],
    "payments_agree_with_orders": ["UPDATE shop.payments SET state = 'intent' WHERE order_id = 'declined'"],
    "points_agree_with_money": ["UPDATE shop.points SET points = 11 WHERE order_id = 'completed'"],
    "refunds_add_up": ["UPDATE shop.orders SET refunded_minor = 1 WHERE order_id = 'completed'"],
    "refund_books_agree": ["UPDATE shop.refunds SET amount_minor = 499 WHERE order_id = 'refunded'"],
    "payment_books_agree": [
        "UPDATE shop.orders SET total_minor = total_minor + 1 WHERE order_id = 'refunded'"
    ],
    "message_books_agree": ["DELETE FROM shop.notifications WHERE order_id = 'declined'"],
    "outbox_empty": [
        "INSERT INTO ordermq.outbox (routing_key, message_id, type, version, correlation_id, traceparent,"
        " occurred_at, body)"
        " VALUES ('points', 'completed:3:points', 'AwardPoints', 1, 'completed', '', now(), '')"
    ],
    "nothing_in_hand": [
        "INSERT INTO ordermq.leases VALUES ('payment', 'completed:2:payment', 'somebody', now())"
    ],
    "nothing_being_sent": ["UPDATE shop.notifications SET state = 'sending' WHERE order_id = 'completed'"],
    "dead_letters_kept": [
        "INSERT INTO ordermq.inbox (queue, message_id, hop, outcome)"
        " VALUES ('points', 'completed:9:points', 0, 'dead')"
    ],
    "dead_letters_explained": [
        "INSERT INTO ordermq.dead_letters (queue, message_id, type, version, correlation_id, traceparent,"
        " occurred_at, attempt, hop, body, reason)"
        " VALUES ('points', 'completed:3:points', 'AwardPoints', 1, 'completed', '', now(), 8, 7, '', 'dead')"
    ],
}


@pytest.mark.parametrize("check", FAULTS)
def test_a_planted_fault_is_found_and_its_offender_named(shop, check):
    plant(shop, *FAULTS[check])
    found = wrong(shop)
    assert check in found
    assert any(name in found[check][0] for name in ("completed", "declined", "refunded", "p-1"))


def test_an_order_without_its_notification_is_not_whole(shop):
    plant(shop, "UPDATE shop.notifications SET state = 'failed' WHERE order_id = 'completed'")
    assert wrong(shop)["completed_orders_are_whole"] == ("completed: not notified",)


def test_a_call_for_a_person_that_got_lost_is_found(shop):
    plant(shop, "UPDATE shop.orders SET attention_reason = NULL WHERE order_id = 'unsure'")
    found = wrong(shop)
    assert set(found) == {"history_agrees", "rows_follow_from_events"}
    assert found["history_agrees"] == (
        "unsure: no person is asked to look at it, but by its events a person is asked",
    )


def test_what_a_person_resolved_stays_explained_by_its_history(shop):
    with shop.session.transaction() as tx:
        resolve_order("unsure", tx, by="anna@shop1", reason="called the customer")
    report = shop.reconcile()
    assert report.is_ok, [check for check in report.checks if not check.is_ok]
    assert {check.name: check.note for check in report.checks}[
        "orders_at_rest"
    ] == "5 orders, 0 need attention"


def test_an_operator_may_be_texted_twice_and_a_customer_may_not(shop):
    texts = [*shop.sms.sent(), ["alert:unsure:4"], ["alert:unsure:4"]]
    assert wrong(shop, texts=texts) == {}
    assert set(wrong(shop, texts=[*texts, ["alert:order_confirmed"]])) == {"message_books_agree"}


def test_a_history_that_no_saga_writes_is_found(shop):
    plant(
        shop,
        "INSERT INTO shop.order_events VALUES ('declined', 7, 'shipment_created', 'ship', now(), '{}')",
        "UPDATE shop.orders SET version = 7 WHERE order_id = 'declined'",
    )
    assert "shipment_created cannot happen" in wrong(shop)["history_agrees"][0]


def test_a_missing_event_is_found(shop):
    plant(
        shop,
        "ALTER TABLE shop.order_events DISABLE TRIGGER order_events_are_archived",
        "DELETE FROM shop.order_events WHERE order_id = 'completed' AND version = 2",
    )
    found = wrong(shop)
    assert found["events_gap_free"][0].startswith("completed: ")
    assert found["history_agrees"][0].startswith("completed: ")


def entry(kind, order_id, amount_minor=500, key="key"):
    return LedgerEntry(99, kind, key, order_id, "cap_99", amount_minor, "EUR")


@pytest.mark.parametrize(
    ("extra", "check", "offender"),
    [
        (entry("capture", "completed"), "captured_at_most_once", "completed: 2 captures, 0 refunds"),
        (entry("refund", "declined"), "captured_at_most_once", "declined: 0 captures, 1 refunds"),
        (
            entry("capture", "nobody", key="capture:shop:nobody"),
            "captures_belong_to_orders",
            "nobody: capture of an unknown order",
        ),
        (entry("capture", "declined"), "payment_books_agree", "declined: cancelled, gateway has 1 captures"),
        (entry("refund", "unsure"), "refund_books_agree", "unsure: 500 went back at the gateway beside our"),
    ],
)
def test_what_only_the_gateway_knows_is_found(shop, extra, check, offender):
    found = wrong(shop, ledger=[*shop.payment.ledger(), [extra]])
    assert found[check][0].startswith(offender)


def test_a_capture_the_gateway_does_not_know_is_found(shop):
    found = wrong(shop, ledger=[])
    assert found["payment_books_agree"] == (
        "completed: completed, gateway has 0 captures and 0 refunds",
        "refunded: refunded, gateway has 0 captures and 0 refunds",
        "unsure: completed, gateway has 0 captures and 0 refunds",
    )


@pytest.mark.parametrize(
    ("key", "order_id"),
    [("capture:other:completed", "completed"), ("capture:completed", "completed"), ("dash-1", "B-7")],
)
def test_entries_of_other_shops_are_named_and_not_counted(shop, key, order_id):
    others = [entry("capture", order_id, key=key), entry("refund", order_id, 100, key=f"refund:{key}")]
    report = shop.reconcile(ledger=[*shop.payment.ledger(), others])
    assert report.is_ok, [check for check in report.checks if not check.is_ok]
    notes = {check.name: check.note for check in report.checks}
    assert notes["captured_at_most_once"] == "3 captures, 1 refunds"
    assert notes["captures_belong_to_orders"].startswith(
        f"2 entries of other shops: capture {key} of {order_id}"
    )


def test_what_went_back_of_an_order_that_a_restore_lost_or_cancelled_is_settled(shop):
    lost = [entry(kind, "nobody", key="capture:shop:nobody") for kind in ("capture", "refund")]
    cancelled = [entry(kind, "short", 1000) for kind in ("capture", "refund")]
    assert wrong(shop, ledger=[*shop.payment.ledger(), lost, cancelled]) == {}


def report_refund(shop, order_id, amount, reference="re_1"):
    with shop.session.transaction() as tx:
        return refunded_by_hand(
            order_id, amount, tx, by="anna@shop1", reference=reference, reason="dashboard"
        )


def test_a_refund_of_a_completed_order_that_a_person_reported_agrees_with_the_books(shop):
    books = [*shop.payment.ledger(), [entry("refund", "completed", 300)], [entry("refund", "completed", 200)]]
    assert wrong(shop, ledger=books)["refund_books_agree"][0].startswith("completed: 500 went back")
    assert report_refund(shop, "completed", "3.00").status == "completed"
    assert "refund_books_agree" in wrong(shop, ledger=books)
    report_refund(shop, "completed", "2.00", "re_2")
    shop.run("points")
    assert shop.show("completed").points == 5
    assert wrong(shop, ledger=books) == {}
    assert wrong(shop) == {}  # a chargeback is in no ledger
    assert report_refund(shop, "completed", "2.00", "re_2").is_duplicate
    with pytest.raises(BadInput, match="can go back"):
        report_refund(shop, "completed", "5.01", "re_3")


@pytest.mark.parametrize("amount", ["0", "-1", "1.234", "x", "NaN", "1e9999", ""])
def test_an_amount_by_hand_that_is_none_is_refused(shop, amount):
    with pytest.raises(BadInput):
        report_refund(shop, "completed", amount)


@pytest.mark.parametrize("order_id", ["declined", "short", "refunded"])
def test_an_order_that_waits_for_no_refund_cannot_be_refunded_by_hand(shop, order_id):
    with pytest.raises(OrderConflict, match="no refund of it is waited for"):
        report_refund(shop, order_id, "1.00")


def test_what_a_person_acknowledged_is_not_counted_until_it_changes(shop):
    books = [*shop.payment.ledger(), [entry("refund", "unsure", 100)]]
    [offender] = wrong(shop, ledger=books)["refund_books_agree"]
    with shop.session.transaction() as tx:
        actions.record(tx, "anna", ACKNOWLEDGE, [f"refund_books_agree {offender}"], "known")
    assert wrong(shop, ledger=books) == {}
    assert "refund_books_agree" in wrong(shop, ledger=[*books, [entry("refund", "unsure", 50)]])


def test_a_history_that_a_person_acknowledged_is_not_counted_until_it_changes(shop):
    plant(shop, *FAULTS["history_agrees"])
    [offender] = wrong(shop)["history_agrees"]
    with shop.session.transaction() as tx:
        actions.record(tx, "anna", ACKNOWLEDGE, [f"history_agrees {offender}"], "known")
    assert "history_agrees" not in wrong(shop)
    plant(shop, "UPDATE shop.orders SET status = 'reserved' WHERE order_id = 'completed'")
    assert "history_agrees" in wrong(shop)


def test_a_notification_sent_twice_is_found(shop):
    found = wrong(shop, texts=[*shop.sms.sent(), ["declined:order_cancelled"]])
    assert found == {"notified_at_most_once": ("declined:order_cancelled: 2 messages",)}


def test_a_dead_letter_of_no_order_is_noted_and_not_wrong(shop):
    plant(shop, FAULTS["dead_letters_explained"][0].replace("'completed'", "'nobody'"))
    report = shop.reconcile()
    assert report.is_ok
    assert report.checks[-1].note == "1 open dead letters"


def test_a_message_that_waits_for_its_time_is_noted_and_not_wrong(shop):
    plant(
        shop, FAULTS["outbox_empty"][0], "UPDATE ordermq.outbox SET available_at = now() + interval '1 hour'"
    )
    report = shop.reconcile()
    assert report.is_ok
    assert {check.name: check.note for check in report.checks}[
        "outbox_empty"
    ] == "1 messages wait for their time"


def test_offenders_are_bounded_and_counted(shop):
    books = [[entry("capture", f"nobody-{n}", key=f"capture:shop:nobody-{n}") for n in range(1010)]]
    report = shop.reconcile(ledger=[*shop.payment.ledger(), *books])
    (check,) = [check for check in report.checks if check.name == "captures_belong_to_orders"]
    assert (check.wrong, len(check.offenders)) == (1010, 1000)
