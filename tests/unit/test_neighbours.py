"""Whether the server or one message is at fault (NEI1, NEI2)."""

from dataclasses import dataclass
from types import SimpleNamespace

import pytest

from ordermq.consumer import neighbours as module
from ordermq.consumer.neighbours import GIVE_WAY_S, MANY, Neighbours
from ordermq.errors import DiskFull, ReadOnlyServer, SessionLost, StoreRefused, StoreUnavailable
from ordermq.task.outcome import Postpone, Retry

DAMAGED = StoreUnavailable("index is damaged [XX002]", "XX002")


@dataclass(frozen=True)
class Sent:
    message_id: str
    type: str = "Reserve"

    @property
    def handler(self):
        return SimpleNamespace(type=self.type)


A, B, C = Sent("a"), Sent("b"), Sent("c")


class Clock:
    now_s = 100.0

    def __call__(self):
        self.now_s += 0.001
        return self.now_s


@pytest.fixture
def clock(monkeypatch):
    clock = Clock()
    monkeypatch.setattr(module, "monotonic_s", clock)
    return clock


def test_what_failed_together_is_next_run_alone_and_the_last_to_fail_comes_last(clock):
    """NEI1: a message is not blamed for its neighbour."""
    neighbours = Neighbours()
    assert neighbours.apart([A, B, C]) == [[A, B, C]]
    with pytest.raises(StoreUnavailable):
        neighbours.judge([A, B], DAMAGED)
    assert neighbours.apart([A, B, C]) == [[C], [A], [B]]
    with pytest.raises(StoreUnavailable):
        neighbours.judge([A], DAMAGED)
    assert neighbours.apart([A, B, C]) == [[C], [B], [A]]
    neighbours.done([A])
    neighbours.done([B])
    assert neighbours.apart([A, B, C]) == [[A, B, C]]


def test_a_message_is_at_fault_only_after_a_neighbour_of_its_handler_was_done_since_it_failed(clock):
    neighbours = Neighbours()
    neighbours.done([B])
    with pytest.raises(StoreUnavailable):
        neighbours.judge([A], DAMAGED)
    neighbours.done([Sent("d", "Ship")])
    with pytest.raises(StoreUnavailable):
        neighbours.judge([A], DAMAGED)
    neighbours.done([B])
    assert isinstance(neighbours.judge([A], DAMAGED), Retry)
    for n in range(MANY):
        with pytest.raises(StoreUnavailable):
            neighbours.judge([Sent(str(n))], DAMAGED)
    with pytest.raises(StoreUnavailable):  # they all fail now
        neighbours.judge([A], DAMAGED)


def test_a_message_that_fails_for_long_gives_way_and_then_has_as_long_again(clock):
    neighbours = Neighbours()
    for _ in range(2):
        with pytest.raises(StoreUnavailable):
            neighbours.judge([A], DAMAGED)
        clock.now_s += GIVE_WAY_S
        assert isinstance(neighbours.judge([A], DAMAGED), Postpone)


@pytest.mark.parametrize(
    "error", [StoreUnavailable("not reachable"), StoreRefused("no such user"), DiskFull("full", "53100"),
              ReadOnlyServer("a standby", "25006")],
)  # fmt: skip
def test_an_error_that_says_nothing_about_a_message_always_pauses(clock, error):
    """NEI2: a neighbour may have met another connection, or free space."""
    neighbours = Neighbours()
    for _ in range(3):
        with pytest.raises(type(error)):
            neighbours.judge([A], error)
        neighbours.done([B])
        clock.now_s += GIVE_WAY_S


def test_a_session_that_ended_counts_as_the_server_s_answer(clock):
    neighbours = Neighbours()
    with pytest.raises(SessionLost):
        neighbours.judge([A], SessionLost("ended"))
    neighbours.done([B])
    assert isinstance(neighbours.judge([A], SessionLost("ended")), Retry)


def test_no_more_than_so_many_messages_are_remembered(clock):
    neighbours = Neighbours()
    many = [Sent(str(n)) for n in range(3000)]
    with pytest.raises(StoreUnavailable):
        neighbours.judge(many, DAMAGED)
    assert len(neighbours.apart(many)) == 1001
