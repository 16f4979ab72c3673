"""ConnectionManager on a real broker: states, hosts, refusals, reconnects, and the ends of waiting."""

import logging
import threading
from dataclasses import replace
from itertools import pairwise
from pathlib import Path
from random import Random

import pytest

from ordermq.amqp import ConnectionManager, ConnectionState
from ordermq.clock import monotonic_s
from ordermq.config.settings import Secret
from ordermq.errors import (
    AccessRefused,
    AuthenticationRefused,
    ChannelLost,
    ConnectionLost,
    ConnectionReset,
    Unreachable,
    VhostMissing,
)
from ordermq.testing import wait_until

pytestmark = pytest.mark.usefixtures("opened_by")

FD_FOLDER = Path("/proc/self/fd")
NOBODY = "127.0.0.1:1"
NEVER = threading.Event()


@pytest.fixture
def settings(broker_settings):
    return replace(broker_settings, reconnect_base_s=0.05, unreachable_cap_s=0.2, reconnect_cap_s=0.2)


@pytest.fixture
def make():
    made = []

    def manager(settings, **options):
        made.append(ConnectionManager(settings, name="test", **options))
        return made[-1]

    yield manager
    for each in made:
        each.close(2.0)


def close_by_broker(ordermq_stack, settings):
    ordermq_stack.broker.ctl("close_all_connections", "--vhost", settings.vhost, "a test asked for it")


def test_the_states_of_a_short_life(make, settings):
    """CON2: the observer sees every state the connection has."""
    states = []
    manager = make(settings, on_state=states.append)
    assert manager.state is ConnectionState.NEW

    assert manager.connect(NEVER)
    manager.tick(0.0)
    manager.close()

    assert states == [ConnectionState.CONNECTING, ConnectionState.OPEN, ConnectionState.CLOSED]
    assert manager.reconnects == 0
    assert manager.last_error is None


def test_connecting_twice_is_connecting_once(make, settings):
    manager = make(settings)

    assert manager.connect(NEVER)
    assert manager.connect(NEVER)

    assert manager.reconnects == 0


def test_an_observer_that_fails_does_not_take_the_connection_down(make, settings):
    def fail(state):
        raise RuntimeError(state)

    assert make(settings, on_state=fail).connect(NEVER)


def test_a_tick_without_events_takes_its_time_and_a_wake_ends_it(make, settings):
    """CON1: any thread may wake the owner."""
    manager = make(settings)
    manager.connect(NEVER)
    started_s = monotonic_s()
    manager.tick(0.2)
    assert 0.15 < monotonic_s() - started_s < 5.0

    waker = threading.Timer(0.1, manager.wake)
    waker.start()
    started_s = monotonic_s()
    manager.tick(20.0)
    assert monotonic_s() - started_s < 5.0
    waker.join()


def test_a_wake_before_the_tick_is_not_lost_even_if_a_call_came_in_between(make, settings):
    manager = make(settings)
    manager.connect(NEVER)
    manager.wake()
    manager.open_channel()  # waits for a reply, and processes the wake meanwhile

    started_s = monotonic_s()
    manager.tick(20.0)

    assert monotonic_s() - started_s < 5.0


def test_a_connection_closed_by_the_broker_comes_back(make, settings, ordermq_stack):
    states = []
    manager = make(settings, on_state=states.append)
    manager.connect(NEVER)
    close_by_broker(ordermq_stack, settings)

    with pytest.raises(ConnectionReset, match=r"closed the connection: 320 CONNECTION_FORCED"):
        wait_until(lambda: manager.tick(0.2), 10.0)
    assert manager.connect(NEVER)

    assert states == [
        ConnectionState.CONNECTING,
        ConnectionState.OPEN,
        ConnectionState.CONNECTING,
        ConnectionState.WAITING,
        ConnectionState.CONNECTING,
        ConnectionState.OPEN,
    ]
    assert manager.reconnects == 1
    assert isinstance(manager.last_error, ConnectionReset)


def test_a_dropped_connection_is_gone_at_once_and_channels_with_it(make, settings):
    """CON3: a channel ends with its connection."""
    manager = make(settings)
    manager.connect(NEVER)
    channel = manager.open_channel()

    manager.drop(ConnectionLost("enough"))

    assert not channel.is_alive
    with pytest.raises(ConnectionLost, match="not connected"):
        manager.tick(0.0)
    assert manager.connect(NEVER)


def test_a_dead_host_is_passed_over_for_a_live_one(make, settings):
    hosts = (NOBODY, *settings.hosts, NOBODY)
    for seed in range(6):
        manager = make(replace(settings, hosts=hosts), random=Random(seed))

        assert manager.connect(NEVER), f"seed {seed}"
        assert manager.state is ConnectionState.OPEN


