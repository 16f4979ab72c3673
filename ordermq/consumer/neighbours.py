"""Whether a message or the server is at fault when the server itself has trouble.

A damaged index, a file that is gone, a session that the server ended: as a rule no message is at fault,
and its work pauses, uncounted. But one message may be what the server cannot bear. It is found by its
neighbours, which are the messages of the same handler:

    it failed, a neighbour was done, it fails again    a failure of the message: counted
    it has failed for GIVE_WAY_S without that          postponed, uncounted: it gives way to its neighbours
    otherwise                                          the work pauses

Once MANY other messages began to fail since the last that was done, it is the server again. A lonely
message is never blamed: it waits, and gives way, until it is too old for its retry policy.

What follows from a dead letter (``on_dead``, ``on_unreadable``) is judged in the same way, among
messages of its own, and done are those that were handled. If it is at fault the letter is kept without
it and a person is asked, as for every other fault of it. A message that no handler can read cannot be
postponed: its letter is kept without what follows when it would have to give way.

Invariants
    NEI1  A message that failed is next run alone, after those that failed before it: so it is not
        blamed for a neighbour, nor a neighbour for it.
    NEI2  A connection that could not be opened, a full disk and a server that takes no writes say
        nothing about a message, because a neighbour may have met another connection, or free space.
"""

import math
import threading
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

from ordermq.clock import monotonic_s
from ordermq.consumer.received import Message, Readable, Unreadable
from ordermq.errors import DiskFull, ReadOnlyServer, SessionLost, StoreError
from ordermq.task.outcome import Postpone, Retry
from ordermq.task.retry import describe

GIVE_WAY_S = 10.0  # a message that fails for this long is sent again this much later
MANY = 5
_MOST = 1000  # messages remembered


@dataclass(slots=True)
class _Failing:
    first_s: float
    since_s: float  # since it failed first, or last gave way
    last_s: float


class Neighbours:
    """Which messages fail by trouble of the server, and which handlers' messages are done. Thread-safe."""

    def __init__(self) -> None:
        self._failing: dict[str, _Failing] = {}  # by message_id
        self._done_s: dict[str, float] = {}  # by message type: when the last one was done
        self._failed: Counter[str] = Counter()  # by message type: how many began to fail since then
        self._lock = threading.Lock()

    def apart(self, messages: Sequence[Readable]) -> list[list[Readable]]:
        """Return ``messages`` in the parts to be run: together, but for each that failed before (NEI1)."""
        if not self._failing:
            return [list(messages)]
        with self._lock:
            failed = {
                each.message_id: self._failing[each.message_id].last_s
                for each in messages
                if each.message_id in self._failing
            }
        together = [each for each in messages if each.message_id not in failed]
        alone = sorted(
            (each for each in messages if each.message_id in failed), key=lambda each: failed[each.message_id]
        )
        return [*([together] if together else []), *([each] for each in alone)]

    def done(self, messages: Sequence[Readable]) -> None:
        """Note that ``messages`` were handled and committed."""
        now_s, types = monotonic_s(), {each.handler.type for each in messages}
        with self._lock:
            for each in types:
                self._done_s[each], self._failed[each] = now_s, 0
            if self._failing:
                for message in messages:
                    self._failing.pop(message.message_id, None)

    def judge(self, messages: Sequence[Message], error: StoreError) -> Retry | Postpone:
        """Note that ``messages`` failed together by ``error``; return what becomes of one that failed alone.

        Raises ``error`` if the work is to pause.
        """
        may_be_theirs = isinstance(error, SessionLost) or error.sqlstate
        if not may_be_theirs or isinstance(error, DiskFull | ReadOnlyServer):
            raise error
        now_s = monotonic_s()
        with self._lock:
            for each in messages:
                self._failed[_type(each)] += each.message_id not in self._failing
                failing = self._failing.setdefault(each.message_id, _Failing(now_s, now_s, now_s))
                failing.last_s, failing.since_s = now_s, min(failing.since_s, now_s)
            while len(self._failing) > _MOST:
                del self._failing[next(iter(self._failing))]
            if len(messages) > 1:
                raise error
            [message] = messages
            failing = self._failing[message.message_id]
            done_s, others = self._done_s.get(_type(message), 0.0), self._failed[_type(message)]
            if done_s > failing.first_s and others < MANY:
                return Retry(describe(error))
            if now_s - failing.since_s < GIVE_WAY_S:
                raise error
            failing.since_s = math.inf  # until it fails again
            return Postpone(describe(error), GIVE_WAY_S)


def _type(message: Message) -> str:
    return "" if isinstance(message, Unreadable) else message.handler.type
