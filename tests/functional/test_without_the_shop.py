"""A project of its own: without the shop, and beside it in one database."""

from pathlib import Path

import pytest

from ordermq.shop.intake.generate import generate, json_line
from ordermq.store import Session
from ordermq.testing import wait_until
from tests.support.commands import Shop as Commands

ROOT = Path(__file__).resolve().parents[2]
GIFTS = "tests.support.projects.gifts"
pytestmark = pytest.mark.empty_database

FRAMEWORK_CHECKS = ["outbox_empty", "nothing_in_hand", "dead_letters_kept"]


class Project(Commands):
    """The commands of a project with these modules, on a vhost and a database of the test's own."""

    def __init__(self, stack, vhost, database, folder, modules, **env):
        self.session = Session(database.settings, name="test")
        super().__init__(stack, vhost, database, folder, ORDERMQ_MODULES=modules, PYTHONPATH=str(ROOT), **env)

    def prepare(self):
        said = self.ok("ordermq", "db", "migrate")
        assert ("applied ordermq 0003" in said, "not safe" in said) == (True, False)  # no old code is there
        super().prepare()

    def value(self, sql):
        with self.session.transaction() as tx:
            return tx.fetch_one(sql)[0]

    def wait_for(self, sql, count):
        wait_until(lambda: self.value(sql) == count, 30.0, what=f"{count} from {sql}")

    def checks(self):
        """Return the notes of the checks of ``ordermq reconcile`` by name, all of which must be good."""
        return {
            each["name"]: each["note"]
            for each in self.json("ordermq", "reconcile", "--without-gateways")["checks"]
        }

    def close(self):
        super().close()
        self.session.close()


@pytest.fixture
def project(ordermq_stack, vhost, database, tmp_path):
    """Start a project with the given modules."""
    made = []

    def make(modules, **env):
        made.append(Project(ordermq_stack, vhost, database, tmp_path, modules, **env))
        return made[0]

    yield make
    for each in made:
        each.close()


def send_gifts(project, *gift_ids):
    lines = "".join(f'{{"gift_id": "{each}"}}\n' for each in gift_ids)
    project.ok("ordermq-publish", "messages", "-", "--routing-key", "gifts", stdin=lines.encode())


def test_a_project_without_the_shop_has_none_of_its_tables_commands_settings_and_queues(project):
    gifts = project(GIFTS)

    schemas = gifts.value(
        "SELECT array_agg(DISTINCT schemaname::text) FROM pg_tables WHERE schemaname !~ '^pg_|^inf'"
    )
    assert schemas == ["gifts", "ordermq"]
    shown = gifts.ok("ordermq", "--help")
    assert "  gifts  " in shown
    assert not {"order", "stock"} & {line.split()[0] for line in shown.splitlines() if line.strip()}
    assert "  orders  " not in gifts.ok("ordermq-publish", "--help")
    assert "shop." not in gifts.ok("ordermq", "config", "show")
    assert "inventory" not in gifts.ok("ordermq", "topology", "apply", "--dry-run")
    assert gifts.run("ordermq", "order", "list").returncode == 64


def test_a_project_without_the_shop_handles_messages_and_is_reconciled(project):
    gifts = project(GIFTS, ORDERMQ_GIFTS_GREETING="Happy birthday")
    for argv in (["ordermq-relay"], *(["ordermq-consumer", "--queue", each] for each in ("gifts", "cards"))):
        gifts.start(*argv)

    send_gifts(gifts, "g-1", "g-2")
    gifts.wait_for("SELECT count(*) FROM gifts.gifts WHERE has_card", 2)

    wait_until(lambda: gifts.run("ordermq", "reconcile").returncode == 0, 20.0, what="rest")
    assert list(gifts.checks()) == ["gifts_have_cards", *FRAMEWORK_CHECKS]
    assert gifts.checks()["gifts_have_cards"] == "Happy birthday"
    assert gifts.ok("ordermq", "gifts") == "2 gifts\n"


def test_the_framework_alone_is_reconciled(project):
    bare = project("")

    assert list(bare.checks()) == FRAMEWORK_CHECKS
    with bare.session.transaction() as tx:
        tx.execute(
            "INSERT INTO ordermq.inbox (queue, message_id, hop, outcome) VALUES ('gifts', 'm-1', 0, 'dead')"
        )
    found = bare.run("ordermq", "reconcile")
    assert found.returncode == 1
    assert "gifts m-1: given up, and there is no dead letter" in found.stdout


def test_a_project_beside_the_shop_shares_its_processes_and_its_database(project):
    both = project(f"ordermq.shop,{GIFTS}")
    for argv in (
        ["ordermq-relay"],
        *(["ordermq-consumer", "--queue", each] for each in ("gifts", "cards", "inventory")),
    ):
        both.start(*argv, ORDERMQ_SHOP_UNKNOWN_PRODUCT="reject")  # no stock is loaded

    send_gifts(both, "g-1")
    both.ok("ordermq-publish", "orders", "-", stdin=json_line(next(generate(1, 1))))
    both.wait_for("SELECT count(*) FROM gifts.gifts WHERE has_card", 1)
    both.wait_for(
        "SELECT count(*) FROM shop.order_events WHERE type IN ('stock_reserved', 'stock_rejected')", 1
    )

    shown = both.ok("ordermq", "config", "show")
    assert "gifts.greeting = " in shown
    assert "shop.payment_url = " in shown
    applied = [(each["scope"], each["applied"]) for each in both.json("ordermq", "db", "status")]
    assert {scope for scope, is_applied in applied if is_applied} == {"ordermq", "shop", "gifts"}
    named = both.run("ordermq", "reconcile", "--without-gateways").stdout
    assert "gifts_have_cards" in named
    assert "orders_at_rest" in named
