"""Passwords changed while processes run, and a broker that stays away for too long."""

from contextlib import closing
from dataclasses import replace

import pytest

from ordermq.config.settings import Secret
from ordermq.errors import AuthenticationRefused, StoreRefused
from ordermq.shop.intake.generate import generate
from ordermq.store import Session
from ordermq.testing import wait_until
from ordermq.testing.proxy import FaultProxy
from tests.support.connection import manager_of

PAIR = ("relay", "inventory")


@pytest.fixture
def secret(tmp_path):
    """The file in which the processes find their password."""
    file = tmp_path / "password"
    file.write_text("the first password\n")
    return file


def give(pipeline, prefix, user, file):
    """Have processes log in as ``user`` with the password in ``file``."""
    del pipeline.env[f"{prefix}_PASSWORD"]
    pipeline.env |= {f"{prefix}_USERNAME": user, f"{prefix}_PASSWORD_FILE": str(file)}


def test_a_broker_password_changed_while_they_run_is_read_anew_from_its_file(pipeline, vhost, secret):
    user = f"rotating-{vhost.name}"
    vhost.broker.add_user(user, "the first password")
    vhost.broker.set_permissions(user, vhost.name)
    give(pipeline, "ORDERMQ_BROKER", user, secret)
    orders = list(generate(20, 3))
    pipeline.load(orders)
    pipeline.begin(*PAIR)
    pipeline.place(orders[:10])
    pipeline.wait_for(10, "reserved")

    vhost.broker.add_user(user, "the second password")
    pipeline.cut_connections()
    for name in PAIR:
        wait_until(
            lambda name=name: told(pipeline, name, "refused the login"), 20.0, what=f"{name} is refused"
        )
    pipeline.place(orders[10:])
    secret.write_text("the second password\n")

    pipeline.wait_for(20, "reserved")
    assert [pipeline.process(name).exit_code for name in PAIR] == [None, None]
    old = replace(vhost.settings, username=user, password=Secret("the first password"))
    with pytest.raises(AuthenticationRefused):
        manager_of(old)
    vhost.broker.delete_user(user)


def told(pipeline, name, words):
    """Whether somebody who waits for ERROR in the logs has heard of it, and of no password."""
    lines = pipeline.logged_by(name)
    assert not [line for line in lines if "the first password" in line["message"]]
    return any(line["log.level"] == "error" and words in line["message"] for line in lines)


def test_a_database_password_changed_while_they_run_is_read_anew_from_its_file(pipeline, database, secret):
    role = f"rotating_{database.name}"

    def sql(statement):
        database.postgres.sql(statement, superuser=True)

    sql(f"CREATE ROLE {role} LOGIN PASSWORD 'the first password' IN ROLE ordermq")
    give(pipeline, "ORDERMQ_DATABASE", role, secret)
    orders = list(generate(20, 3))
    pipeline.load(orders)
    pipeline.begin(*PAIR)
    pipeline.place(orders[:10])
    pipeline.wait_for(10, "reserved")

    sql(f"ALTER ROLE {role} PASSWORD 'the second password'")
    sql(f"SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE usename = '{role}'")  # noqa: S608 # the test's own name
    pipeline.place(orders[10:])
    wait_until(lambda: told(pipeline, "relay", "authentication failed"), 20.0, what="the relay is refused")
    secret.write_text("the second password\n")

    pipeline.wait_for(20, "reserved")
    assert [pipeline.process(name).exit_code for name in PAIR] == [None, None]
    assert set(pipeline.stop().values()) == {0}
    old = replace(database.settings, username=role, password=Secret("the first password"))
    with (
        closing(Session(old, name="old")) as session,
        pytest.raises(StoreRefused),
        session.transaction() as tx,
    ):
        tx.execute("SELECT 1")
    sql(f"DROP ROLE {role}")


def test_a_broker_that_stays_away_ends_relay_and_consumer_with_75_and_a_critical_line(
    pipeline, ordermq_stack
):
    with FaultProxy(ordermq_stack.broker.port) as proxy:
        away = {"ORDERMQ_BROKER_HOSTS": proxy.address, "ORDERMQ_BROKER_GIVE_UP_AFTER_S": "1.5"}
        pipeline.begin(*PAIR, **away)
        pipeline.wait_ready()
        wait_until(lambda: proxy.counters.open == len(PAIR), 20.0, what="both are connected")
        proxy.refuse()
        proxy.cut()
        assert [pipeline.process(name).wait(30) for name in PAIR] == [75, 75]
    for name in PAIR:
        last = pipeline.logged_by(name)[-1]
        assert last["log.level"] == "critical"
        assert "gave up after" in last["message"]
        assert "is RabbitMQ running" in last["message"]
