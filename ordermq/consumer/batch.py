"""Handle messages together, and find the culprit when that fails.

    all Done              commit
    some not Done         roll back; settle those by themselves; run the rest once more
    deadlock and the like run the same messages once or twice more at once
    any other exception   halve until the culprit is alone; its outcome by the retry policy
    the server's trouble  pause, unless the neighbours say that one message is at fault (``neighbours``)

Invariants
    BAT1  Every message ends settled exactly once, or the call raises one of CANNOT_ANSWER, or
        Contention if a lock kept it from settling, and may be repeated with the same messages.
    BAT2  A failing message costs its neighbours a rollback, never an attempt.
"""

from collections.abc import Callable, Sequence
from itertools import count
from typing import TypeVar

from ordermq.consumer.neighbours import Neighbours
from ordermq.consumer.received import Readable
from ordermq.consumer.settle import CANNOT_ANSWER, NotAllDone, Settler
from ordermq.errors import Contention
from ordermq.task.outcome import DONE, Outcome

T = TypeVar("T")


def run_batch(settler: Settler, messages: list[Readable]) -> None:
    """Handle and settle ``messages``, all of one plain handler. Raises only what BAT1 names.

    What is settled leaves ``messages``, so the same call goes on with the others.
    """
    for part in settler.neighbours.apart(messages):
        _run_part(settler, part, messages)


def _run_part(settler: Settler, part: Sequence[Readable], left: list[Readable]) -> None:
    pending, contentions = list(part), 0
    while pending:
        try:
            settler.neighbours.done(settler.run(pending))
            _leave(left, pending)
            return
        except NotAllDone as exc:
            refused = [(message, outcome) for message, outcome in exc.outcomes if outcome != DONE]
            settler.settle(refused)
            _leave(left, [message for message, _ in refused])
            gone = {id(message) for message, _ in refused}
            pending, contentions = [each for each in pending if id(each) not in gone], 0
        except CANNOT_ANSWER as exc:
            settler.settle_failed(pending[0], exc, outcome=settler.neighbours.judge(pending, exc))
            _leave(left, pending)
            return
        except BaseException as exc:  # a handler's sys.exit() is its failure, not this thread's end
            if isinstance(exc, Contention) and contentions < settler.policy_of(pending[0]).immediate:
                contentions += 1
                continue
            if len(pending) == 1:
                settler.settle_failed(pending[0], exc)
                _leave(left, pending)
                return
            middle = len(pending) // 2
            _run_part(settler, pending[:middle], left)
            pending, contentions = pending[middle:], 0


def _leave(left: list[Readable], settled: Sequence[Readable]) -> None:
    gone = {id(each) for each in settled}
    left[:] = [each for each in left if id(each) not in gone]


def run_by_halves(
    step: Callable[[Sequence[T]], None],
    items: Sequence[T],
    *,
    neighbours: Neighbours,
    message_of: Callable[[T], Readable],
    immediate: Callable[[Readable], int],
    settle_failed: Callable[[T, BaseException, Outcome | None], None],
) -> None:
    """Run ``step``, which settles all of ``items`` or raises; halve them until the culprit is alone.

    ``settle_failed`` settles the culprit, by the outcome that the neighbours say if there is one.
    ``immediate`` is how often a step that met a lock is run again at once. ``neighbours`` are those
    of this step alone. Raises only what BAT1 names.
    """

    def run(some: Sequence[T]) -> None:
        messages = [message_of(each) for each in some]
        for contentions in count():
            try:
                step(some)
                neighbours.done(messages)
                return
            except CANNOT_ANSWER as exc:
                settle_failed(some[0], exc, neighbours.judge(messages, exc))
                return
            except BaseException as exc:  # sys.exit() too, as above
                if isinstance(exc, Contention) and contentions < immediate(messages[0]):
                    continue
                if len(some) == 1:
                    settle_failed(some[0], exc, None)
                    return
                break
        middle = len(some) // 2
        run(some[:middle])
        run(some[middle:])

    by_id = {message_of(each).message_id: each for each in items}
    for part in neighbours.apart([message_of(each) for each in items]):
        run([by_id[each.message_id] for each in part])
