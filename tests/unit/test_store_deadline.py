"""Guards: a socket past its deadline is shut down, and no other."""

import os
import socket

import pytest

from ordermq.clock import monotonic_s
from ordermq.store.deadline import Guard

FAR_S = 3600.0


@pytest.fixture
def pair():
    ours, peer = socket.socketpair()
    peer.setblocking(False)
    yield ours, peer
    ours.close()
    peer.close()


def is_shut_down(peer):
    try:
        return peer.recv(1) == b""
    except BlockingIOError:
        return False


def test_a_socket_is_shut_down_past_its_deadline_and_never_while_no_call_is_under_way(pair):
    """DLN1: only while the guard is armed and past its instant."""
    ours, peer = pair
    guard = Guard(ours.fileno())
    guard.expire(monotonic_s() + FAR_S)
    with guard.within(FAR_S):
        guard.expire(monotonic_s())
    guard.expire(monotonic_s() + 2 * FAR_S)
    assert not is_shut_down(peer)
    with guard.within(FAR_S):
        guard.expire(monotonic_s() + 2 * FAR_S)
    assert is_shut_down(peer)
    guard.close()


def test_a_descriptor_that_was_given_to_another_socket_is_not_the_one_that_is_shut_down(pair):
    """DLN2: the watchdog holds its own duplicate of the descriptor."""
    ours, peer = pair
    number = ours.fileno()
    guard = Guard(number)
    other, other_peer = socket.socketpair()
    other_peer.setblocking(False)
    os.dup2(other.fileno(), number)  # closes ours, whose number is the other's now
    with guard.within(FAR_S):
        guard.expire(monotonic_s() + 2 * FAR_S)
    assert is_shut_down(peer)
    assert not is_shut_down(other_peer)
    guard.close()
    other.close()
    other_peer.close()
