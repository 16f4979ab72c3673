"""ChannelPool on a real broker: a channel per thread, replaced when lost, bounded in number and time."""

import threading
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace

import pytest

from ordermq.amqp import ChannelPool
from ordermq.clock import monotonic_s
from ordermq.config.settings import Secret
from ordermq.errors import AuthenticationRefused, ConnectionLost, QueueMissing
from ordermq.testing import wait_until


@pytest.fixture
def pool(broker_settings):
    pool = ChannelPool(broker_settings, name="test", limit=4)
    pool.start()
    yield pool
    pool.stop()
    assert pool.join(10.0)


def itself(channel):
    return channel


def missing(channel):
    return channel.call("queue_declare", 5.0, queue="nowhere", passive=True)


def test_a_thread_keeps_its_channel(pool):
    assert pool.call(itself, 5.0) is pool.call(itself, 5.0)


def test_every_thread_has_its_own_channel_until_the_limit_and_gets_one_when_another_ends(pool):
    barrier = threading.Barrier(4)

    def take(_):
        channel = pool.call(itself, 5.0)
        barrier.wait(10)
        return channel

    with ThreadPoolExecutor(4) as threads:
        channels = list(threads.map(take, range(4)))
        assert len(set(map(id, channels))) == 4
        with pytest.raises(ConnectionLost, match="all 4 channels"):
            pool.call(itself, 5.0)

    def has_room():
        try:
            return pool.call(itself, 5.0)
        except ConnectionLost:
            return None

    assert wait_until(has_room, 10.0) not in channels


def test_a_channel_the_broker_closed_is_replaced(pool):
    before = pool.call(itself, 5.0)

    with pytest.raises(QueueMissing, match="nowhere"):
        pool.call(missing, 5.0)

    assert pool.call(itself, 5.0) is not before
    assert pool.connection.reconnects == 0


def test_calls_run_in_the_pools_own_thread(pool):
    assert pool.call(lambda _: threading.current_thread(), 5.0).name == "ordermq-channels-test"


def test_an_error_of_the_callers_function_is_the_callers(pool):
    with pytest.raises(ZeroDivisionError):
        pool.call(lambda _: 1 // 0, 5.0)

    assert pool.call(lambda _: "still here", 5.0) == "still here"


def test_without_a_broker_a_call_ends_within_its_deadline_and_is_never_begun(broker_settings):
    begun = []
    pool = ChannelPool(replace(broker_settings, hosts=("127.0.0.1:1",)), name="test")
    pool.start()
    started_s = monotonic_s()

    with pytest.raises(ConnectionLost, match="no connection"):
        pool.call(begun.append, 0.2)

    assert monotonic_s() - started_s < 2.0
    pool.stop()
    assert pool.join(5.0)
    assert begun == []


def test_what_ended_the_pool_is_what_callers_get(broker_settings):
    pool = ChannelPool(replace(broker_settings, password=Secret("wrong")), name="test")
    pool.start()
    wait_until(lambda: pool.failure is not None, 10.0)

    with pytest.raises(AuthenticationRefused):
        pool.call(itself, 1.0)


def test_a_stopped_pool_says_so(broker_settings):
    pool = ChannelPool(broker_settings, name="test")
    pool.start()
    pool.stop()
    assert pool.join(10.0)

    with pytest.raises(ConnectionLost, match="stopped"):
        pool.call(itself, 1.0)
