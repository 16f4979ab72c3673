"""A delivery held past the broker's patience, and a lease that a lost COMMIT took."""

import logging

import pytest

from ordermq.testing import wait_until
from tests.support.runtime import PREFIX, probes


@pytest.fixture
def impatient(rig):
    """A broker that waits a second for an ack, and looks often."""
    broker = rig.stack.broker
    broker.ctl("eval", "application:set_env(rabbit, consumer_timeout, 1000).")
    broker.ctl("eval", "application:set_env(rabbit, channel_tick_interval, 200).")
    yield
    broker.ctl("eval", "application:set_env(rabbit, consumer_timeout, 1800000).")
    broker.ctl("eval", "application:set_env(rabbit, channel_tick_interval, 60000).")


def test_deliveries_the_broker_takes_back_come_again_and_are_done_once(rig, impatient, caplog):
    """EXT6: at most one call for each message is under way."""
    rig.publish("single", *probes(1, "sleep", seconds=2.5), *probes(4, start=1))
    consumer = rig.consumer("single", threads=2)
    with caplog.at_level(logging.ERROR):
        assert rig.wait_for_effects("single", 5) == [each.order_id for each in probes(5)]
    said = [each.getMessage() for each in caplog.records if "consumer_timeout" in each.getMessage()]
    assert "consumer.handler_deadline_s" in said[0]
    wait_until(lambda: rig.rabbit.depth(f"{PREFIX}.single") == 0, 20.0, what="an empty queue")
    wait_until(lambda: rig.value("SELECT count(*) FROM ordermq.starts") == 0, 20.0, what="no start left")
    assert consumer.failure is None
    assert len(rig.effects("single")) == 5


@pytest.fixture
def held_commits(rig):
    """COMMITs are durable and are not answered: a standby that is not there has to confirm them."""
    postgres = rig.stack.postgres

    def answer():
        postgres.sql("ALTER SYSTEM RESET synchronous_standby_names", superuser=True)
        postgres.sql("SELECT pg_reload_conf()", superuser=True)

    postgres.sql("ALTER SYSTEM SET synchronous_standby_names = 'nobody'", superuser=True)
    postgres.sql("SELECT pg_reload_conf()", superuser=True)
    yield answer
    answer()


_HELD = """
    SELECT pid FROM pg_stat_activity WHERE datname = current_database() AND wait_event = 'SyncRep'
"""


def test_a_lease_that_an_unanswered_commit_took_is_its_owners_at_once(rig, held_commits):
    """EXT6: such a lease is its holder's own to take again."""
    rig.publish("call", *probes(3))
    rig.consumer("call", lease_s=60.0)
    [(pid,)] = wait_until(lambda: rig.rows(_HELD), 20.0, what="a COMMIT that is not answered")
    rig.value("SELECT pg_terminate_backend(%s, 5000)", pid)
    held_commits()
    assert rig.wait_for_effects("call", 3) == [each.order_id for each in probes(3)]
    assert {resumed for (resumed,) in rig.rows("SELECT resumed FROM calls")} == {False}
    assert rig.value("SELECT count(*) FROM ordermq.outbox") == 0
    wait_until(lambda: rig.value("SELECT count(*) FROM ordermq.leases") == 0, 20.0, what="no lease left")
