"""The breaker: the table and the invariants of its module."""

import threading
from itertools import pairwise
from random import Random
from uuid import uuid4

import pytest

from ordermq.clock import monotonic_s
from ordermq.consumer.breaker import MOST_FAILED, Breaker, Breakers, Circuit, CircuitState
from ordermq.consumer.pause import DATABASE, DISK_FULL, Cause, Pause
from ordermq.errors import GatewayRefused, GatewayUnavailable, OutcomeUnknown
from ordermq.observe.metrics import REGISTRY
from ordermq.testing import wait_until

NEXT = {
    CircuitState.CLOSED: {CircuitState.OPEN},
    CircuitState.OPEN: {CircuitState.HALF_OPEN},
    CircuitState.HALF_OPEN: {CircuitState.CLOSED, CircuitState.OPEN},
}
DOWN = GatewayUnavailable("cannot connect")


class Time:
    now_s = 100.0

    def __call__(self):
        return self.now_s


@pytest.fixture
def time():
    return Time()


@pytest.fixture
def pause():
    return Pause("q")


@pytest.fixture
def breaker(time, pause):
    return Breaker("bank", pause, failures=3, cap_s=30.0, now=time)


def call(breaker, result, message_id=None):
    """Make the call of a message: by default one that was not seen before."""
    permit = breaker.permit()
    assert permit is not None
    breaker.ended(permit, message_id or uuid4().hex, result)


def opened(breaker, message_id=None):
    for _ in range(3):
        call(breaker, DOWN, message_id)
    assert not breaker.is_closed


def wait_for_probe(breaker, time):
    """Let time go by until a call is permitted; return the seconds it took."""
    begun_s = time.now_s
    while not breaker.may_call:
        time.now_s += 0.25
    return time.now_s - begun_s


def paused():
    return REGISTRY.get_sample_value("ordermq_paused", {"queue": "q", "reason": "bank gateway"})


def test_failures_in_a_row_open_it_and_any_answer_between_them_starts_anew(breaker):
    for result in (
        DOWN,
        OutcomeUnknown("x"),
        GatewayRefused("no"),
        DOWN,
        DOWN,
        "paid",
        DOWN,
        OutcomeUnknown("x"),
    ):
        call(breaker, result)
    assert breaker.is_closed
    call(breaker, DOWN)
    assert not breaker.is_closed
    assert breaker.permit() is None


def test_after_its_backoff_it_permits_one_probe_and_no_second(breaker, time):
    """BRK1: one call at a time while it is not closed, none before the backoff has passed."""
    opened(breaker)
    time.now_s += 1.0  # the first ceiling
    probe = breaker.permit()
    assert probe is not None
    assert breaker.permit() is None
    breaker.ended(probe, "m", "paid")
    assert breaker.is_closed
    assert breaker.permit() is not None


def test_a_probe_that_fails_opens_it_again_for_longer_up_to_the_cap(breaker, time):
    opened(breaker)
    waits_s = []
    for _ in range(200):
        waits_s.append(wait_for_probe(breaker, time))
        call(breaker, DOWN)
    assert waits_s[0] <= 1.25
    assert 20.0 < max(waits_s) <= 30.25


def test_one_message_that_fails_for_ever_keeps_the_others_waiting_no_longer_than_at_first(breaker, time):
    """BRK4: a message that fails again lengthens no backoff."""
    never = GatewayUnavailable("try again later", 25.0)
    for _ in range(200):
        if breaker.may_call:
            call(breaker, never, "poison")
        assert wait_for_probe(breaker, time) <= 1.25


def test_a_few_that_fail_by_turns_lengthen_the_backoff_once_each(breaker, time):
    opened(breaker, "first")
    for _ in range(200):
        assert wait_for_probe(breaker, time) <= 2.25
        call(breaker, DOWN, "second")
        assert wait_for_probe(breaker, time) <= 2.25
        call(breaker, DOWN, "first")
    # An answer, and all is forgotten.
    wait_for_probe(breaker, time)
    call(breaker, "paid", "third")
    opened(breaker)
    assert wait_for_probe(breaker, time) <= 1.25


def test_it_remembers_so_many_messages_and_what_is_beyond_counts_as_new():
    circuit = Circuit()
    for number in range(2 * MOST_FAILED):
        circuit = circuit.ended(circuit.era, f"m-{number}", True, limit=1, probe_at_s=0.0).called()
    assert len(circuit.failed) == MOST_FAILED
    assert circuit.openings == 2 * MOST_FAILED


