"""``ordermq db prune`` as an operator or a timer runs it."""

import json
import signal
import time

import pytest

from ordermq.store import Session, inbox, outbox
from ordermq.store.retention import Table
from ordermq.testing import wait_until
from tests.support.commands import Shop

OLD = "now() - interval '31 days'"


@pytest.fixture
def shop(ordermq_stack, vhost, database, tmp_path):
    shop = Shop(ordermq_stack, vhost, database, tmp_path)
    yield shop
    shop.close()


@pytest.fixture
def session(shop, database):
    """A queue that works, and 500 messages of it that were settled long ago."""
    session = Session(database.settings, name="test")
    with session.transaction() as tx:
        inbox.settle(tx, "points", [(f"m{n}", 0) for n in range(500)], "done")
        tx.execute(f"UPDATE ordermq.inbox SET settled_at = {OLD}")  # noqa: S608 # constants
        inbox.settle(tx, "points", [("new", 0)], "done")
    yield session
    session.close()


def count(session, table="inbox"):
    with session.transaction() as tx:
        return tx.fetch_one(f"SELECT count(*) FROM ordermq.{table}")[0]  # noqa: S608 # constants


def rows(lines):
    return {each["table"]: each["rows"] for each in lines if "table" in each}


def recorded(shop):
    found = shop.lines("ordermq", "actions", "--action", "db.prune")
    return [(each["subject"], each["reason"].partition(":")[0]) for each in found]


def test_a_dry_run_counts_what_a_run_deletes_and_changes_nothing(shop, session):
    prune = ("ordermq", "db", "prune", "--batch", "64")
    told = shop.lines(*prune, "--dry-run")
    assert rows(told) == dict.fromkeys(Table, 0) | {"inbox": 500}
    assert {each["outcome"] for each in told} == {"would be deleted"}
    assert (count(session), recorded(shop)) == (501, [])
    assert rows(shop.lines(*prune)) == rows(told)
    assert (count(session), recorded(shop)) == (1, [("table inbox", "retention")])
    assert rows(shop.lines(*prune))["inbox"] == 0
    assert len(recorded(shop)) == 1


def test_a_person_reads_a_table_and_which_queues_were_left_alone(shop, session):
    with session.transaction() as tx:
        inbox.settle(tx, "attic", [("m", 0)], "done")
        tx.execute(f"UPDATE ordermq.inbox SET settled_at = {OLD} WHERE queue = 'attic'")  # noqa: S608 # constants
    found = shop.run("ordermq", "db", "prune", "--reason", "the disk is small")
    assert found.returncode == 0
    assert "inbox             500" in found.stdout
    assert "left alone: queue attic settled nothing recently; add --gone attic" in found.stderr
    assert recorded(shop) == [("table inbox", "the disk is small")]
    assert {"queue": "attic", "outcome": "left alone"} in shop.lines("ordermq", "db", "prune")
    assert rows(shop.lines("ordermq", "db", "prune", "--gone", "attic"))["inbox"] == 1


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (("--inbox-age", "29d"), "the inbox would forget a message that still has a dead letter"),
        (("--dead-age", "31d"), "the inbox would forget a message that still has a dead letter"),
        (("--inbox-age", "30", "--dead-age", "30"), "must be a number from 86400"),
    ],
)
def test_an_age_that_forgets_too_early_is_refused(shop, session, options, said):
    refused = shop.run("ordermq", "db", "prune", *options)
    assert (refused.returncode, said in refused.stderr) == (78, True)
    assert count(session) == 501


def test_flags_replace_the_settings(shop, session):
    env = {"ORDERMQ_RETENTION_INBOX_S": "8640000"}
    kept = shop.run("ordermq", "db", "prune", "--json", **env)
    assert rows(map(json.loads, kept.stdout.splitlines()))["inbox"] == 0
    gone = shop.run("ordermq", "db", "prune", "--json", "--inbox-age", "30d", **env)
    assert rows(map(json.loads, gone.stdout.splitlines()))["inbox"] == 500


@pytest.mark.parametrize("with_signal", [signal.SIGINT, signal.SIGTERM, signal.SIGKILL])
def test_a_run_that_is_interrupted_anywhere_has_lost_nothing_and_the_next_goes_on(shop, session, with_signal):
    process = shop.start("ordermq", "db", "prune", "--rate", "100")
    wait_until(lambda: count(session) < 501, 30.0, every_s=0.05, what="the first batch")
    process.send(with_signal)
    assert process.wait(10.0) != 0
    left = count(session)
    assert 1 < left < 501
    assert recorded(shop) == [("table inbox", "retention")]
    assert rows(shop.lines("ordermq", "db", "prune"))["inbox"] == left - 1
    assert count(session) == 1


def test_a_rate_is_kept(shop, session):
    began_s = time.monotonic()
    shop.ok("ordermq", "db", "prune", "--rate", "400")
    assert time.monotonic() - began_s > 1.0


def test_consumers_and_relay_at_work_meanwhile_notice_nothing(shop, session):
    shop.start("ordermq-consumer", "--queue", "points")
    shop.start("ordermq-relay")
    pruning = shop.start("ordermq", "db", "prune", "--rate", "200", "--batch", "20")
    # Nobody knows these orders: each message becomes a dead letter, with a row of the inbox.
    sent = [b'{"order_id": "o-%d"}' % n for n in range(300)]
    (shop.folder / "messages").write_bytes(b"\n".join(sent))
    shop.ok(
        "ordermq-publish", "messages", "--routing-key", "points", "--type", "AwardPoints",
        str(shop.folder / "messages"),
    )  # fmt: skip
    wait_until(lambda: count(session, "dead_letters") == 300, 60.0, every_s=0.1, what="300 deaths")
    assert pruning.wait(30.0) == 0
    assert count(session) == 301
    with session.transaction() as tx:
        assert outbox.pending(tx)[0] == 0
    logged = shop.logged("ordermq-consumer", "--queue", "points")
    assert not [each for each in logged if "lock" in each["message"]]
