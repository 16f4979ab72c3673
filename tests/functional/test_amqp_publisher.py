"""Publisher on a real broker: outcomes, order, sharing, deadlines, alarms and lost channels."""

import threading
from collections import Counter
from dataclasses import replace

import pytest

from ordermq.amqp import ConnectionManager, ConnectionState, Publisher, PublishOutcome, apply
from ordermq.amqp.subscription import subscribe
from ordermq.clock import Deadline
from ordermq.config.settings import Secret
from ordermq.errors import (
    AuthenticationRefused,
    ConnectionLost,
    PublishNacked,
    PublishRefused,
    PublishReturned,
    PublishUnknown,
)
from ordermq.message.envelope import Properties, Publishing
from ordermq.message.payload import MAX_BODY_BYTES
from ordermq.testing import wait_until
from ordermq.topology import BindingSpec, ExchangeSpec, QueueSpec, Topology

pytestmark = pytest.mark.usefixtures("opened_by")

WORK = Topology(
    exchanges=(ExchangeSpec("shop", "direct"),),
    queues=(
        QueueSpec("work", {"x-queue-type": "quorum"}),
        QueueSpec("tiny", {"x-queue-type": "classic", "x-max-length": 1, "x-overflow": "reject-publish"}),
    ),
    bindings=(BindingSpec("shop", "work", "work"), BindingSpec("shop", "tiny", "tiny")),
)


@pytest.fixture
def broker(broker_settings):
    """Connection settings of a broker that has the topology above."""
    settings = replace(broker_settings, reconnect_base_s=0.05, unreachable_cap_s=0.2, reconnect_cap_s=0.2)
    admin = ConnectionManager(settings, name="admin")
    admin.connect(threading.Event())
    apply(admin, WORK)
    admin.close()
    return settings


@pytest.fixture
def publisher(broker):
    with Publisher(broker, name="test") as running:
        yield running
    assert running.failure is None


def publishing(message_id, routing_key="work", *, exchange="shop", body=b"{}", **properties):
    return Publishing(exchange, routing_key, Properties(message_id=message_id, **properties), body)


def depth(settings, queue):
    """Messages ready in a queue, and the channel closed again."""
    manager = ConnectionManager(settings, name="depth")
    manager.connect(threading.Event())
    try:
        return manager.open_channel().call("queue_declare", 5.0, queue=queue, passive=True).message_count
    finally:
        manager.close()


class Observed:
    """A PublishObserver that adds up."""

    def __init__(self):
        self.outcomes = Counter()
        self.written = 0
        self.latencies_s = []

    def published(self, count):
        self.written += count

    def resolved(self, outcome, count, latency_s):
        self.outcomes[outcome] += count
        self.latencies_s.append(latency_s)


def test_a_confirmed_publishing_is_in_the_queue(publisher, broker):
    publisher.publish(publishing("m1"))

    assert depth(broker, "work") == 1


def test_the_largest_bodies_arrive_as_they_were_sent(publisher, broker):
    bodies = [bytes([number]) * MAX_BODY_BYTES for number in range(40)]
    assert publisher.publish_many(
        [publishing(f"m{number}", body=body) for number, body in enumerate(bodies)]
    ).all_confirmed

    manager = ConnectionManager(broker, name="reader")
    manager.connect(threading.Event())
    subscription = subscribe(manager, "work", prefetch=40, consumer_tag="reader", epoch=1)
    arrived = []
    deadline = Deadline(20.0)
    while len(arrived) < 40 and not deadline.has_passed:
        manager.tick(1.0)
        arrived += subscription.take()
    manager.close()
    assert [delivery.body for delivery in arrived] == bodies


def test_a_publishing_without_a_queue_is_returned_and_says_where_it_was_sent(publisher):
    with pytest.raises(PublishReturned, match=r"message m1 .*'shop'.*'nowhere'.*NO_ROUTE"):
        publisher.publish(publishing("m1", "nowhere"))


def test_a_publishing_to_a_full_queue_is_nacked(publisher):
    publisher.publish(publishing("m1", "tiny"))

    with pytest.raises(PublishNacked, match="message m2"):
        publisher.publish(publishing("m2", "tiny"))


def test_a_queue_whose_limit_is_lifted_while_it_is_full_takes_publishings_again(
    publisher, broker, vhost, monkeypatch
):
    """PUB5: a channel that received a nack is replaced."""
    monkeypatch.setattr("ordermq.amqp.publisher.RENEW_S", 0.2)
    limit = f"policies/{vhost.name}/small"
    small = {"max-length": 1, "overflow": "reject-publish"}
    vhost.broker.api("PUT", limit, {"pattern": "^work$", "definition": small, "apply-to": "queues"})

    def is_taken():
        try:
            publisher.publish(publishing("m1"))
        except PublishNacked:
            return False
        return True

    wait_until(lambda: not is_taken(), 10.0, what="the queue is full")
    vhost.broker.api("DELETE", limit)
    wait_until(is_taken, 10.0)


@pytest.mark.parametrize(
    "bad",
    [
        publishing("m1", headers={"price": 1.5}),
        publishing("m1", headers={"inner": [{"price": float("nan")}]}),
        publishing("m1", headers={"what": object()}),
        publishing("m1", headers=["no", "table"]),
        publishing("\ud800"),
        publishing("m1", body="text"),
        publishing("x" * 256),
        publishing("m1", "k" * 256),
        publishing("m1", headers={"n": 2**70}),
        publishing("m1", timestamp_s=-1),
        publishing("m1", body=b"x" * (256 * 1024 + 1)),
        publishing(None),
        publishing(""),
    ],
)
def test_what_amqp_cannot_carry_is_refused_and_the_next_publishing_goes_through(publisher, bad):
    with pytest.raises(PublishRefused):
        publisher.publish(bad)

    publisher.publish(publishing("after"))


