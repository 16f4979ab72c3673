"""What happens often has few lines, and none is forgotten."""

from hypothesis import given
from hypothesis import strategies as st

from ordermq.observe.sampling import BURST, LineBudget


class Time:
    def __init__(self):
        self.now_s = 0.0

    def __call__(self):
        return self.now_s


def test_ten_lines_at_once_then_so_many_a_second():
    time = Time()
    budget = LineBudget(2.0, now=time)
    assert [budget.take(1) for _ in range(BURST)] == [(1, 0)] * BURST
    assert budget.take(5) == (0, 0)
    time.now_s += 0.5
    assert budget.take(3) == (1, 5)
    time.now_s += 3600
    assert budget.take(100) == (BURST, 2)


def test_no_lines_are_none():
    assert LineBudget(0.0).take(3) == (0, 0)


@given(st.lists(st.tuples(st.integers(0, 30), st.floats(0, 5))), st.floats(0.1, 20))
def test_each_event_has_a_line_or_is_counted_by_one_that_follows(events, per_s):
    """SMP1."""
    time = Time()
    budget = LineBudget(per_s, now=time)
    lines = unsaid = 0
    for count, passed_s in events:
        time.now_s += passed_s
        taken = budget.take(count)
        lines += taken[0]
        unsaid += taken[1]
    assert lines <= BURST + per_s * time.now_s + 1
    time.now_s += 100.0
    last, rest = budget.take(1)
    assert last == 1
    assert lines + unsaid + rest == sum(count for count, _ in events)
