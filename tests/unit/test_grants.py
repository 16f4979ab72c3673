"""What roles need, as SQL and as commands of rabbitmqctl: names, merging, and what a module writes wrong."""

import json
import re
import shlex
from dataclasses import replace
from pathlib import Path

import pytest

from ordermq.cli.app import app
from ordermq.cli.program import load_program, registry_of
from ordermq.cli.run import run
from ordermq.errors import ConfigError
from ordermq.module import Module
from ordermq.shop import module
from ordermq.store.grants import Grant, by_table, grants_of, quoted, statements, union
from ordermq.topology.grants import broker_grants, pattern

QUEUES = ("payment", "notify")
BARE = Module("bare", migrations="bare.migrations")


@pytest.fixture
def ordermq(capsys, monkeypatch):
    """Run a command; return its exit code, its output and its errors."""
    monkeypatch.setenv("ORDERMQ_CONFIG", "")

    def call(*argv):
        code = run(app, "ordermq", argv)
        return code, *capsys.readouterr()

    return call


@pytest.mark.parametrize(
    ("line", "words"),
    [
        ("SELECT shop.orders", "is none; write for example"),
        ("SELECT ON orders", "is none"),
        ("SELECT (a b) ON shop.orders; DROP TABLE x", "is none"),
        ("TRUNCATE ON shop.orders", "TRUNCATE is not one of DELETE, INSERT, SELECT, UPDATE"),
        ("SELECT ON DATABASE", "SELECT is not one of CONNECT, CREATE, TEMPORARY"),
    ],
)
def test_a_line_that_is_no_grant_is_refused_with_its_role(line, words):
    with pytest.raises(ConfigError, match=words) as refused:
        grants_of(QUEUES, {"gifts": {"consumer-payment": [line]}})
    assert "'consumer-payment'" in str(refused.value)


def test_a_role_that_does_not_exist_is_refused_with_the_module():
    with pytest.raises(ConfigError, match="module 'gifts': grants names the role 'consumer-paymnt'"):
        grants_of(QUEUES, {"gifts": {"consumer-paymnt": ["SELECT ON gifts.gifts"]}})


def test_a_module_adds_to_roles_and_has_roles_of_its_own():
    mine = {
        "consumer": ["SELECT ON gifts.a"],
        "consumer-notify": ["SELECT ON gifts.b"],
        "gifts-page": ["SELECT ON gifts.c"],
    }
    found = grants_of(QUEUES, {"gifts": mine})
    tables = {
        role: {each.table for each in grants.grants if each.table.startswith("gifts")}
        for role, grants in found.items()
    }
    assert tables["consumer-payment"] == tables["consumer-dead"] == {"gifts.a"}
    assert tables["consumer-notify"] == {"gifts.a", "gifts.b"}
    assert tables["gifts-page"] == {"gifts.c"}
    assert tables["relay"] == set()


def test_the_framework_without_a_module_has_no_role_of_the_shop():
    assert set(grants_of((), {})) == {
        "deployer", "relay", "consumer-dead", "prune", "events", "audit", "forward", "reconcile", "monitor",
        "operator-read", "operator-write",
    }  # fmt: skip


def test_no_role_but_the_owner_may_change_the_history_or_delete_an_order():
    found = grants_of(registry_of([module]).queues, {"shop": module.load("grants")})
    for role, grants in found.items():
        rights = by_table(grants.grants)
        more = {"DELETE"} if role == "shop-archive" else set()  # a trigger sees that a file has them
        assert rights.get("shop.order_events", {}).keys() <= {"SELECT", "INSERT"} | more, role
        assert "DELETE" not in rights.get("shop.orders", {}), role
        assert "total_minor" not in rights.get("shop.orders", {}).get("UPDATE", ()), role
        assert rights.get("ordermq.actions", {}).keys() <= {"SELECT", "INSERT"}, role


