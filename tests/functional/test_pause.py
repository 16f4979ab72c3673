"""Queues that an operator pauses: ``ordermq pause`` and ``ordermq resume``."""

import json
import logging
import signal
import threading
from datetime import timedelta

import pytest

from ordermq.clock import utc_now
from ordermq.store import pauses
from ordermq.task import DONE, ExternalHandler, Postpone, Registry, Retry, RetryOptions, external, handler
from ordermq.task.handler import handlers_in
from ordermq.testing import wait_until
from tests.functional.test_cli_process import Supervisor
from tests.support.commands import Shop, ask
from tests.support.probe import Probe
from tests.support.runtime import PREFIX, probes

PAUSED = "SELECT count(*) FROM ordermq.pauses WHERE resumed_at IS NULL"


def pause(rig, queue):
    with rig.session.transaction() as tx:
        assert pauses.pause(tx, queue, by="ann", reason="maintenance")


def resume(rig, queue):
    with rig.session.transaction() as tx:
        assert pauses.resume(tx, queue, by="ann", reason="done")


def wait_paused(*consumers, paused=True):
    for each in consumers:
        wait_until(lambda each=each: each._control.is_paused == paused, 20, what="it has heard of it")


@pytest.mark.parametrize("queue", ["batch", "single", "call"])
def test_a_paused_queue_begins_nothing_until_it_is_resumed_and_counts_no_attempt(rig, queue):
    """CTL1, RUN5: also of a consumer that is started meanwhile."""
    first = rig.consumer(queue, owner="first")
    rig.publish(queue, *probes(20))
    rig.wait_for_effects(queue, 20)
    pause(rig, queue)
    wait_paused(first)
    rig.publish(queue, *probes(200, start=100))
    second = rig.consumer(queue, owner="second")
    wait_until(lambda: "maintenance" in second._pause.why, 10, what="the second has heard of it")
    first.stop()
    assert first.join(10)  # what it had taken goes back
    # The second has not even subscribed.
    wait_until(lambda: rig.rabbit.depth(f"{PREFIX}.{queue}") == 200, 20, what="all of them in the queue")
    assert len(rig.effects(queue)) == 20

    resume(rig, queue)
    assert len(rig.wait_for_effects(queue, 220)) == 220
    assert rig.value("SELECT count(*) FROM ordermq.outbox") == 0
    assert set(rig.rows("SELECT outcome FROM ordermq.inbox WHERE queue = %s", queue)) == {("done",)}


def test_calls_under_way_end_and_those_that_were_only_prepared_are_not_made(rig):
    called, go_on = [], threading.Event()

    @external(queue="call", message=Probe, key="order_id")
    class Slow(ExternalHandler):
        def prepare(self, claims, tx):
            return [each.message for each in claims]

        def call(self, message):
            called.append(message.order_id)
            go_on.wait(20)

        def complete(self, finished, tx):
            return [
                Postpone(str(each.result)) if isinstance(each.result, Exception) else DONE
                for each in finished
            ]

    consumer = rig.consumer("call", registry=Registry(handlers_in({"slow": Slow})), threads=2)
    rig.publish("call", *probes(10))
    wait_until(lambda: len(called) == 2, 20, what="two calls under way")
    pause(rig, "call")
    wait_paused(consumer)
    go_on.set()
    # Two more for each thread may have been prepared: they come again, uncounted.
    wait_until(
        lambda: rig.rows("SELECT FROM ordermq.inbox WHERE outcome = 'postponed'"), 20, what="given back"
    )
    wait_until(lambda: rig.value("SELECT count(*) FROM ordermq.leases") == 0, 20, what="nothing in hand")
    assert len(called) == 2
    assert set(rig.rows("SELECT attempt, last_error FROM ordermq.outbox")) == {
        (1, "the queue was paused before its turn came")
    }
    rig.relay()
    resume(rig, "call")
    wait_until(
        lambda: rig.value("SELECT count(*) FROM ordermq.inbox WHERE outcome = 'done'") == 10, 20, what="all"
    )
    assert sorted(called) == [each.order_id for each in probes(10)]


def test_the_time_of_a_pause_is_no_part_of_a_message_s_age(rig):
    @handler(queue="single", message=Probe, key="order_id", retry=RetryOptions(max_age_s=60.0))
    def failing(message, tx):
        return Retry("not yet")

    hour_ago = utc_now() - timedelta(hours=1)
    with rig.session.transaction() as tx:
        tx.execute(
            "INSERT INTO ordermq.pauses (queue, paused_at, paused_by, pause_reason, resumed_at)"
            " VALUES ('single', now() - interval '2 hours', 'ann', 'night', now() - interval '30 s')"
        )
    rig.publish("single", *probes(1), first_failed_at=hour_ago)
    rig.publish("single", *probes(1, start=1), first_failed_at=hour_ago - timedelta(hours=2))
    rig.consumer("single", registry=Registry(handlers_in({"failing": failing})))
    wait_until(lambda: rig.rows("SELECT FROM ordermq.dead_letters"), 20, what="the older one has died")
    wait_until(lambda: rig.rows("SELECT FROM ordermq.outbox"), 20, what="the retry of the other")
    assert rig.rows("SELECT message_id FROM ordermq.outbox") == [("o00000",)]
    [(dead, reason)] = rig.rows("SELECT message_id, reason FROM ordermq.dead_letters")
    assert (dead, reason.startswith("gave up after 36")) == ("o00001", True)  # the hour before the pause


