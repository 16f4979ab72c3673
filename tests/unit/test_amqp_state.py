"""The connection's states and moves."""

import pytest

from ordermq.amqp.state import NEXT, State, move


def test_closed_is_final_and_reachable_from_every_other_state():
    assert NEXT[State.CLOSED] == set()
    assert all(State.CLOSED in NEXT[state] for state in State if state is not State.CLOSED)


def test_only_an_open_connection_can_be_blocked():
    assert [state for state in State if State.BLOCKED in NEXT[state]] == [State.OPEN]


def test_a_move_the_table_lacks_is_a_bug():
    with pytest.raises(AssertionError, match="from new to open"):
        move(State.NEW, State.OPEN)
