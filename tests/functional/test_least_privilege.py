"""The whole pipeline under users and roles that may do no more than they must, and what these are refused.

Users, roles and permissions are made from what ``ordermq db grants`` and ``ordermq topology grants`` print.
"""

import json
import re
from contextlib import closing
from dataclasses import replace
from pathlib import Path

import psycopg2
import pytest
from psycopg2.errors import InsufficientPrivilege

from ordermq.cli.processes.table_gauges import READS
from ordermq.cli.program import load_program
from ordermq.config.settings import Secret
from ordermq.errors import AccessRefused, AuthenticationRefused
from ordermq.message.envelope import Properties, Publishing
from ordermq.shop import gauges, pay_order, refund_order, return_goods
from ordermq.shop.intake.generate import json_line
from ordermq.store import Session
from ordermq.testing import wait_until
from tests.support.connection import manager_of
from tests.support.forbidden import ALL, BROKER, DATABASE, attempt
from tests.support.least import PASSWORD, LeastPrivilege
from tests.support.pipeline import QUEUES, Pipeline
from tests.support.shop import an_order

SECURITY = Path(__file__).resolve().parents[2] / "docs" / "security.md"


class NewSystem(Pipeline):
    """A pipeline whose tables and topology a deployer makes."""

    def prepare(self):
        """Leave database and broker empty."""


@pytest.fixture
def system(ordermq_stack, vhost, database, sandbox, tmp_path):
    system = NewSystem(ordermq_stack, vhost, database, sandbox, tmp_path)
    yield system
    system.close()


@pytest.fixture
def least(system, vhost, database):
    least = LeastPrivilege(system, vhost, database)
    yield least
    system.close()
    least.revoke()


@pytest.mark.empty_database
def test_the_pipeline_runs_under_the_least_privileges_and_all_else_is_refused(system, least, vhost, database):
    deploy(system, least, database)
    orders = [
        *(an_order(f"A-{number}") for number in range(8)),
        *(an_order(order_id, card="tok_0002") for order_id in ("declined", "declined-2")),
        an_order("unknown", ("no-such-product", 1)),
        an_order("by-email", notify="email"),
    ]
    begin(system, least)
    place(system, least, orders)
    leave_dead_letters(system, least)
    serve(system, least, database)
    operate(system, least)
    look(system, least, database)
    end_well(system, least, len(orders))
    tried = [*refused_by_database(least, database), *refused_by_broker(least, vhost)]
    assert [each for each in tried if each] == []
    assert len(tried) == len(ALL) >= 40


def deploy(system, least, database):
    """Make tables and topology as the deployer, then all other roles."""
    least.psql(f"REVOKE ALL ON DATABASE {database.name} FROM PUBLIC;")
    least.grant_on_database("deployer")
    least.grant_on_broker()
    run(system, least, "deployer", "ordermq db migrate")
    run(system, least, "deployer", "ordermq topology apply")
    run(system, least, "deployer", "ordermq topology verify")
    least.grant_on_database()
    least.psql(f'GRANT "{least.user("deployer")}" TO {database.settings.username};')  # the test looks, too


def begin(system, least):
    system.begin("relay", **least("relay"))
    for queue in (*QUEUES, "dead"):
        system.begin(queue, ORDERMQ_SHOP_PAYMENT_GRACE_S="600", **least(f"consumer-{queue}"))


def place(system, least, orders):
    stock = "product_id,units\np-1,40\n"
    run(system, least, "operator-write", "ordermq stock load -", stdin=stock.encode())
    lines = b"".join(json_line(order) for order in orders)
    run(system, least, "shop", "ordermq-publish orders -", stdin=lines)
    again = json.loads(run(system, least, "shop", "ordermq-publish orders - --json", stdin=lines))
    assert again["duplicate"] == len(orders)


def leave_dead_letters(system, least):
    """One that no handler can read, and one that the broker dead-letters."""
    unreadable = b'{"order_id": 7}\n'
    run(system, least, "operator-write", "ordermq-publish messages - --routing-key points", stdin=unreadable)
    system.rabbit.publish(Publishing("orders.dead", "points", Properties(message_id="rejected"), unreadable))
    system.wait_for_letters(2, "")


