"""What docs/operations.md, docs/metrics.md and docs/guarantees.md say, held against what there is."""

import re
from pathlib import Path

import pytest

from ordermq.observe.metrics import REGISTRY
from ordermq.shop import alerts, gauges, journal
from ordermq.shop.intake.generate import generate, json_line
from tests.support.pipeline import QUEUES

ROOT = Path(__file__).resolve().parents[2]
OPERATIONS = (ROOT / "docs" / "operations.md").read_text()
METRICS = (ROOT / "docs" / "metrics.md").read_text()
GUARANTEES = (ROOT / "docs" / "guarantees.md").read_text()


# Metrics of the shop are served once its modules are imported.
OF_THE_SHOP = (alerts.raised, gauges.stuck, journal.order_critical_time)


def test_every_metric_is_explained_and_no_other():
    explained = set(re.findall(r"^\| `(ordermq_\w+)", METRICS, re.MULTILINE))
    served = set()
    for family in REGISTRY.collect():
        if family.name.startswith("ordermq_"):
            served.add(family.name + ("_total" if family.type == "counter" else ""))
    assert explained == served


def test_every_guarantee_names_a_test_that_exists():
    named = re.findall(r"`(test_\w+\.py)::(test_\w+)`", GUARANTEES)
    assert len(named) > 30
    missing = [
        f"{file}::{name}"
        for file, name in named
        if f"def {name}(" not in (ROOT / "tests" / "functional" / file).read_text()
    ]
    assert missing == []


class LeastPrivilege:
    """The users and roles of docs/operations.md, made as it says, under names of the test's own."""

    def __init__(self, vhost, database):
        self._vhost = vhost
        self._database = database
        self._own = vhost.name
        self._users = re.findall(
            r"set_permissions -p shop (ordermq-\w+) +'(\S*)' +'(\S*)' +'(\S*)'", OPERATIONS
        )
        self._roles = re.findall(r"CREATE ROLE (ordermq_\w+) LOGIN", OPERATIONS)

    def grant(self):
        for user, configure, write, read in self._users:
            tags = "management" if f"set_user_tags {user} management" in OPERATIONS else ""
            self._vhost.broker.add_user(self._mine(user), "secret", tags)
            self._vhost.broker.set_permissions(
                self._mine(user), self._vhost.name, configure=configure, write=write, read=read
            )
        blocks = re.findall(r"```sql\n(.*?)```", OPERATIONS, re.DOTALL)
        (grants,) = [block for block in blocks if "GRANT USAGE" in block]
        for role in self._roles:
            self._as_superuser(f"CREATE ROLE {self._mine(role)} LOGIN PASSWORD 'secret'")
            grants = re.sub(rf"\b{role}\b", self._mine(role), grants)
        self._database.sql(grants)

    def __call__(self, user, role):
        """Return the environment of a process that is no more than this."""
        return {
            "ORDERMQ_BROKER_USERNAME": self._mine(user),
            "ORDERMQ_BROKER_PASSWORD": "secret",
            "ORDERMQ_DATABASE_USERNAME": self._mine(role),
            "ORDERMQ_DATABASE_PASSWORD": "secret",
        }

    def revoke(self):
        for user, *_ in self._users:
            self._vhost.broker.delete_user(self._mine(user))
        for role in self._roles:
            self._as_superuser(f"DROP OWNED BY {self._mine(role)}; DROP ROLE {self._mine(role)}")

    def _mine(self, name):
        return f"{name}_{self._own}".replace("-", "_")

    def _as_superuser(self, statement):
        self._database.postgres.sql(statement, database=self._database.name, superuser=True)


@pytest.fixture
def least(pipeline, vhost, database):
    least = LeastPrivilege(vhost, database)
    least.grant()
    yield least
    pipeline.close()
    least.revoke()


def test_the_least_privileges_it_names_are_enough(pipeline, least):
    orders = list(generate(100, 31))
    pipeline.load(orders, cover=0.9)
    admin = least("ordermq-admin", "ordermq_owner")
    for verb in ("apply", "verify"):
        done = pipeline.run("ordermq", "topology", verb, **admin)
        assert done.returncode == 0, done.stderr
    pipeline.begin("relay", **least("ordermq-relay", "ordermq_relay"))
    pipeline.begin(*QUEUES, **least("ordermq-consumer", "ordermq_consumer"))
    lines = b"".join(json_line(order) for order in orders)
    placed = pipeline.run(
        "ordermq-publish", "orders", "-", stdin=lines, **least("ordermq-relay", "ordermq_shop")
    )
    assert placed.returncode == 0, placed.stderr
    unreadable = pipeline.run(
        "ordermq-publish", "messages", "-", "--routing-key", "points",
        stdin=b'{"order_id": 7}\n', **least("ordermq-relay", "ordermq_shop"),
    )  # fmt: skip
    assert unreadable.returncode == 0, unreadable.stderr
    pipeline.end_well(len(orders))
    assert pipeline.value("SELECT count(*) FROM ordermq.dead_letters") == 1
    assert not pipeline.has_logged("relay", "cannot be read")  # its gauges
    grow_old(pipeline)
    pruned = pipeline.run("ordermq", "db", "prune", **least("ordermq-relay", "ordermq_prune"))
    assert pruned.returncode == 0, pruned.stderr
    assert re.findall(r"^(\w+) +1 ", pruned.stdout, re.MULTILINE) == RETAINED


RETAINED = ["dead_letters", "leases", "starts", "inbox"]


def grow_old(pipeline):
    """Leave one row in each table that retention lets go."""
    with pipeline.session.transaction() as tx:
        tx.execute("UPDATE ordermq.dead_letters SET discarded_at = now() - interval '31 days'")
        old = "now() - interval '31 days'"
        tx.execute(f"INSERT INTO ordermq.leases VALUES ('points', 'lost', 'a', {old})")  # noqa: S608 # constants
        tx.execute(f"INSERT INTO ordermq.starts VALUES ('points', 'lost', 1, {old})")  # noqa: S608 # constants
        tx.execute(f"INSERT INTO ordermq.inbox VALUES ('points', 'old', 0, 'done', {old})")  # noqa: S608 # constants
