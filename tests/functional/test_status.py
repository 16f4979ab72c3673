"""``ordermq status``: what an operator looks at first."""

import signal

import pytest

from ordermq import __version__
from ordermq.clock import utc_now
from ordermq.message import Envelope
from ordermq.observe import trace
from ordermq.store import Session, dead_letters, processes
from ordermq.store.processes import ProcessReport
from ordermq.testing import wait_until
from tests.support.commands import Shop
from tests.support.rabbit import Rabbit

CONSUMER = ("ordermq-consumer", "--queue", "points")


@pytest.fixture
def shop(ordermq_stack, vhost, database, tmp_path):
    shop = Shop(ordermq_stack, vhost, database, tmp_path, ORDERMQ_TOPOLOGY_MANAGEMENT_URL="")
    yield shop
    shop.close()


@pytest.fixture
def session(shop, database):
    session = Session(database.settings, name="test")
    yield session
    session.close()


def status(shop):
    return shop.json("ordermq", "status")


def queue(document, name):
    return next(each for each in document["queues"] if each["queue"] == name)


def test_a_system_in_which_nothing_runs_is_shown_whole_and_says_what_is_missing(shop):
    found = status(shop)
    assert queue(found, "points") == {
        "queue": "points", "ready": 0, "unacked": 0, "consumers": 0, "rate_in": None, "rate_out": 0,
        "delivered_s": None, "is_missing": False, "idle_s": None,
    }  # fmt: skip
    assert (found["processes"], found["paused"], found["limits"], found["dead_letters"]) == ([], [], [], [])
    assert {(each["module"], each["name"]) for each in found["modules"]} == {
        ("shop", "stuck"),
        ("shop", "held"),
        ("shop", "attention"),
    }
    assert (found["feeds"], found["notes"]) == (
        [], ["no rates in and no alarms: topology.management_url is not set"],
    )  # fmt: skip
    screen = shop.ok("ordermq", "status")
    assert "NO ACTIVE RELAY" in screen
    assert "not known  no rates in" in screen


def test_it_shows_processes_queues_and_what_is_paused_limited_and_dead(shop, session):
    relay, consumer = shop.start("ordermq-relay"), shop.start(*CONSUMER)
    running = wait_until(
        lambda: (
            {each["role"]: each for each in status(shop)["processes"] if each["state"] != "starting"}
            if len(status(shop)["processes"]) == 2
            else None
        ),
        30,
        what="both have said how they are",
    )
    assert (running["relay"]["state"], running["relay"]["version"]) == ("active", __version__)
    assert running["relay"]["pid"] == relay.pid
    wait_until(lambda: consumer_of(shop)["state"] == "running", 15, what="the consumer has subscribed")
    assert consumer_of(shop)["pid"] == consumer.pid

    shop.ok("ordermq", "pause", "points", "--reason", "the bonus service moves")
    shop.ok("ordermq", "limits", "set", "payment", "50/s", "--reason", "their contract")
    body = b'{"order_id": "A-1"}\n'
    shop.ok("ordermq-publish", "messages", "--routing-key", "payment", "--type", "x", "-", stdin=body)
    with session.transaction() as tx:
        for number in range(3):
            envelope = Envelope(
                message_id=f"m{number}", type="AwardPoints", version=1, correlation_id="A-1",
                traceparent=trace.new(), occurred_at=utc_now(),
            )  # fmt: skip
            dead_letters.keep(tx, "points", [(envelope, b"{}", f"timeout after {number} s")])
    wait_until(lambda: consumer_of(shop)["state"] == "paused", 15, what="it says that it is paused")
    found = status(shop)
    assert "the bonus service moves" in consumer_of(shop)["reason"]
    assert [(each["queue"], each["pause_reason"]) for each in found["paused"]] == [
        ("points", "the bonus service moves")
    ]
    assert [(each["dependency"], each["rate"]) for each in found["limits"]] == [("payment", 50.0)]
    assert [(each["letters"], each["queue"], each["reason"]) for each in found["dead_letters"]] == [
        (3, "points", "timeout after 2 s")
    ]
    assert queue(found, "payment")["ready"] == 1
    screen = shop.ok("ordermq", "status")
    for words in (
        "NO CONSUMER",
        "paused     points since",
        "limit      payment 50/s: free",
        "dead       3 of",
    ):
        assert words in screen

    for process in (relay, consumer):
        process.send(signal.SIGTERM)
    assert [process.wait(30) for process in (relay, consumer)] == [0, 0]
    assert status(shop)["processes"] == []  # who stops says so


def consumer_of(shop):
    return next(each for each in status(shop)["processes"] if each["role"] == "consumer")


def test_a_process_that_was_killed_is_shown_as_lost_and_forgotten_after_a_day(shop, session):
    report = ProcessReport("gone", "consumer", "points", "host", 17, "0.1", 5, "running", unacked=9)
    with session.transaction() as tx:
        processes.write_report(tx, report)
        tx.execute("UPDATE ordermq.processes SET seen_at = now() - interval '1 hour'")
    [lost] = status(shop)["processes"]
    assert (lost["name"], lost["is_lost"]) == ("gone", True)
    assert queue(status(shop), "points")["consumers"] == 0
    assert "NOT SEEN for 1h" in shop.ok("ordermq", "status")
    with session.transaction() as tx:
        tx.execute("UPDATE ordermq.processes SET seen_at = now() - interval '25 hours'")
        processes.forget_old_processes(tx)
    assert status(shop)["processes"] == []


def test_queues_that_are_gone_and_a_broker_that_does_not_answer_are_said(shop, vhost):
    rabbit = Rabbit(vhost.broker, vhost.settings)
    rabbit.delete_queue("orders.points")
    rabbit.close()
    assert queue(status(shop), "points")["is_missing"]
    assert "MISSING: ordermq topology apply" in shop.ok("ordermq", "status")
    found = shop.run("ordermq", "status", "--json", ORDERMQ_BROKER_HOSTS="127.0.0.1:1")
    assert found.returncode == 0
    assert "the broker does not answer" in found.stdout


def test_a_module_that_cannot_say_how_it_is_costs_only_its_own_lines(shop, session):
    with session.transaction() as tx:
        tx.execute("ALTER TABLE shop.orders RENAME TO elsewhere")
    found = status(shop)
    assert found["modules"] == []
    assert any("module shop cannot say how it is" in each for each in found["notes"])


def test_the_management_api_adds_rates_and_alarms(shop, ordermq_stack):
    shop.env["ORDERMQ_TOPOLOGY_MANAGEMENT_URL"] = ordermq_stack.broker.management_url
    found = wait_until(
        lambda: seen if queue(seen := status(shop), "points")["rate_in"] is not None else None,
        20,
        what="the management API knows the queue",
    )
    assert (queue(found, "points")["rate_in"], found["alarms"], found["notes"]) == (0.0, [], [])
