"""What the relay's watch shows of the broker, and what it no longer shows. Nothing connects."""

import threading
from dataclasses import replace
from types import SimpleNamespace

import pytest

from ordermq.amqp import ConnectionManager, QueueDepth
from ordermq.cli.processes import queue_watch
from ordermq.cli.processes.queue_watch import QueueWatch, WaitingTimes
from ordermq.config.settings import Settings
from ordermq.observe import metrics
from ordermq.topology.names import DEAD

NOBODY = "127.0.0.1:1"


def shown(name, **labels):
    return metrics.REGISTRY.get_sample_value(f"ordermq_{name}", labels)


@pytest.fixture
def watch():
    settings = Settings()
    program = SimpleNamespace(
        settings=replace(
            settings,
            broker=replace(settings.broker, hosts=(NOBODY,), give_up_after_s=0.1),
            topology=replace(settings.topology, queues=("theirs",), management_url=f"http://{NOBODY}"),
        ),
        registry=SimpleNamespace(queues=("ours",)),
    )
    watch = QueueWatch(program)
    yield watch
    watch.stand_by()


def show_trouble():
    metrics.queue_ready.labels("ours").set(5)
    metrics.broker_alarms.set(2)
    metrics.broker_deprecated.set(1)
    metrics.queue_replicas_missing.labels("ours").set(2)
    metrics.queue_without_majority.labels("ours").set(1)
    metrics.certificate_expires.labels("broker b").set(1e9)


API = {
    "broker_alarms": 0.0, "broker_deprecated_features": 0.0,
    "queue_replicas_missing": None, "queue_without_majority": None,
}  # fmt: skip


def of_the_api():
    return {name: shown(name, **({"queue": "ours"} if "queue" in name else {})) for name in API}


def test_a_relay_that_was_active_shows_no_trouble_that_was_mended_since(watch):
    show_trouble()
    watch.stand_by()
    assert of_the_api() == API
    assert shown("queue_ready", queue="ours") is None
    assert shown("certificate_expires_timestamp_seconds", server="broker b") is None


def test_a_broker_that_is_away_with_its_management_api_leaves_no_trouble_of_before(watch):
    show_trouble()
    connection = ConnectionManager(watch._program.settings.broker, name="test")
    watch.look(connection, threading.Event())
    connection.close()
    assert of_the_api() == API
    assert shown("queue_ready", queue="ours") is None
    assert shown("certificate_expires_timestamp_seconds", server="broker b") == 1e9


def test_a_relay_that_is_active_again_counts_waiting_from_then_on(watch, monkeypatch):
    now_s = [100.0]
    monkeypatch.setattr(queue_watch, "monotonic_s", lambda: now_s[0])
    watch._show("ours", QueueDepth(5, 0))
    now_s[0] += 30.0
    watch._show("ours", QueueDepth(5, 0))
    assert shown("queue_waiting_seconds", queue="ours") == 30.0
    watch.stand_by()
    now_s[0] += 7200.0
    watch._show("ours", QueueDepth(5, 0))
    assert shown("queue_waiting_seconds", queue="ours") == 0.0


def test_only_of_queues_that_ordermq_consumes_is_it_known_whether_one_is_taken(watch):
    for name in ("ours", "theirs", DEAD):
        watch._show(name, QueueDepth(5, 1))
    assert shown("queue_ready", queue="theirs") == 5.0
    assert shown("queue_waiting_seconds", queue="theirs") is None
    assert shown("queue_waiting_seconds", queue="ours") == 0.0
    assert shown("queue_waiting_seconds", queue=DEAD) == 0.0


def test_a_queue_with_messages_and_no_consumer_waits_since_it_was_seen_to_have_some():
    times = WaitingTimes()
    assert times.note("q", 5, None, 100.0) == 0.0
    assert times.note("q", 5, None, 130.0) == 30.0


def test_a_message_that_is_taken_ends_the_wait():
    times = WaitingTimes()
    times.note("q", 5, 3.0, 100.0)
    assert times.note("q", 5, 2.0, 130.0) == 2.0
    assert times.note("q", 5, 17.0, 145.0) == 17.0


def test_an_empty_queue_does_not_wait():
    times = WaitingTimes()
    times.note("q", 5, None, 100.0)
    assert times.note("q", 0, None, 130.0) == 0.0
    assert times.note("q", 1, None, 160.0) == 0.0
