"""The connection's states and moves."""

import pytest

from ordermq.amqp.state import NEXT, ConnectionState, move


def test_closed_is_final_and_reachable_from_every_other_state():
    assert NEXT[ConnectionState.CLOSED] == set()
    assert all(
        ConnectionState.CLOSED in NEXT[state]
        for state in ConnectionState
        if state is not ConnectionState.CLOSED
    )


def test_only_an_open_connection_can_be_blocked():
    assert [state for state in ConnectionState if ConnectionState.BLOCKED in NEXT[state]] == [
        ConnectionState.OPEN
    ]


def test_a_move_the_table_lacks_is_a_bug():
    with pytest.raises(AssertionError, match="from new to open"):
        move(ConnectionState.NEW, ConnectionState.OPEN)
