"""How many calls are prepared ahead of the threads that make them, and which of them a stop leaves unmade."""

import math
import threading
import time
from dataclasses import replace
from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ordermq.clock import monotonic_s
from ordermq.consumer.breaker import Breaker
from ordermq.consumer.calls import AHEAD_S, Call, CallPool, make_call
from ordermq.consumer.pause import Pause
from ordermq.consumer.received import Readable
from ordermq.consumer.running import RunningHandlers
from ordermq.errors import NotCalled
from ordermq.message.envelope import Envelope
from ordermq.message.payload import Payload
from ordermq.task.handler import Handler


@pytest.fixture
def callers():
    made = []

    def make(threads, call_s, in_flight=0):
        one = CallPool(threads, "test", lambda: None, running=None)
        one._call_s, one._in_flight = call_s, in_flight
        made.append(one)
        return one

    yield make
    for each in made:
        each.stop()


def test_of_slow_calls_one_waits_for_each_thread(callers):
    assert callers(8, call_s=2.0).room(64) == 16


def test_of_calls_never_made_yet_one_waits_for_each_thread(callers):
    assert callers(8, call_s=math.inf).room(64) == 16


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
    callers = CallPool(threads, "test", lambda: None, running=None)
    callers._call_s, callers._in_flight = call_s, made
    try:
        room = callers.room(most)
    finally:
        callers.stop()
    assert room + made <= max(most, 2 * threads) or room == 0
    assert room > 0 or made >= threads
    assert threading.active_count() < 50


class Probe(Payload):
    order_id: str


class Service:
    """Answers at once until it is told to be slow, and then when it is told to."""

    def __init__(self):
        self.answers = threading.Event()
        self.requests = []

    def call(self, request):
        self.requests.append(request)
        if request == "slow":
            self.answers.wait(10.0)
        return request


@pytest.fixture
def calls():
    breaker, service = Breaker("service", Pause("q"), failures=5, cap_s=1.0), Service()
    handler = Handler("q", Probe, None, is_external=True)

    def make(*requests):
        messages = [
            Readable(
                Envelope(f"m{n}", "Probe", 1, "", "", datetime.now(UTC)), b"", 1, (n,), False, handler, None
            )
            for n in range(len(requests))
        ]
        return service, [
            Call(message, None, service, breaker, request, start_by_s=math.inf)
            for message, request in zip(messages, requests, strict=True)
        ]

    return make


def finished(callers, count):
    ended = []
    while len(ended) < count:
        ended += callers.finished(wait_s=10.0)
    return [each.result for each in ended]


def test_of_what_is_prepared_at_a_stop_a_service_grown_slow_is_not_called_for_what_waits(calls):
    """EXT1: no call starts later than AHEAD_S after the stop."""
    callers = CallPool(1, "test", lambda: None, RunningHandlers())
    service, prepared = calls("slow", "next", "last")
    callers.submit(prepared)

    callers.stop_soon()
    time.sleep(AHEAD_S / 2)
    callers.stop_soon()  # does not put it off
    time.sleep(AHEAD_S / 2)
    service.answers.set()

    first, *others = finished(callers, 3)
    callers.stop()
    assert first == "slow"
    assert [type(each) for each in others] == [NotCalled, NotCalled]


def test_what_is_prepared_at_a_stop_is_called_if_calls_are_fast(calls):
    callers = CallPool(2, "test", lambda: None, RunningHandlers())
    callers.stop_soon()
    callers.submit(calls(*["fast"] * 20)[1])

    assert finished(callers, 20) == ["fast"] * 20
    callers.stop()


def test_a_call_whose_turn_comes_after_half_its_lease_is_not_made(calls):
    """EXT1: the other half of the lease is for the call and for writing its result."""
    service, [call] = calls("late")
    ended = make_call(replace(call, start_by_s=monotonic_s()), RunningHandlers())
    assert isinstance(ended.result, NotCalled)
    assert ended.took_s is None
    assert service.requests == []
