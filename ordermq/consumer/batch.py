"""Handle messages together, and find the culprit when that fails.

    all Done              commit
    some not Done         roll back; settle those by themselves; run the rest once more
    deadlock and the like run the same messages once or twice more at once
    any other exception   halve until the culprit is alone; its outcome by the retry policy

Invariants
    BAT1  Every message ends settled exactly once, or the call raises one of CANNOT_ANSWER, or
        Contention if a lock kept it from settling, and may be repeated with the same messages.
    BAT2  A failing message costs its neighbours a rollback, never an attempt.
"""

from collections.abc import Callable, Sequence
from itertools import count
from typing import TypeVar

from ordermq.consumer.received import Readable
from ordermq.consumer.settle import CANNOT_ANSWER, NotAllDone, Settler
from ordermq.errors import Contention
from ordermq.task.outcome import DONE

T = TypeVar("T")


def run_batch(settler: Settler, messages: Sequence[Readable]) -> None:
    """Handle and settle ``messages``, all of one plain handler. Raises only what BAT1 names."""
    pending, contentions = list(messages), 0
    while pending:
        try:
            settler.run(pending)
            return
        except NotAllDone as exc:
            refused = [(message, outcome) for message, outcome in exc.outcomes if outcome != DONE]
            settler.settle(refused)
            gone = {id(message) for message, _ in refused}
            pending, contentions = [each for each in pending if id(each) not in gone], 0
        except CANNOT_ANSWER:
            raise
        except BaseException as exc:  # a handler's sys.exit() is its failure, not this thread's end
            if isinstance(exc, Contention) and contentions < settler.policy_of(pending[0]).immediate:
                contentions += 1
                continue
            if len(pending) == 1:
                settler.settle_failed(pending[0], exc)
                return
            middle = len(pending) // 2
            run_batch(settler, pending[:middle])
            pending, contentions = pending[middle:], 0


def run_by_halves(
    step: Callable[[Sequence[T]], None],
    items: Sequence[T],
    *,
    immediate: Callable[[T], int],
    settle_failed: Callable[[T, BaseException], None],
) -> None:
    """Run ``step``, which settles all of ``items`` or raises; halve them until the culprit is alone.

    ``settle_failed`` settles the culprit. ``immediate`` is how often a step that met a lock is
    run again at once. Raises only what BAT1 names.
    """
    if not items:
        return
    for contentions in count():
        try:
            step(items)
            return
        except CANNOT_ANSWER:
            raise
        except BaseException as exc:  # sys.exit() too, as above
            if isinstance(exc, Contention) and contentions < immediate(items[0]):
                continue
            if len(items) == 1:
                settle_failed(items[0], exc)
                return
            break
    middle = len(items) // 2
    for half in (items[:middle], items[middle:]):
        run_by_halves(step, half, immediate=immediate, settle_failed=settle_failed)
