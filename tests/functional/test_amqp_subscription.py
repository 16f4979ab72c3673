"""Subscriptions on a real broker: deliveries, acks, cancels by both sides, hostile properties."""

import struct
import threading
from dataclasses import replace
from datetime import UTC, datetime

import pika
import pytest
from pika.adapters.blocking_connection import BlockingConnection

from ordermq.amqp import ConnectionManager, ConnectionState, Publisher, subscribe
from ordermq.errors import ChannelLost, QueueMissing
from ordermq.message.envelope import Properties, Publishing
from ordermq.testing import wait_until

pytestmark = pytest.mark.usefixtures("opened_by")


@pytest.fixture
def broker(broker_settings):
    return replace(broker_settings, reconnect_base_s=0.05, unreachable_cap_s=0.2, reconnect_cap_s=0.2)


@pytest.fixture
def manager(broker):
    manager = ConnectionManager(broker, name="consumer")
    assert manager.connect(threading.Event())
    yield manager
    manager.close()


@pytest.fixture
def work(manager):
    """A quorum queue named work."""
    channel = manager.open_channel()
    channel.call("queue_declare", 5.0, queue="work", durable=True, arguments={"x-queue-type": "quorum"})
    manager.close_channel(channel, 5.0)
    return "work"


def publish(broker, *message_ids, **properties):
    with Publisher(broker, name="test") as publisher:
        outcomes = publisher.publish_many(
            [Publishing("", "work", Properties(message_id=each, **properties), b"{}") for each in message_ids]
        )
    assert outcomes.all_confirmed


def publish_raw(broker, properties):
    """Publish as another client would, with what our publisher refuses."""
    credentials = pika.PlainCredentials(broker.username, broker.password.reveal())
    host, _, port = broker.hosts[0].partition(":")
    parameters = pika.ConnectionParameters(host, int(port), broker.vhost, credentials)
    with BlockingConnection(parameters) as connection:
        connection.channel().basic_publish("", "work", b"raw", properties)


def started(manager, *, epoch=1, prefetch=100):
    return subscribe(manager, "work", prefetch=prefetch, consumer_tag=f"test-{epoch}", epoch=epoch)


def collect(manager, subscription, count):
    """Tick until ``count`` deliveries were taken."""
    taken = []

    def turn():
        manager.tick(0.1)
        taken.extend(subscription.take())
        return len(taken) >= count

    wait_until(turn, 10.0)
    assert len(taken) == count
    return taken


def depth(manager):
    channel = manager.open_channel()
    count = channel.call("queue_declare", 5.0, queue="work", passive=True).message_count
    manager.close_channel(channel, 5.0)
    return count


def test_deliveries_come_in_order_with_epoch_tag_and_properties(manager, broker, work):
    """SUB2: every delivery is taken once, in the order of the broker."""
    publish(
        broker, "a", "b", type="T", correlation_id="order-1", timestamp_s=1_700_000_000, headers={"n": 2**40}
    )

    first, second = collect(manager, started(manager, epoch=7), 2)

    assert (first.tag, second.tag) == (1, 2)
    assert (first.epoch, first.exchange, first.routing_key, first.redelivered) == (7, "", "work", False)
    assert first.body == b"{}"
    assert first.properties == Properties(
        message_id="a", type="T", correlation_id="order-1", timestamp_s=1_700_000_000, headers={"n": 2**40}
    )
    assert type(first.properties.headers["n"]) is int
    assert repr(first.properties.headers["n"]) == "1099511627776"


def test_an_acked_delivery_is_gone_and_a_nacked_one_comes_again(manager, broker, work):
    """SUB3: the next tick sends the acks."""
    publish(broker, "a", "b", "c")
    subscription = started(manager)
    taken = collect(manager, subscription, 3)

    subscription.ack(taken[1].tag, multiple=True)
    subscription.nack(taken[2].tag)

    [again] = collect(manager, subscription, 1)
    assert again.properties.message_id == "c"
    assert again.redelivered
    subscription.ack(again.tag)
    subscription.close(5.0)
    assert depth(manager) == 0


def test_a_rejected_delivery_does_not_come_again(manager, broker, work):
    publish(broker, "a")
    subscription = started(manager)
    [delivery] = collect(manager, subscription, 1)

    subscription.reject(delivery.tag)
    subscription.close(5.0)

    assert depth(manager) == 0


def test_the_broker_sends_no_more_than_the_prefetch_unacked(manager, broker, work):
    publish(broker, *(f"m{n}" for n in range(10)))
    subscription = started(manager, prefetch=3)

    taken = collect(manager, subscription, 3)
    manager.tick(0.2)
    assert subscription.take() == []

    subscription.ack(taken[-1].tag, multiple=True)
    collect(manager, subscription, 3)


