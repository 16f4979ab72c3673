"""Processes that are started again when they end, with ``sleep`` in the place of a consumer."""

import signal
import threading

import pytest

from ordermq.config.environment import inherited
from ordermq.testing import wait_until
from ordermq.testing.stack.account import server_account
from ordermq.testing.stack.fleet import Member
from ordermq.testing.stack.place import Place


@pytest.fixture
def member():
    place = Place.temporary(server_account())
    member = Member(place, "sleeper", ["sleep", "60"], inherited())
    yield member
    member.stop()
    place.wipe()


def end(member):
    member.send(signal.SIGKILL)
    wait_until(lambda: member.pid is None, 10.0)


def test_a_process_is_started_again_only_between_start_and_stop(member):
    # FLT1
    member.keep_running()
    assert member.pid is None
    member.start()
    end(member)
    member.keep_running()
    assert member.pid is not None
    member.stop()
    member.keep_running()
    assert (member.pid, member.restarts) == (None, 1)


def test_only_ends_that_were_not_asked_for_are_kept(member):
    # FLT2
    member.start()
    end(member)
    member.keep_running()
    member.kill()
    member.keep_running()
    member.stop()
    assert member.ended == [-signal.SIGKILL]


def test_it_may_be_kept_running_from_another_thread_while_it_is_killed(member):
    # FLT3
    done = threading.Event()

    def keep_running():
        while not done.is_set():
            member.keep_running()

    member.start()
    thread = threading.Thread(target=keep_running)
    thread.start()
    try:
        for killed in range(1, 6):
            member.kill()
            wait_until(lambda killed=killed: member.restarts >= killed, 10.0)
    finally:
        done.set()
        thread.join(10.0)
    assert member.ended == []
    assert member.pid is not None
