"""How many calls are prepared ahead of the threads that make them."""

import threading

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ordermq.consumer import external
from ordermq.consumer.external import AHEAD_S, Callers


@pytest.fixture
def callers():
    made = []

    def make(threads, call_s, in_flight=0):
        one = Callers(threads, "test", lambda: None, watch=None)
        one._call_s, one._in_flight = call_s, in_flight
        made.append(one)
        return one

    yield make
    for each in made:
        each.stop()


def test_of_slow_calls_one_waits_for_each_thread(callers):
    assert callers(8, call_s=2.0).room(64) == 16


def test_of_calls_never_made_yet_one_waits_for_each_thread(callers):
    assert callers(8, call_s=external.math.inf).room(64) == 16


def test_of_fast_calls_as_many_wait_as_a_batch_holds(callers):
    assert callers(8, call_s=0.001).room(64) == 64


def test_no_more_waits_than_will_be_called_soon(callers):
    assert callers(4, call_s=AHEAD_S / 3).room(64) == 4 + 12


def test_nothing_is_prepared_until_a_good_part_is_made(callers):
    assert callers(8, call_s=0.001, in_flight=33).room(64) == 0
    assert callers(8, call_s=0.001, in_flight=32).room(64) == 32
    assert callers(8, call_s=2.0, in_flight=13).room(64) == 0
    assert callers(8, call_s=2.0, in_flight=12).room(64) == 4


@given(
    threads=st.integers(1, 4),
    call_s=st.floats(1e-4, 100.0),
    most=st.integers(1, 200),
    made=st.integers(0, 400),
)
def test_there_is_room_once_a_thread_would_be_idle_and_never_beyond_the_limit(threads, call_s, most, made):
    callers = Callers(threads, "test", lambda: None, watch=None)
    callers._call_s, callers._in_flight = call_s, made
    try:
        room = callers.room(most)
    finally:
        callers.stop()
    assert room + made <= max(most, 2 * threads) or room == 0
    assert room > 0 or made >= threads
    assert threading.active_count() < 50