def test_what_was_delivered_before_a_cancel_can_still_be_taken_and_acked(manager, broker, work):
    publish(broker, *(f"m{n}" for n in range(50)))
    subscription = started(manager, prefetch=50)

    subscription.cancel(5.0)

    taken = subscription.take()
    assert [each.properties.message_id for each in taken] == [f"m{n}" for n in range(len(taken))]
    assert subscription.is_alive
    if taken:
        subscription.ack(taken[-1].tag, multiple=True)
    subscription.close(5.0)
    assert depth(manager) == 50 - len(taken)


def test_a_cancel_rejects_nothing_that_was_delivered(manager, broker, work):
    publish(broker, *(f"m{n}" for n in range(20)))
    subscription = started(manager, prefetch=20)
    collect(manager, subscription, 20)

    subscription.cancel(5.0)
    subscription.close(5.0)

    # Closing requeues all of them once; a reject as well would have counted twice.
    again = collect(manager, started(manager, epoch=2, prefetch=20), 20)
    assert {each.properties.headers["x-delivery-count"] for each in again} == {1}


def test_a_queue_that_does_not_exist_says_how_to_create_it(manager):
    with pytest.raises(QueueMissing, match=r"queue work does not exist; `ordermq topology apply`"):
        started(manager)

    assert manager.state is ConnectionState.OPEN


def test_deleting_the_queue_is_a_lost_channel_not_a_silent_end(manager, work):
    """SUB1: a subscription lives as long as its channel."""
    subscription = started(manager)
    assert subscription.is_alive
    manager.open_channel().call("queue_delete", 5.0, queue="work")

    with pytest.raises(ChannelLost, match="consumer of queue work was cancelled by the broker"):
        wait_until(lambda: manager.tick(0.1), 10.0)

    assert not subscription.is_alive
    with pytest.raises(ChannelLost, match="cancelled by the broker"):
        subscription.check()


def test_an_ack_of_an_unknown_tag_loses_the_channel_but_not_the_connection(manager, work):
    subscription = started(manager)
    subscription.ack(99)

    with pytest.raises(ChannelLost, match="unknown delivery tag"):
        wait_until(lambda: manager.tick(0.1), 10.0)

    assert manager.state is ConnectionState.OPEN
    with pytest.raises(ChannelLost):
        subscription.ack(1)
    started(manager, epoch=2)


def test_properties_that_are_not_utf8_are_text_and_do_no_harm(manager, broker, work):
    subscription = started(manager)
    properties = pika.BasicProperties(
        message_id="id-one",
        type="kind",
        correlation_id="corr",
        headers={"raw": b"\xff\xfe", "inner": {"list": [1, {"deep": 2**40}]}},
    )

    publish_changed(broker, properties, {b"id-one": b"id-\xffne", b"kind": b"\xc3(nd", b"corr": b"\x80orr"})

    [delivery] = collect(manager, subscription, 1)
    assert delivery.properties.message_id == "id-\\xffne"
    assert delivery.properties.type == "\\xc3(nd"
    assert delivery.properties.correlation_id == "\\x80orr"
    assert delivery.properties.headers["inner"] == {"list": [1, {"deep": 2**40}]}


def test_a_header_timestamp_in_milliseconds_does_not_end_the_connection(manager, broker, work):
    seconds, milliseconds = 1_700_000_000, 1_700_000_000_000
    properties = pika.BasicProperties(headers={"at": datetime.fromtimestamp(seconds, UTC)})
    subscription = started(manager)

    publish_changed(broker, properties, {struct.pack(">Q", seconds): struct.pack(">Q", milliseconds)})
    publish(broker, "after")

    odd, after = collect(manager, subscription, 2)
    assert odd.properties.headers == {"at": milliseconds}
    assert after.properties.message_id == "after"


def test_a_table_nested_thousands_deep_does_not_end_the_connection(manager, broker, work):
    nested = b""
    for _ in range(3000):
        nested = b"\x01kF" + struct.pack(">I", len(nested)) + nested
    placeholder = "-" * len(nested)
    subscription = started(manager)

    # A table and a string differ in one letter and what they hold.
    publish_changed(
        broker,
        pika.BasicProperties(headers={"deep": placeholder, "after": 1}),
        {b"\x04deepS": b"\x04deepF", placeholder.encode(): nested},
    )
    publish(broker, "after")

    odd, after = collect(manager, subscription, 2)
    assert odd.properties.headers["after"] == 1
    assert after.properties.message_id == "after"


def test_what_a_call_has_raised_is_not_raised_again_by_the_next_tick(manager):
    with pytest.raises(QueueMissing):
        started(manager)

    manager.tick(0.1)


def publish_changed(broker, properties, changes):
    """Publish with bytes pika would not encode, put in the place of others of the same length."""
    encode = properties.encode

    def encode_and_change():
        encoded = b"".join(encode())
        for old, new in changes.items():
            assert encoded.count(old) == 1
            assert len(old) == len(new)
            encoded = encoded.replace(old, new)
        return [encoded]

    properties.encode = encode_and_change
    publish_raw(broker, properties)
