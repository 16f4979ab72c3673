"""What docs/rabbitmq-versions.md says of RabbitMQ itself, seen on the broker at hand."""

from contextlib import closing

import pika
import pytest
from pika.exceptions import ChannelClosedByBroker

from ordermq.clock import Deadline
from ordermq.testing import wait_until

MIB = 1024 * 1024


@pytest.fixture
def is_new(ordermq_stack):
    """Whether it is 4.3 or newer."""
    return tuple(map(int, ordermq_stack.broker.release.version.split(".")[:2])) >= (4, 3)


@pytest.fixture
def connect(broker_settings):
    host, port = broker_settings.hosts[0].split(":")
    login = pika.PlainCredentials(broker_settings.username, broker_settings.password.reveal())
    parameters = pika.ConnectionParameters(host, int(port), broker_settings.vhost, login)
    return lambda: closing(pika.BlockingConnection(parameters))


def declared(channel, queue, **arguments):
    arguments = {f"x-{name.replace('_', '-')}": value for name, value in arguments.items()}
    channel.queue_declare(queue, durable=True, arguments=arguments)
    channel.confirm_delivery()
    channel.basic_publish("", queue, b"x", pika.BasicProperties(delivery_mode=2))


def given_back(channel, queue, how, most=6):
    """Give the message of ``queue`` back until it comes no more; return how often it came."""
    for count in range(most):
        deadline = Deadline(1.0)
        while (got := channel.basic_get(queue)[0]) is None:
            if deadline.has_passed:
                return count
        getattr(channel, how)(got.delivery_tag, requeue=True)
    return most


def test_a_nack_counts_toward_the_delivery_limit_until_4_2_and_a_reject_always(connect, is_new):
    with connect() as connection:
        channel = connection.channel()
        for how in ("basic_nack", "basic_reject"):
            declared(channel, how, queue_type="quorum", delivery_limit=2)
            assert given_back(channel, how, how) == (6 if is_new and how == "basic_nack" else 3)


def test_a_quorum_queue_without_a_limit_has_one_of_20_since_4_0(connect, ordermq_stack):
    with connect() as connection:
        channel = connection.channel()
        declared(channel, "unlimited", queue_type="quorum")
        is_old = ordermq_stack.broker.release.version.startswith("3.")
        assert given_back(channel, "unlimited", "basic_reject", most=25) == (25 if is_old else 21)


def test_global_prefetch_is_for_each_consumer_on_4_3_and_the_client_is_not_told(connect, is_new):
    with connect() as connection:
        channel = connection.channel()
        for _ in range(6):
            declared(channel, "many", queue_type="classic")
        channel.basic_qos(prefetch_count=2, global_qos=True)
        got = []
        for _ in range(2):
            channel.basic_consume("many", lambda *message: got.append(message))

        def is_still():
            before = len(got)
            connection.process_data_events(0.5)
            return before == len(got) > 0

        wait_until(is_still, 10.0, what="no more deliveries")
        assert len(got) == (4 if is_new else 2)


def test_what_a_queue_and_a_message_may_be(connect, is_new, ordermq_stack):
    largest = 128 if ordermq_stack.broker.release.version.startswith("3.") else 16
    with connect() as connection:
        connection.channel().queue_declare("transient", durable=False)
        channel = connection.channel()
        if is_new:
            with pytest.raises(ChannelClosedByBroker, match="unsupported queue version"):
                declared(channel, "old", queue_version=1)
        else:
            declared(channel, "old", queue_version=1)
        if largest == 16:
            channel = connection.channel()
            declared(channel, "large")
            with pytest.raises(ChannelClosedByBroker, match="larger than configured max size"):
                channel.basic_publish("", "large", bytes(17 * MIB))
