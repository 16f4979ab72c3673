"""Messages that came back: one of them may be what killed the process before.

What a delivery's redelivered flag says is all that every kind of queue of every broker
says, and it is said of hundreds of innocents at each lost connection. So:

    came back, never begun since      begun together with the others, after a committed start
    came back, begun without an end   begun alone in its process, after a committed start
    begun three times without an end  a dead letter
    begun six times                   its own decoding or on_dead kills: a dead letter, unread
    begun nine times                  an on_unreadable kills: a dead letter from which nothing follows

A start is forgotten by the transaction that settles the message.

Invariants
    STA1  A start is committed before anything of the message but its properties is read.
    STA2  While a message runs alone no other does in this process: whoever dies then is it.
"""

import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

from ordermq.consumer.received import Work
from ordermq.consumer.settle import Settler
from ordermq.store import starts
from ordermq.store.starts import MAX_STARTS, NEVER, Started


class SharedExclusiveLock:
    """Shared by those who run together, held by one who runs alone. Thread-safe.

    Whoever waits to be alone is let in before those who come later.
    """

    def __init__(self) -> None:
        self._together = 0
        self._alone = 0  # those who are alone or wait to be
        self._is_alone = False
        self._changed = threading.Condition()

    @contextmanager
    def together(self) -> Iterator[None]:
        with self._changed:
            self._changed.wait_for(lambda: self._alone == 0)
            self._together += 1
        try:
            yield
        finally:
            with self._changed:
                self._together -= 1
                self._changed.notify_all()

    @contextmanager
    def alone(self) -> Iterator[None]:
        with self._changed:
            self._alone += 1
            self._changed.wait_for(lambda: self._together == 0 and not self._is_alone)
            self._is_alone = True
        try:
            yield
        finally:
            with self._changed:
                self._is_alone = False
                self._alone -= 1
                self._changed.notify_all()


def begin_together(settler: Settler, works: Sequence[Work]) -> None:
    """Commit a start of each; those that were begun before are told so in ``started`` and not begun."""
    with settler.session.transaction() as tx:
        before = starts.begin(tx, settler.queue, [work.envelope.message_id for work in works])
    for work in works:
        work.started = before.get(work.envelope.message_id, NEVER)


def begin_alone(settler: Settler, work: Work) -> None:
    """Commit one more start of ``work``; say why it is dead if too many never ended. May be called again."""
    now = work.started._replace(starts=work.started.starts + 1)
    with settler.session.transaction() as tx:
        starts.put(tx, settler.queue, {work.envelope.message_id: now})
    if work.started.starts >= 2 * MAX_STARTS:
        work.fault = f"{_verdict(work.started)}, and so does reading it or what follows from its death"
    elif work.started.starts >= MAX_STARTS:
        work.dead_reason = _verdict(work.started)


def _verdict(started: Started) -> str:
    if started.overdue:
        return f"started {started.starts} times and never ended: it ran past its deadline"
    return f"started {started.starts} times and never ended: it kills the process"