def serve(system, least, database):
    """Do for customers what an application does."""
    system.wait_for(2, "payment_due")
    system.wait_for(9, "completed")
    settings = replace(database.settings, username=least.user("shop-service"), password=Secret(PASSWORD))
    with closing(Session(settings, name="shop-service")) as session:
        for serve_one in (
            lambda tx: pay_order("declined", "tok_0001", tx),
            lambda tx: return_goods("by-email", tx, lines={1: 1}, by="shop", reason="too small"),
        ):
            with session.transaction() as tx:
                serve_one(tx)
    system.wait_for(10, "completed")
    with closing(Session(settings, name="shop-service")) as session, session.transaction() as tx:
        refund_order("declined", tx, amount_minor=100, by="shop", reason="a scratch")


def operate(system, least):
    """Do what people do with commands."""
    for command in (
        "order pay declined-2 --card-token tok_0001 --reason test",
        "order cancel unknown --reason test",
        "order hold by-email --reason test",
        "order release by-email --reason test",
        "pause points --reason test",
        "resume points --reason test",
        "limits set payment 50/s --reason test",
        "limits remove payment --reason test",
        "stock correct p-1 --by 1 --reason test",
        "order export --state completed",
        "order adopt-texts --reason test --dry-run",
        "dead replay --queue points --error dead-lettered --reason test --yes",
        "dead show 1 --show-body",
        "projection rebuild --all --reason test",
        "reconcile --without-gateways",
    ):
        run(system, least, "operator-write", f"ordermq {command}", may_find=command.startswith("reconcile"))
    system.wait_for(11, "completed")
    system.wait_for(1, "cancelled")
    system.wait_for_letters(2, "")
    for command in (
        "ordermq dead discard --all --reason test --yes",
        "ordermq order rewind unknown --to reserve --reason test --yes",
        "ordermq order cancel unknown --reason test",
        "ordermq-publish replay --order by-email --reason test",
    ):
        run(system, least, "operator-write", command)
    wait_ended(system, 12)
    run(system, least, "operator-write", "ordermq order resolve --attention --reason test --yes")


def wait_ended(system, orders):
    """Wait until orders have ended. Their expiries still wait in the outbox, and will find nothing to do."""
    ended = "SELECT count(*) FROM shop.orders WHERE terminal_at IS NOT NULL AND pending = '{}'"
    wait_until(lambda: system.value(ended) == orders, 40.0, what=f"{orders} orders have ended")


def look(system, least, database):
    """Do what those do who only look: everything is seen."""
    status = json.loads(run(system, least, "monitor", "ordermq status --json"))
    assert status["notes"] == []
    assert {each["queue"] for each in status["queues"] if each["rate_in"] is not None} == {*QUEUES, "dead"}
    run(system, least, "monitor", "ordermq order stuck --check")
    assert not system.has_logged("relay", "cannot be read")
    settings = replace(database.settings, username=least.user("monitor"), password=Secret(PASSWORD))
    with closing(Session(settings, name="monitor")) as session:
        for read in (*READS, gauges.read):
            with session.transaction() as tx:
                assert read(tx, load_program(None).loaded)
    for command in (
        "status", "trace by-email", "order show by-email", "order list --attention",
        "order stuck", "dead list", "dead group", "dead show 1", "actions", "limits show", "db status",
        "stock show", "order counts", "order history by-email", "projection rebuild --all --dry-run",
        "tail --for 0.2s",
    ):  # fmt: skip
        run(system, least, "operator-read", f"ordermq {command}")
    [letter, *_] = run(system, least, "operator-read", "ordermq dead list --closed --json").splitlines()
    assert (json.loads(letter)["body"], json.loads(letter)["body_bytes"] > 10) == (None, True)
    refused = system.run("ordermq", "dead", "show", "1", "--show-body", **least("operator-read"))
    assert (refused.returncode, "permission denied for" in refused.stderr) == (78, True)
    doctor = run(system, least, "operator-read", "ordermq doctor --json", may_find=True)
    said = [json.loads(line) for line in doctor.splitlines()]
    assert [each for each in said if "permission" in each["text"] or "refused" in each["text"]] == []


