"""The dry run of ``ordermq-publish orders`` says what the run does."""

import json
from contextlib import closing

import msgspec
import pytest

from ordermq.shop.intake.generate import generate, json_line
from ordermq.store import Session
from tests.support.commands import Shop

ORDERS = [json_line(order) for order in generate(260, 5)]
NEW = b"".join(ORDERS[10:])


def changed(line, **fields):
    return json.dumps(json.loads(line) | fields).encode() + b"\n"


@pytest.fixture
def shop(ordermq_stack, vhost, database, tmp_path):
    shop = Shop(ordermq_stack, vhost, database, tmp_path)
    shop.ok("ordermq-publish", "orders", "-", stdin=b"".join(ORDERS[:10]))
    shop.ok("ordermq", "order", "cancel", json.loads(ORDERS[0])["order_id"], "--reason", "test")
    yield shop
    shop.close()


@pytest.fixture
def session(database):
    with closing(Session(database.settings, name="test")) as session:
        yield session


def publish(shop, data, *flags):
    found = shop.run("ordermq-publish", "orders", "-", "--json", *flags, stdin=data)
    summary = json.loads(found.stdout) if found.stdout else {}
    path = shop.folder / "rejects.jsonl"
    rejects = path.read_text() if summary.get("rejects") else ""
    return found.returncode, summary, rejects


def counts(summary):
    told = {key: value for key, value in summary.items() if key not in ("seconds", "dry_run")}
    assert told["in"] == sum(told[key] for key in ("accepted", "duplicate", "cancelled", "rejected"))
    return told


FILES = {
    "known ones, one of them cancelled": b"".join(ORDERS),
    "a known id with other content": changed(ORDERS[1], customer_id="another") + NEW,
    "an order twice, in two batches": NEW + ORDERS[10],
    "an order twice, in one batch": ORDERS[10] + NEW,
    "other content behind it, in two batches": NEW + changed(ORDERS[10], customer_id="another"),
    "other content behind it, in one batch": changed(ORDERS[10], customer_id="another") + NEW,
    "what the database refuses": NEW + changed(ORDERS[3], order_id="bad", customer_id="refused"),
    "what the database refuses, twice": 2 * changed(ORDERS[3], order_id="bad", customer_id="refused") + NEW,
    "what no reader takes": b"{\n" + NEW,
    "conflicts alone": changed(ORDERS[1], customer_id="another"),
}


@pytest.mark.parametrize("name", FILES)
def test_a_dry_run_counts_rejects_and_exits_as_the_run_behind_it(shop, session, name):
    """DRY1."""
    with session.transaction() as tx:
        tx.execute("ALTER TABLE shop.orders ADD CONSTRAINT ours CHECK (customer_id <> 'refused')")
    dry_code, dry, dry_rejects = publish(shop, FILES[name], "--dry-run", "--strict")
    with session.transaction() as tx:
        assert tx.fetch_all("SELECT count(*) FROM shop.orders") == [(10,)]
        assert tx.fetch_all("SELECT count(*) FROM ordermq.outbox WHERE message_id LIKE '%:bad'") == [(0,)]
    code, summary, rejects = publish(shop, FILES[name], "--strict")
    assert (dry_code, counts(dry), dry_rejects) == (code, counts(summary), rejects)
    assert dry.pop("dry_run") is not summary.pop("dry_run")


def test_a_constraint_that_is_checked_at_the_commit_is_seen_too(shop, session):
    with session.transaction() as tx:
        tx.execute(
            "CREATE FUNCTION shop.ours() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN"
            " IF NEW.customer_id = 'refused' THEN RAISE check_violation; END IF; RETURN NULL; END $$"
        )
        tx.execute(
            "CREATE CONSTRAINT TRIGGER ours AFTER INSERT ON shop.orders DEFERRABLE INITIALLY DEFERRED"
            " FOR EACH ROW EXECUTE FUNCTION shop.ours()"
        )
    data = NEW + changed(ORDERS[3], order_id="bad", customer_id="refused")
    assert counts(publish(shop, data, "--dry-run")[1])["rejected"] == 1


def test_a_dry_run_without_its_database_says_so_and_offline_needs_none(shop):
    gone = {"ORDERMQ_DATABASE_PORT": "1"}
    publish = ("ordermq-publish", "orders", "-", "--json", "--patience", "0")
    assert shop.run(*publish, "--dry-run", stdin=NEW, **gone).returncode == 75
    twice = b"".join(ORDERS) + ORDERS[0] + changed(ORDERS[1], customer_id="another")
    found = shop.run(*publish, "--offline", stdin=twice, **gone)
    summary = msgspec.json.decode(found.stdout)
    assert (summary["accepted"], summary["duplicate"], summary["rejected"]) == (len(ORDERS), 1, 1)
    assert summary["dry_run"] is True