def test_many_fates_come_back_in_the_order_of_their_publishings(publisher, broker):
    routes = ["work", "nowhere", "work"] * 500
    publishings = [publishing(f"m{n}", route) for n, route in enumerate(routes)]
    publishings[700] = publishing("m700", headers={"price": 1.5})

    outcomes = publisher.publish_many(iter(publishings))

    expected = [PublishOutcome.CONFIRMED if route == "work" else PublishOutcome.RETURNED for route in routes]
    expected[700] = PublishOutcome.REFUSED
    assert outcomes == expected
    assert not outcomes.all_confirmed
    assert outcomes.reasons.keys() == {
        n for n, outcome in enumerate(expected) if outcome is not PublishOutcome.CONFIRMED
    }
    assert "NO_ROUTE" in outcomes.reasons[1]
    assert depth(broker, "work") == expected.count(PublishOutcome.CONFIRMED)


def test_nothing_to_publish_is_done_at_once(publisher):
    assert publisher.publish_many([]) == []


def test_publishings_of_one_message_id_each_get_one_fate(publisher):
    # The same message twice, and under other routing keys: a return tells no tag.
    routes = ["work", "nowhere", "work", "nowhere", "nowhere", "work"] * 50

    outcomes = publisher.publish_many([publishing("same", route) for route in routes])

    assert outcomes == [
        PublishOutcome.CONFIRMED if route == "work" else PublishOutcome.RETURNED for route in routes
    ]


def test_many_threads_share_one_publisher(publisher, broker):
    failures = []

    def publish(thread):
        try:
            for n in range(50):
                publisher.publish(publishing(f"{thread}-{n}"))
        except Exception as exc:
            failures.append(exc)

    threads = [threading.Thread(target=publish, args=(n,)) for n in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(30)

    assert failures == []
    assert depth(broker, "work") == 400


def test_a_missing_exchange_leaves_the_publishing_unknown_and_the_publisher_working(publisher):
    with pytest.raises(PublishUnknown, match="no exchange 'gone'"):
        publisher.publish(publishing("m1", exchange="gone"))

    publisher.publish(publishing("m2"))
    assert publisher.connection.reconnects == 0  # the channel was replaced, not the connection


def test_metrics_hear_of_every_publishing_once(broker):
    observed = Observed()
    with Publisher(broker, name="test", observer=observed) as publisher:
        publisher.publish_many([publishing(f"m{n}", "work" if n % 4 else "nowhere") for n in range(400)])

    assert observed.written == 400
    assert observed.outcomes == {PublishOutcome.CONFIRMED: 300, PublishOutcome.RETURNED: 100}
    assert all(latency_s >= 0 for latency_s in observed.latencies_s)


def test_an_observer_that_fails_changes_nothing(broker):
    class Broken:
        def published(self, count):
            raise RuntimeError("observer")

        resolved = published

    with Publisher(broker, name="test", observer=Broken()) as publisher:
        publisher.publish(publishing("m1"))

    assert publisher.failure is None


def test_without_a_broker_a_publishing_is_certainly_not_sent(broker):
    with Publisher(replace(broker, hosts=("127.0.0.1:1",)), name="test") as publisher:
        with pytest.raises(ConnectionLost, match="not sent"):
            publisher.publish(publishing("m1"), timeout_s=0.3)

        outcomes = publisher.publish_many([publishing(f"m{n}") for n in range(1200)], timeout_s=0.3)

    assert set(outcomes) == {PublishOutcome.UNSENT}
    assert len(outcomes) == 1200


def test_refused_credentials_end_the_publisher_and_are_what_callers_get(broker):
    publisher = Publisher(replace(broker, password=Secret("wrong")), name="test")
    publisher.start()
    wait_until(lambda: publisher.failure is not None, 10.0)

    with pytest.raises(AuthenticationRefused):
        publisher.publish(publishing("m1"))
    with pytest.raises(AuthenticationRefused):
        publisher.publish_many([publishing("m1")])
    assert publisher.join(5.0)


def test_stop_lets_what_is_under_way_be_confirmed_and_refuses_the_rest(broker):
    publisher = Publisher(broker, name="test")
    publisher.start()
    result = []
    caller = threading.Thread(
        target=lambda: result.append(publisher.publish_many([publishing(f"m{n}") for n in range(3000)]))
    )
    caller.start()
    wait_until(lambda: depth(broker, "work") > 0, 10.0)

    publisher.stop()
    caller.join(10)
    assert publisher.join(10.0)

    [outcomes] = result
    assert set(outcomes) <= {PublishOutcome.CONFIRMED, PublishOutcome.UNSENT}
    assert outcomes.count(PublishOutcome.CONFIRMED) == depth(broker, "work") > 0
    with pytest.raises(ConnectionLost, match="stopped"):
        publisher.publish(publishing("late"))
    assert publisher.connection.state is ConnectionState.CLOSED


def test_stop_before_start_and_twice_is_harmless(broker):
    publisher = Publisher(broker, name="test")
    publisher.stop()
    publisher.start()
    publisher.stop()

    assert publisher.join(10.0)
    assert publisher.failure is None