def end_well(system, least, orders):
    """Everything stops, agrees, and is pruned."""
    wait_ended(system, orders)
    assert set(system.stop().values()) == {0}
    run(system, least, "reconcile", "ordermq reconcile")
    prove_history(system, least)
    with system.session.transaction() as tx:
        for change in (
            "UPDATE ordermq.dead_letters SET discarded_at = discarded_at - interval '40 days'",
            "UPDATE ordermq.inbox SET settled_at = now() - interval '40 days'",
            "INSERT INTO ordermq.leases VALUES ('points', 'lost', 'a', now() - interval '40 days')",
            "INSERT INTO ordermq.starts VALUES ('points', 'lost', 1, now() - interval '40 days')",
            "INSERT INTO ordermq.inbox VALUES ('points', 'new', 0, 'done')",
        ):
            tx.execute(change)
    pruned = run(system, least, "prune", "ordermq db prune")
    assert re.findall(r"^(\w+) +[1-9]", pruned, re.MULTILINE) == ["dead_letters", "leases", "starts", "inbox"]
    assert system.value("SELECT count(*) FROM ordermq.actions WHERE action = 'db.prune'") > 0


def prove_history(system, least):
    """Publish the audit log of all that happened, and compare each row with it."""
    vkey = run(system, least, "audit", "ordermq audit keygen log --out audit.key").strip()
    published = json.loads(
        run(system, least, "audit", "ordermq audit publish --log log --key-file audit.key --json")
    )
    assert published["added"] > 70  # each order has six events and more
    run(system, least, "audit", f"ordermq audit verify --log log --key {vkey} --full")
    archive_and_restore(system, least, vkey)


def archive_and_restore(system, least, vkey):
    """Move the events of a month into a file and back."""
    with system.session.transaction() as tx:
        tx.execute("UPDATE shop.orders SET accepted_at = '2024-01-15T12:00Z'")
    create = "ordermq archive create 2024-01 --to archive --reason test"
    assert "dry run" in run(system, least, "shop-archive", f"{create} --dry-run")
    done = json.loads(run(system, least, "shop-archive", f"{create} --json"))
    assert done["orders"] >= 10
    run(system, least, "audit", f"ordermq audit verify --log log --key {vkey} --full")
    run(system, least, "monitor", f"ordermq archive verify {done['file']} --log log --key {vkey}")
    run(system, least, "operator-read", "ordermq order show by-email")
    assert done["file"] in run(system, least, "operator-read", "ordermq archive list --json")
    run(system, least, "shop-archive", f"ordermq archive restore {done['file']} --reason test")
    run(system, least, "reconcile", "ordermq reconcile")


def run(system, least, role, command, *, stdin=b"", may_find=False):
    """Run a command under a role; return what it printed. ``may_find``: 1 is an answer, too."""
    done = system.run(*command.split(" "), stdin=stdin, **least(role))
    assert done.returncode == 0 or (may_find and done.returncode == 1), (
        role,
        command,
        done.stdout,
        done.stderr,
    )
    assert "permission denied" not in done.stdout + done.stderr, (role, command)
    return done.stdout


def refused_by_database(least, database):
    """Try what is forbidden; yield "" for each that is refused, else what happened."""
    deployer = f'"{least.user("deployer")}"'
    for role, tries in DATABASE.items():
        where = {"host": "127.0.0.1", "port": database.settings.port, "dbname": database.name}
        with closing(psycopg2.connect(**where, user=least.user(role), password=PASSWORD)) as connection:
            connection.autocommit = True
            for what, how in tries:
                refused = (
                    psycopg2.errors.RaiseException
                    if role == "deployer"
                    else psycopg2.errors.InsufficientPrivilege
                )
                try:
                    with connection.cursor() as cursor:
                        cursor.execute(how.replace(":deployer", deployer))
                except (refused, InsufficientPrivilege):
                    yield ""
                except psycopg2.Error as exc:
                    yield f"{role}: {what}: {exc}"
                else:
                    yield f"{role}: {what}: is allowed"


def refused_by_broker(least, vhost):
    """As above."""
    for role, tries in BROKER.items():
        settings = replace(vhost.settings, username=least.user(role), password=Secret(PASSWORD))
        if tries[0][1] == "connect":
            with pytest.raises(AuthenticationRefused):
                manager_of(settings)
            yield ""
            continue
        manager = manager_of(settings)
        for what, how in tries:
            try:
                attempt(manager, how)
            except AccessRefused:
                yield ""
            else:
                yield f"{role}: {what}: is allowed"
        manager.close(2.0)


def test_docs_security_lists_each_refusal_that_is_tried_and_no_other():
    _, _, text = SECURITY.read_text().partition("| role | must not | tried |\n|---|---|---|\n")
    assert text.partition("\n\n")[0].splitlines() == [each.row for each in ALL]
