"""The relay while the broker is alarmed, frozen or without a leader: every row stays until it can be sent."""

import logging
from dataclasses import replace

import pytest

from ordermq.amqp import ConnectionState
from ordermq.config.settings import Secret
from ordermq.observe import metrics
from ordermq.store import outbox
from ordermq.testing import wait_until
from ordermq.testing.proxy import FaultProxy
from tests.support.runtime import PREFIX, probes

ROWS = "SELECT count(*) FROM ordermq.outbox"


@pytest.fixture
def hasty(rig):
    """A rig whose relay loses patience with the broker soon."""
    broker = replace(rig.settings.broker, confirm_timeout_s=0.5, blocked_timeout_s=1.0)
    rig.settings = replace(rig.settings, broker=broker)
    return rig


@pytest.fixture
def proxy(rig):
    with FaultProxy(rig.stack.broker.port) as proxy:
        rig.settings = replace(rig.settings, broker=replace(rig.settings.broker, hosts=(proxy.address,)))
        yield proxy


def said(caplog, words):
    return [each.getMessage() for each in caplog.records if words in each.getMessage()]


def shown(name):
    return metrics.REGISTRY.get_sample_value(f"ordermq_{name}")


def wait_sent(rig, count):
    """Every row left, and each message is there: none lost, some perhaps twice."""
    wait_until(lambda: rig.value(ROWS) == 0, 30, what="an empty outbox")
    rig.consumer("batch")
    assert rig.wait_for_effects("batch", count) == [each.order_id for each in probes(count)]


def test_behind_an_alarm_it_says_once_that_it_stands_still_and_once_that_it_goes_on(
    hasty, caplog, monkeypatch
):
    caplog.set_level(logging.WARNING, "ordermq")
    monkeypatch.setattr("ordermq.relay._GAUGE_EVERY_S", 0.2)
    relay = hasty.relay()
    wait_until(lambda: relay._health.ready().is_good, 20, what="an active relay")
    hasty.stack.broker.alarm("disk")
    try:
        hasty.send("batch", *probes(300))
        connection = relay._publisher.connection
        wait_until(lambda: connection.state is ConnectionState.BLOCKED, 20, what="a blocked connection")
        # A connection blocked for too long is opened anew, and blocked again by what it publishes.
        wait_until(lambda: connection.reconnects >= 2, 20, what="patience lost twice")
        wait_until(lambda: said(caplog, "stands still"), 20, what="a word about it")
        assert not relay._health.ready().is_good
        assert hasty.value(ROWS) == 300
        wait_until(lambda: shown("outbox_pending") == 300, 20, what="a measure of what waits")
        assert shown("outbox_oldest_seconds") > 0
    finally:
        hasty.stack.broker.clear_alarms()
    wait_sent(hasty, 300)
    assert relay.failure is None
    wait_until(lambda: relay._health.ready().is_good, 20, what="ready again")
    assert any("resource alarm" in each for each in said(caplog, "stands still"))
    assert len(said(caplog, "stands still")) <= 2  # what it met first: unconfirmed, or already blocked
    assert len(said(caplog, "relay goes on after")) == 1


def test_behind_a_frozen_broker_no_row_is_lost(hasty, proxy, caplog, monkeypatch):
    """REL5: after an outage one row is claimed, and after its confirm as many as usual."""
    claim, limits = outbox.claim, []

    def noted(tx, limit, **more):
        limits.append(limit)
        return claim(tx, limit, **more)

    monkeypatch.setattr(outbox, "claim", noted)
    relay = hasty.relay()
    wait_until(lambda: relay._health.ready().is_good, 20, what="an active relay")
    proxy.blackhole()
    hasty.send("batch", *probes(300))
    wait_until(lambda: said(caplog, "stands still"), 20, what="a word about it")
    assert hasty.value(ROWS) == 300
    claimed_before = len(limits)
    proxy.heal()
    wait_sent(hasty, 300)
    assert relay.failure is None
    usual = limits[0]
    assert limits[claimed_before] == 1
    assert usual in limits[claimed_before:]


def test_a_queue_without_a_leader_costs_no_row_and_is_served_soon_after_it_has_one(hasty, caplog):
    vhost = hasty.settings.broker.vhost
    member = f"quorum_queues, {{'{vhost}_{PREFIX}.batch', node()}}"
    relay = hasty.relay()
    wait_until(lambda: relay._health.ready().is_good, 20, what="an active relay")
    hasty.stack.broker.ctl("eval", f"ra:stop_server({member}).")
    hasty.send("batch", *probes(20))
    wait_until(lambda: said(caplog, "was nacked: the queue is full, or has no leader"), 20, what="a nack")
    assert hasty.value(ROWS) == 20
    hasty.stack.broker.ctl("eval", f"ra:restart_server({member}).")
    wait_sent(hasty, 20)
    assert relay.failure is None


def test_a_right_to_write_that_is_taken_away_is_waited_for_and_told_to_whoever_must_give_it_back(rig, caplog):
    caplog.set_level(logging.ERROR, "ordermq")
    broker, vhost = rig.stack.broker, rig.settings.broker.vhost
    user = f"relay-{vhost}"
    broker.add_user(user, "the relay's password")
    broker.set_permissions(user, vhost)
    credentials = {"username": user, "password": Secret("the relay's password")}
    rig.settings = replace(rig.settings, broker=replace(rig.settings.broker, **credentials))
    relay = rig.relay()
    rig.send("batch", *probes(10))
    wait_until(lambda: rig.value(ROWS) == 0, 20, what="an empty outbox")

    broker.set_permissions(user, vhost, write="")
    broker.ctl(
        "close_all_connections", "-p", vhost, "a test asked for it"
    )  # channels remember what was permitted
    rig.send("batch", *probes(20, start=10))
    wait_until(lambda: said(caplog, "refused for user"), 20, what="a word about it")
    assert rig.value(ROWS) == 20
    broker.set_permissions(user, vhost)
    wait_sent(rig, 30)
    assert relay.failure is None
    broker.delete_user(user)