def test_what_was_decided_last_holds_while_the_database_cannot_say(rig, caplog):
    """CTL2: a pause is not lifted by an outage."""
    consumer = rig.consumer("single")
    pause(rig, "single")
    wait_paused(consumer)
    with caplog.at_level(logging.WARNING, "ordermq.consumer.control"), rig.session.transaction() as tx:
        tx.execute("ALTER TABLE ordermq.pauses RENAME TO elsewhere")
    wait_until(lambda: "cannot read whether the queue is paused" in caplog.text, 10, what="it says so")
    rig.publish("single", *probes(3))
    assert consumer._control.is_paused
    with rig.session.transaction() as tx:
        tx.execute("ALTER TABLE ordermq.elsewhere RENAME TO pauses")
    resume(rig, "single")
    assert len(rig.wait_for_effects("single", 3)) == 3


def test_of_two_who_pause_a_queue_one_does_and_both_end_it_together(rig):
    """PAU1"""
    pause(rig, "single")
    with rig.session.transaction() as tx:
        assert pauses.pause(tx, "single", by="bob", reason="too") is None
        assert [(each.queue, each.paused_by) for each in pauses.paused_now(tx)] == [("single", "ann")]
        assert pauses.resume(tx, "single", by="bob", reason="done")
        assert pauses.resume(tx, "single", by="ann", reason="done") is None
        assert pauses.paused_now(tx) == []


# --- as an operator types it ---


@pytest.fixture
def shop(ordermq_stack, vhost, database, tmp_path):
    shop = Shop(ordermq_stack, vhost, database, tmp_path)
    yield shop
    shop.close()


def get(process_log, path):
    """Return the status and the text that the process's port answers."""
    ports = [line["labels.http_address"] for line in process_log if "labels.http_address" in line]
    return ask(ports[-1], path)


def test_a_queue_is_paused_and_resumed_from_the_command_line_and_every_change_is_recorded(shop):
    pause = ("ordermq", "pause", "points", "--reason", "the bonus service moves")
    assert shop.ok(*pause, "--dry-run").startswith("would be paused: points")
    assert shop.ok(*pause) == "paused: points; to end it: ordermq resume points\n"
    again = shop.json(*pause)
    assert (again["outcome"], again["pause_reason"]) == ("paused before", "the bonus service moves")
    resume = ("ordermq", "resume", "points", "--reason", "it has moved")
    assert shop.json(*resume, "--dry-run")["outcome"] == "would be resumed"
    assert shop.ok(*resume).startswith("resumed: points, paused since ")
    assert shop.ok(*resume) == "not paused: points\n"
    assert [
        (each["action"], each["subject"], each["reason"])
        for each in shop.lines("ordermq", "actions", "--subject", "queue points")
    ] == [
        ("queue.resume", "queue points", "it has moved"),
        ("queue.pause", "queue points", "the bonus service moves"),
    ]
    assert shop.run("ordermq", "pause", "points").returncode == 64
    unknown = shop.run("ordermq", "pause", "pionts", "--reason", "x")
    assert (unknown.returncode, "points" in unknown.stderr) == (64, True)


def test_a_consumer_that_starts_paused_is_up_for_its_supervisor_and_says_why_it_does_nothing(shop, tmp_path):
    consumer = ("ordermq-consumer", "--queue", "points")
    shop.ok("ordermq", "pause", "points", "--reason", "the bonus service moves")
    with Supervisor(str(tmp_path / "notify")) as supervisor:
        process = shop.start(*consumer, **supervisor.env)
        supervisor.wait_for("READY=1")
        status, said = get(shop.logged(*consumer), "/readyz")
        assert status == 503
        assert "ordermq resume points" in json.loads(said)["reasons"][0]
        assert "the bonus service moves" in said
        _, metrics = get(shop.logged(*consumer), "/metrics")
        assert 'ordermq_paused{queue="points",reason="operator"} 1.0' in metrics
        shop.ok("ordermq", "resume", "points", "--reason", "it has moved")
        wait_until(lambda: get(shop.logged(*consumer), "/readyz")[0] == 200, 10, what="it is ready")
        process.send(signal.SIGTERM)
        assert process.wait(30) == 0