def test_bodies_are_read_only_by_who_sends_or_keeps_messages():
    found = grants_of(registry_of([module]).queues, {"shop": module.load("grants")})
    for role, grants in found.items():
        rights = by_table(grants.grants)
        for table in ("ordermq.dead_letters", "ordermq.outbox"):
            columns = rights.get(table, {}).get("SELECT", ("none",))
            may_read = columns == () or "body" in columns
            sends = role == "operator-write" if table == "ordermq.dead_letters" else role == "relay"
            keeps = role.startswith("consumer-") and table == "ordermq.dead_letters"
            assert may_read <= (sends or keeps), (role, table)


def test_a_whole_table_takes_the_place_of_its_columns_and_columns_add_up():
    a, b, whole = (Grant("SELECT", "s.t", columns) for columns in (("a",), ("b",), ()))
    assert by_table([a, b]) == {"s.t": {"SELECT": ("a", "b")}}
    assert by_table([a, whole, b]) == {"s.t": {"SELECT": ()}}


def test_names_are_quoted_in_sql():
    grants = union(grants_of((), {}).values())
    script = "\n".join(statements({"a\"b'c": grants}, database='d"x', schemas=["ordermq"], create=True))
    assert '"a""b\'c"' in script
    assert "'CREATE ROLE \"a\"\"b''c\" LOGIN'" in script
    assert 'ON DATABASE "d""x"' in script
    assert quoted("shop") == '"shop"'


def test_sql_is_one_transaction_that_takes_before_it_gives(ordermq):
    code, script, _ = ordermq("db", "grants", "--role", "relay")
    lines = script.splitlines()
    assert (code, lines[:2], lines[-1]) == (0, ["\\set ON_ERROR_STOP on", "BEGIN;"], "COMMIT;")
    assert lines[2] == 'REVOKE ALL ON ALL TABLES IN SCHEMA "ordermq", "shop" FROM "ordermq_relay";'
    assert all(line.startswith("GRANT ") and line.endswith(' TO "ordermq_relay";') for line in lines[3:-1])


def test_roles_of_one_name_are_one(ordermq):
    names = ("--name", "consumer=w", "--name", "relay=w", "--role", "relay", "--role", "consumer-payment")
    _, script, _ = ordermq("db", "grants", *names)
    assert script.count("REVOKE") == 1
    assert re.search(r'GRANT SELECT.*, DELETE, INSERT ON "ordermq"."outbox" TO "w";', script)
    _, commands, _ = ordermq("topology", "grants", *names)
    permissions, tags = (shlex.split(line) for line in commands.splitlines())
    assert permissions[:6] == ["rabbitmqctl", "set_permissions", "-p", "/", "--", "w"]
    assert permissions[6:] == [
        "^$",
        r"^(orders|orders\.email|orders\.inventory|orders\.notify|orders\.payment|orders\.points"
        r"|orders\.shipping|orders\.dead)$",
        r"^orders\.payment$",
    ]
    assert tags == ["rabbitmqctl", "set_user_tags", "--", "w"]


def test_the_last_character_of_the_prefix_stands_for_dashes(ordermq):
    for prefix, name in (
        ("x-", "x-consumer-payment"),
        ("x_", "x_consumer_payment"),
        ("x", "xconsumer_payment"),
    ):
        _, said, _ = ordermq("db", "grants", "--role", "consumer-payment", "--prefix", prefix, "--json")
        assert json.loads(said)[0]["name"] == name


def test_the_json_of_topology_grants_is_what_rabbitmq_imports(ordermq):
    _, said, _ = ordermq("topology", "grants", "--role", "monitor", "--json")
    nothing = {"configure": "^$", "write": "^$", "read": "^$"}
    assert json.loads(said) == {"permissions": [{"user": "ordermq-monitor", "vhost": "/", **nothing}]}


