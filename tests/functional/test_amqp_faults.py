"""What happens when the connection or the broker fails: frozen, reset, blocked. Every wait is bounded."""

import contextlib
import threading
from dataclasses import replace

import pytest

from ordermq.amqp import ConnectionManager, ConnectionState, Publisher, PublishOutcome, subscribe
from ordermq.clock import monotonic_s
from ordermq.errors import (
    ConnectionBlocked,
    ConnectionLost,
    ConnectionReset,
    ConnectTimeout,
    PublishError,
    PublishNacked,
    PublishUnknown,
)
from ordermq.message.envelope import Properties, Publishing
from ordermq.testing import FaultProxy, wait_until


def reset(proxy):
    """End every connection; the next ones are carried."""
    proxy.cut()
    proxy.heal()


@pytest.fixture
def proxy(ordermq_stack):
    with FaultProxy(ordermq_stack.broker.port) as proxy:
        yield proxy


@pytest.fixture
def settings(broker_settings, proxy):
    """Through the proxy, with short deadlines, to a vhost with a queue named work."""
    direct = ConnectionManager(broker_settings, name="admin")
    direct.connect(threading.Event())
    direct.open_channel().call("queue_declare", 5.0, queue="work", durable=True)
    direct.close()
    return replace(
        broker_settings,
        hosts=(proxy.address,),
        reconnect_base_s=0.05,
        unreachable_cap_s=0.2,
        reconnect_cap_s=0.2,
        connect_timeout_s=1.0,
        confirm_timeout_s=1.0,
    )


@pytest.fixture
def publisher(settings):
    with Publisher(settings, name="test") as running:
        running.publish(message("warm-up"))
        yield running


@pytest.fixture
def alarm(ordermq_stack):
    """Raise an alarm of the broker's; it is off again after the test."""

    def raise_alarm(resource="disk"):
        ordermq_stack.broker.alarm(resource)

    yield raise_alarm
    ordermq_stack.broker.clear_alarms()


@contextlib.contextmanager
def at_most(limit_s):
    started_s = monotonic_s()
    yield
    assert monotonic_s() - started_s < limit_s


def message(message_id, body=b"{}"):
    return Publishing("", "work", Properties(message_id=message_id), body)


def received_ids(settings):
    """Take everything in the queue."""
    manager = ConnectionManager(settings, name="reader")
    manager.connect(threading.Event())
    channel = manager.open_channel()
    ready = channel.call("queue_declare", 5.0, queue="work", passive=True).message_count
    subscription = subscribe(manager, "work", prefetch=0, consumer_tag="reader", epoch=1)
    found = []

    def turn():
        manager.tick(0.1)
        found.extend(each.properties.message_id for each in subscription.take())
        return len(found) >= ready

    wait_until(turn, 20.0)
    manager.close()
    return found


def test_a_frozen_broker_ends_a_publish_as_unknown_within_its_deadline(publisher, proxy):
    proxy.blackhole()

    with at_most(1.0), pytest.raises(PublishUnknown, match="not confirmed in time"):
        publisher.publish(message("m1"), timeout_s=0.5)


def test_after_a_freeze_no_late_confirm_reaches_a_later_publishing(publisher, proxy, broker_settings):
    """PUB4: what was in flight on the dropped connection is unknown."""
    proxy.blackhole()
    outcomes = publisher.publish_many([message(f"frozen-{n}") for n in range(20)], timeout_s=0.5)
    assert set(outcomes) == {PublishOutcome.UNKNOWN}
    wait_until(
        lambda: publisher.connection.state is not ConnectionState.OPEN, 5.0
    )  # refused at once, not waited for
    proxy.heal()

    def publish_again():
        with contextlib.suppress(ConnectionLost):
            publisher.publish(message("after"), timeout_s=1.0)
            return True
        return False

    wait_until(publish_again, 10.0)
    assert publisher.connection.reconnects >= 1
    assert "after" in received_ids(broker_settings)