def test_a_service_that_asks_to_be_left_alone_is_up_to_the_cap(time, pause):
    breaker = Breaker("bank", pause, failures=1, cap_s=30.0, now=time)
    call(breaker, GatewayUnavailable("busy", 20.0))
    time.now_s += 19.9
    assert breaker.permit() is None
    time.now_s += 0.2
    call(breaker, GatewayUnavailable("busy", 3600.0))
    time.now_s += 30.1
    assert breaker.permit() is not None


def test_what_was_under_way_when_it_opened_neither_closes_nor_opens_it(breaker, time):
    """BRK2: a call counts only in the state in which it was permitted."""
    late = [breaker.permit() for _ in range(2)]
    opened(breaker)
    breaker.ended(late[0], "l-0", "paid")
    assert not breaker.is_closed
    time.now_s += 1.0
    probe = breaker.permit()
    breaker.ended(late[1], "l-1", DOWN)
    breaker.ended(probe, "m", "paid")
    assert breaker.is_closed


def test_the_process_is_paused_from_opening_to_closing(breaker, pause, time):
    """BRK3."""
    assert not pause.why
    opened(breaker)
    assert pause.why == "the bank gateway answers"
    assert paused() == 1
    time.now_s += 1.0
    call(breaker, DOWN)
    assert pause.lasted_s > 0
    time.now_s += 2.0
    call(breaker, "paid")
    assert not pause.why
    assert pause.lasted_s == 0
    assert paused() == 0


def test_a_pause_wants_a_message_once_every_cause_can_be_tried(pause):
    past_s = monotonic_s() - 1.0
    pause.begin("bank", Cause("bank", "the bank answers"), "x", until_s=past_s)
    assert pause.may_try
    pause.begin("worker", DATABASE, "x")
    assert not pause.may_try
    assert pause.why == "the bank answers and the database answers"
    pause.end("worker", DATABASE, DISK_FULL)
    assert pause.may_try
    assert pause.why == "the bank answers"


def test_a_queue_has_room_for_nothing_while_open_then_for_one_probe(pause):
    """EXT5: while a breaker is not closed, one message at a time is taken."""
    breakers = Breakers(["bank", "post"], pause, failures=1, cap_s=0.001)
    assert breakers.room(8, 0) == 8
    call(breakers.of("bank"), DOWN)
    wait_until(lambda: breakers.room(8, 0) == 1, 5.0, what="the backoff to pass")
    assert breakers.room(8, 1) == 0
    probe = breakers.of("bank").permit()
    assert breakers.room(8, 0) == 0
    breakers.of("bank").ended(probe, "m", "paid")
    assert breakers.room(8, 3) == 8


def test_threads_together_get_one_probe(breaker, time):
    opened(breaker)
    time.now_s += 1.0
    gate, permits = threading.Barrier(8), []

    def ask():
        gate.wait()
        permits.append(breaker.permit())

    threads = [threading.Thread(target=ask) for _ in range(8)]
    for each in threads:
        each.start()
    for each in threads:
        each.join()
    assert sum(permit is not None for permit in permits) == 1


@pytest.mark.parametrize("seed", range(100))
def test_whatever_happens_it_moves_as_the_table_says_and_permits_one_call_unless_closed(seed):
    random, now_s = Random(seed), 0.0
    circuit, under_way, seen = Circuit(), [], [CircuitState.CLOSED]
    for _ in range(300):
        if under_way and random.random() < 0.5:
            era = under_way.pop(random.randrange(len(under_way)))
            has_failed, message_id = random.random() < 0.7, str(random.randrange(4))
            probe_at_s = now_s + random.random()
            circuit = circuit.ended(era, message_id, has_failed, limit=3, probe_at_s=probe_at_s)
        elif circuit.may_call(now_s):
            circuit = circuit.called()
            under_way.append(circuit.era)
        else:
            now_s += random.random()
        seen.append(circuit.state)
        if circuit.state is not CircuitState.CLOSED:
            assert sum(era == circuit.era for era in under_way) == (circuit.state is CircuitState.HALF_OPEN)
    for before, after in pairwise(seen):
        assert after is before or after in NEXT[before]