def test_nobody_listening_is_tried_until_the_process_gives_up(make, settings):
    manager = make(replace(settings, hosts=(NOBODY,), give_up_after_s=0.5))

    with pytest.raises(ConnectionLost, match=r"gave up after .*give_up_after_s is 0\.5.*Connection refused"):
        manager.connect(NEVER)

    assert isinstance(manager.last_error, Unreachable)


def test_stop_ends_the_waiting_at_once(make, settings):
    manager = make(replace(settings, hosts=(NOBODY,), reconnect_base_s=60.0, unreachable_cap_s=60.0))
    stop = threading.Event()
    stopper = threading.Timer(0.2, stop.set)
    stopper.start()
    started_s = monotonic_s()

    assert manager.connect(stop) is False

    assert monotonic_s() - started_s < 5.0
    stopper.join()


def test_a_long_wait_gives_signs_of_life(make, settings):
    alive, stop = [], threading.Event()

    def on_wait():
        alive.append(monotonic_s())
        if len(alive) == 4:
            stop.set()

    manager = make(
        replace(
            settings, hosts=(NOBODY,), reconnect_base_s=60.0, unreachable_cap_s=60.0, give_up_after_s=99.0
        ),
        random=Random(2),
    )
    assert manager.connect(stop, on_wait=on_wait) is False
    gaps = [later - sooner for sooner, later in pairwise(alive)]
    assert len(gaps) == 3
    assert max(gaps) < 2.5


def test_stop_set_before_connecting_connects_nothing(make, settings):
    stop = threading.Event()
    stop.set()

    assert make(settings).connect(stop) is False


@pytest.mark.parametrize(
    ("change", "error", "text"),
    [
        ({"password": Secret("wrong")}, AuthenticationRefused, "refused the login"),
        ({"username": "nobody"}, AuthenticationRefused, "refused the login"),
        ({"vhost": "nowhere"}, VhostMissing, "vhost nowhere not found"),
    ],
)
def test_a_refusal_at_the_first_connection_is_raised_at_once(make, settings, change, error, text):
    manager = make(replace(settings, **change))

    with pytest.raises(error, match=text) as refused:
        manager.connect(NEVER)

    assert refused.value.exit_code == 78
    assert "wrong" not in str(refused.value)


def test_a_user_without_permission_on_the_vhost_is_refused(make, settings, ordermq_stack):
    ordermq_stack.broker.add_user("stranger", "secret")
    try:
        with pytest.raises(AccessRefused, match="refused for user 'stranger'"):
            make(replace(settings, username="stranger", password=Secret("secret"))).connect(NEVER)
    finally:
        ordermq_stack.broker.delete_user("stranger")


def test_a_password_that_changes_later_is_read_again_and_refusals_are_waited_out(make, settings, caplog):
    now = {"password": settings.password.reveal()}
    manager = make(replace(settings, password=Secret(lambda: now["password"])))
    manager.connect(NEVER)
    manager.drop(ConnectionLost("rotated"))
    right, now["password"] = now["password"], "wrong"
    mended = threading.Timer(0.4, lambda: now.update(password=right))
    mended.start()

    with caplog.at_level(logging.ERROR, "ordermq"):
        assert manager.connect(NEVER)

    mended.join()
    assert isinstance(manager.last_error, AuthenticationRefused)
    assert any("refused the login" in record.message for record in caplog.records)


def test_a_closed_channel_is_raised_by_the_next_tick_and_costs_only_itself(make, settings):
    manager = make(settings)
    manager.connect(NEVER)
    channel = manager.open_channel()
    other = manager.open_channel()
    channel.ack(1)

    with pytest.raises(ChannelLost, match="unknown delivery tag"):
        wait_until(lambda: manager.tick(0.2), 10.0)

    manager.tick(0.0)
    assert other.is_alive
    assert manager.state is ConnectionState.OPEN


def test_wake_and_close_after_close_are_harmless(make, settings):
    manager = make(settings)
    manager.connect(NEVER)
    manager.close()

    manager.wake()
    manager.close()

    assert manager.state is ConnectionState.CLOSED


def test_connections_leave_no_descriptors_behind(make, settings):
    def open_descriptors():
        return len(list(FD_FOLDER.iterdir()))

    manager = make(settings)
    manager.connect(NEVER)
    before = open_descriptors()
    for _ in range(5):
        manager.drop(ConnectionLost("again"))
        manager.connect(NEVER)
    refused = make(replace(settings, vhost="nowhere"))
    with pytest.raises(VhostMissing):
        refused.connect(NEVER)
    refused.close()

    assert open_descriptors() == before


def test_refusals_that_last_too_long_end_as_a_lost_connection(make, settings):
    now = {"password": settings.password.reveal()}
    manager = make(replace(settings, password=Secret(lambda: now["password"]), give_up_after_s=0.5))
    manager.connect(NEVER)
    manager.drop(ConnectionLost("rotated"))
    now["password"] = "wrong"

    with pytest.raises(ConnectionLost, match=r"gave up after .*refused the login"):
        manager.connect(NEVER)
