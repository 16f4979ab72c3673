"""Waker: never blocks, coalesces, loses no wake (WAK1-WAK3)."""

import select
import threading
from collections import deque

from ordermq.amqp.waker import Waker


def is_readable(waker, timeout_s=0.0):
    return bool(select.select([waker.fileno()], [], [], timeout_s)[0])


def test_a_wake_is_seen_once_and_cleared():
    """WAK2: many wakes are one."""
    waker = Waker()
    assert not is_readable(waker)

    for _ in range(100_000):  # many more than a socket buffer holds
        waker.wake()

    assert is_readable(waker)
    waker.clear()
    assert not is_readable(waker)
    waker.close()


def test_no_work_announced_before_a_wake_is_ever_left_lying():
    waker, work, done = Waker(), deque(), []

    def produce():
        for n in range(2000):
            work.append(n)
            waker.wake()

    producers = [threading.Thread(target=produce) for _ in range(4)]
    for producer in producers:
        producer.start()
    while len(done) < 8000:
        assert is_readable(waker, 5.0), f"{len(work)} pieces of work and nobody woke"
        waker.clear()
        while work:
            done.append(work.popleft())
    for producer in producers:
        producer.join()
    waker.close()


def test_a_wake_after_closing_is_harmless():
    waker = Waker()
    waker.close()
    waker.wake()