def test_a_short_deadline_of_one_caller_costs_the_others_nothing(settings):
    """PUB1: a caller holds the lock for no longer than it takes to queue or to close its batch."""
    outcomes = []
    with Publisher(replace(settings, confirm_timeout_s=10.0), name="test") as publisher:
        publisher.publish(message("warm-up"))
        caller = threading.Thread(
            target=lambda: outcomes.extend(publisher.publish_many([message(f"m{n}") for n in range(2000)]))
        )
        caller.start()
        for n in range(50):
            with contextlib.suppress(PublishError, ConnectionLost):
                publisher.publish(message(f"hasty-{n}"), timeout_s=0.0)
        caller.join(20)

        assert set(outcomes) == {PublishOutcome.CONFIRMED}
        assert publisher.connection.reconnects == 0


def test_a_reset_in_mid_flight_makes_unknown_what_was_in_flight_and_loses_nothing_confirmed(
    settings, proxy, broker_settings
):
    class Halfway:
        """Freezes the link when half is confirmed, and resets it when more has been written."""

        confirmed = 0
        resetter = None

        def published(self, count):
            if self.confirmed >= 5000 and self.resetter is None:
                self.resetter = threading.Timer(0.1, reset, [proxy])
                self.resetter.start()

        def resolved(self, outcome, count, latency_s):
            self.confirmed += count
            if self.confirmed >= 5000 and self.resetter is None:
                proxy.blackhole()

    ids = [f"m{n}" for n in range(10_000)]
    observer = Halfway()
    with Publisher(settings, name="test", observer=observer) as publisher:
        outcomes = publisher.publish_many([message(each) for each in ids])
        observer.resetter.join()

        confirmed = {
            each for each, outcome in zip(ids, outcomes, strict=True) if outcome is PublishOutcome.CONFIRMED
        }
        assert set(outcomes) == {PublishOutcome.CONFIRMED, PublishOutcome.UNKNOWN}
        assert len(ids) - len(confirmed) <= settings.publish_window
        assert publisher.connection.reconnects == 1
    assert confirmed <= set(received_ids(broker_settings))


def test_a_caller_is_released_in_time_while_the_connection_attempt_still_hangs(settings, proxy):
    """PUB2: the caller closes its batch itself."""
    proxy.blackhole()
    with Publisher(replace(settings, connect_timeout_s=5.0), name="test") as publisher:
        with at_most(1.0), pytest.raises(ConnectionLost, match="not sent"):
            publisher.publish(message("m1"), timeout_s=0.3)
        proxy.cut()


def test_stopping_a_publisher_whose_broker_is_frozen_takes_no_longer_than_its_deadline(settings, proxy):
    publisher = Publisher(settings, name="test")
    publisher.start()
    publisher.publish(message("warm-up"))
    proxy.blackhole()
    publisher.stop()

    with at_most(4.0):
        assert publisher.join(4.0)
    assert publisher.connection.state is ConnectionState.CLOSED


def test_connecting_to_a_frozen_broker_times_out(settings, proxy):
    proxy.blackhole()
    manager = ConnectionManager(replace(settings, give_up_after_s=0.1), name="test")

    with at_most(3.0), pytest.raises(ConnectionLost, match=r"gave up after .*did not answer in time"):
        manager.connect(threading.Event())

    assert isinstance(manager.last_error, ConnectTimeout)
    manager.close()


def test_closing_a_frozen_connection_is_bounded(settings, proxy):
    manager = ConnectionManager(settings, name="test")
    manager.connect(threading.Event())
    proxy.blackhole()

    with at_most(1.0):
        manager.close(0.3)

    assert manager.state is ConnectionState.CLOSED


def test_asking_a_frozen_broker_is_bounded_and_costs_the_connection(settings, proxy):
    manager = ConnectionManager(settings, name="test")
    manager.connect(threading.Event())
    channel = manager.open_channel()
    proxy.blackhole()

    with at_most(1.0), pytest.raises(ConnectionLost, match="did not answer queue_declare work"):
        channel.call("queue_declare", 0.3, queue="work", passive=True)

    with pytest.raises(ConnectionReset):
        manager.tick(0.1)
    proxy.heal()
    assert manager.connect(threading.Event())
    assert manager.reconnects == 1
    manager.close()


def test_a_reset_is_noticed_by_the_next_tick_and_reconnected(settings, proxy):
    manager = ConnectionManager(settings, name="test")
    manager.connect(threading.Event())
    subscription = subscribe(manager, "work", prefetch=1, consumer_tag="c", epoch=1)
    proxy.cut()

    with pytest.raises(ConnectionReset):
        wait_until(lambda: manager.tick(0.2), 20.0)

    assert not subscription.is_alive
    with pytest.raises(ConnectionLost):
        manager.tick(0.1)
    assert manager.connect(threading.Event())
    manager.close()