@pytest.mark.parametrize(
    ("name", "events"), [("definitions.json", "false"), ("definitions-events.json", "true")]
)
def test_the_sample_definitions_give_what_the_command_prints(ordermq, monkeypatch, name, events):
    monkeypatch.setenv("ORDERMQ_TOPOLOGY_EVENTS", events)
    monkeypatch.setenv("ORDERMQ_BROKER_VHOST", "shop")
    monkeypatch.setenv("ORDERMQ_TOPOLOGY_MANAGEMENT_URL", "http://127.0.0.1:15672")
    sample = json.loads((Path(__file__).parents[2] / "deploy/rabbitmq" / name).read_text())
    _, said, _ = ordermq("topology", "grants", "--json")
    by_user = {each["user"]: each for each in sample["permissions"]}
    assert {each["user"]: each for each in json.loads(said)["permissions"]} == by_user
    _, commands, _ = ordermq("topology", "grants")
    tags = [shlex.split(line)[3:] for line in commands.splitlines() if "set_user_tags" in line]
    assert {user: given for user, *given in tags} == {each["name"]: each["tags"] for each in sample["users"]}


@pytest.mark.parametrize(
    ("argv", "words"),
    [
        (
            ("db", "grants", "--role", "nix"),
            "there is nothing to grant to 'nix' here; the roles are deployer",
        ),
        (("topology", "grants", "--role", "shop"), "there is nothing to grant to 'shop' here"),
        (("db", "grants", "--name", "relay"), "write ROLE=NAME"),
    ],
)
def test_a_role_that_is_not_there_is_wrong_usage(ordermq, argv, words):
    code, _, errors = ordermq(*argv)
    assert code == 64
    assert words in errors


def test_a_module_with_tables_and_without_grants_is_named(ordermq, monkeypatch):
    monkeypatch.setattr(
        "ordermq.cli.granting.load_program", lambda path: replace(load_program(path), modules=(BARE,))
    )
    code, script, errors = ordermq("db", "grants", "--role", "relay")
    assert (code, "module 'bare' has tables" in errors, "BEGIN;" in script) == (0, True, True)


def test_patterns_match_whole_names_only():
    found = broker_grants("orders", QUEUES, management=False)
    reads = re.compile(pattern(found["consumer-payment"].read))
    assert reads.search("orders.payment")
    assert not any(
        map(reads.search, ("ordersxpayment", "orders.payment2", "my.orders.payment", "orders.notify"))
    )
    everything = re.compile(pattern(found["deployer"].configure))
    assert all(map(everything.search, ("orders", "orders.payment", "orders.events.log")))
    assert not any(map(everything.search, ("orders2", "myorders", "ordersxpayment")))
    assert not re.search(pattern(()), "orders")


def test_processes_that_ask_the_management_api_have_its_tag():
    with_it, without = (broker_grants("orders", QUEUES, management=each) for each in (True, False))
    assert (with_it["relay"].tags, without["relay"].tags) == (("monitoring",), ())
    assert (with_it["consumer-dead"].tags, without["consumer-dead"].tags) == (("management",), ())


def test_only_a_relay_that_publishes_events_may_read_the_history_and_write_to_their_exchange():
    modules, queues = {"shop": module.load("grants")}, registry_of([module]).queues
    tables = {
        events: by_table(grants_of(queues, modules, events=events)["relay"].grants)
        for events in (True, False)
    }
    assert "shop.order_events" not in tables[False]
    assert tables[True]["shop.order_events"] == {"SELECT": ()}
    assert tables[True]["ordermq.feeds"]["UPDATE"] == (
        "next_position", "last_event", "refused", "holder", "held_until", "moved_at",
    )  # fmt: skip
    found = broker_grants("orders", QUEUES, management=False, events=True)
    assert re.search(pattern(found["relay"].write), "orders.events")
    assert not re.search(pattern(found["relay"].write), "orders.events.log")
    assert pattern(found["events"].read) == r"^orders\.events\.log$"
    assert "events" not in broker_grants("orders", QUEUES, management=False)