def test_a_broker_that_goes_away_during_login_is_not_a_refused_login(settings, proxy):
    # Fatal at start is only what the broker refuses. This is a broker that restarts.
    proxy.blackhole()
    manager = ConnectionManager(replace(settings, connect_timeout_s=5.0, give_up_after_s=0.1), name="test")
    resetter = threading.Timer(0.3, proxy.cut)
    resetter.start()

    with pytest.raises(ConnectionLost):
        manager.connect(threading.Event())

    resetter.join()
    assert isinstance(manager.last_error, ConnectionReset)
    manager.close()


def test_a_blocked_connection_ends_in_connection_blocked_and_recovers(publisher, alarm, ordermq_stack):
    """PUB3: nothing is written to a blocked connection."""
    alarm()
    # The broker blocks a connection on its next publishing; that one is sent and unknown.
    with contextlib.suppress(PublishError, ConnectionBlocked):
        publisher.publish(message("first"), timeout_s=1.0)
    wait_until(lambda: publisher.connection.state is ConnectionState.BLOCKED, 20.0)

    with at_most(1.0), pytest.raises(ConnectionBlocked, match="resource alarm"):
        publisher.publish(message("second"), timeout_s=0.3)

    ordermq_stack.broker.clear_alarms()
    publisher.publish(message("third"), timeout_s=10.0)
    assert publisher.connection.reconnects == 0  # blocked for a while is no reason to reconnect


def test_a_queue_without_a_leader_ends_publishing_in_time_and_takes_it_again_when_it_has_one(
    settings, ordermq_stack
):
    """PUB4: a publishing without a confirm ends the connection."""
    direct = ConnectionManager(settings, name="admin")
    direct.connect(threading.Event())
    quorum = {"x-queue-type": "quorum"}
    direct.open_channel().call("queue_declare", 5.0, queue="led", durable=True, arguments=quorum)
    direct.close()
    member = f"quorum_queues, {{'{settings.vhost}_led', node()}}"
    to_it = Publishing("", "led", Properties(message_id="m"), b"{}")

    with Publisher(settings, name="test") as publisher:
        publisher.publish(to_it)
        ordermq_stack.broker.ctl("eval", f"ra:stop_server({member}).")
        # What reaches the broker before it knows is neither confirmed nor refused.
        with at_most(3.0), pytest.raises((PublishUnknown, PublishNacked)):
            publisher.publish(to_it)

        def is_nacked():
            with contextlib.suppress(PublishUnknown, ConnectionLost):
                with pytest.raises(PublishNacked, match="full, or has no leader"):
                    publisher.publish(to_it)
                return True
            return False

        wait_until(is_nacked, 20.0)
        ordermq_stack.broker.ctl("eval", f"ra:restart_server({member}).")

        def is_confirmed():
            with contextlib.suppress(PublishError, ConnectionLost):
                publisher.publish(to_it)
                return True
            return False

        wait_until(is_confirmed, 20.0)


def test_a_deadline_holds_while_the_alarmed_broker_reads_none_of_what_was_written(publisher, alarm):
    alarm()
    big = [message(f"big-{n}", b"x" * 250_000) for n in range(200)]  # 50 MB: past every socket buffer

    with at_most(2.0):
        outcomes = publisher.publish_many(big, timeout_s=0.5)

    assert set(outcomes) <= {PublishOutcome.UNKNOWN, PublishOutcome.UNSENT}


def test_blocked_past_the_timeout_is_a_lost_connection(settings, alarm):
    states = []
    short = replace(settings, blocked_timeout_s=0.5, confirm_timeout_s=5.0)
    with Publisher(short, name="test", on_state=states.append) as publisher:
        publisher.publish(message("warm-up"))
        alarm("memory")
        with pytest.raises((PublishUnknown, ConnectionBlocked)):
            publisher.publish(message("m1"), timeout_s=3.0)
        wait_until(lambda: isinstance(publisher.connection.last_error, ConnectionBlocked), 20.0)

    assert states[:4] == [
        ConnectionState.CONNECTING,
        ConnectionState.OPEN,
        ConnectionState.BLOCKED,
        ConnectionState.CONNECTING,
    ]
