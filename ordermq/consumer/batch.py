"""Handle a batch of a plain handler, and find the culprit when it fails.

    all Done              commit
    some not Done         roll back; settle those by themselves; run the rest once more
    deadlock and the like run the same batch once or twice more at once
    any other exception   halve until the culprit is alone; its outcome by the retry policy

Invariants
    BAT1  Every work ends settled exactly once, or the call raises one of CANNOT_ANSWER, or
        Contention if a lock kept it from settling, and may be repeated with the same works.
    BAT2  A failing message costs its neighbours a rollback, never an attempt.
"""

from collections.abc import Sequence

from ordermq.consumer.received import Work
from ordermq.consumer.settle import CANNOT_ANSWER, NotAllDone, Settler
from ordermq.errors import Contention
from ordermq.task.outcome import DONE


def run_batch(settler: Settler, works: Sequence[Work]) -> None:
    """Handle and settle ``works``, all of one plain handler. Raises what BAT1 says only."""
    pending = list(works)
    contentions, immediate = 0, settler.policy_of(works[0].handler).immediate
    while pending:
        try:
            settler.run(pending)
            return
        except NotAllDone as exc:
            refused = [(work, outcome) for work, outcome in exc.decided if outcome != DONE]
            settler.settle(refused)
            gone = {id(work) for work, _ in refused}
            pending, contentions = [work for work in pending if id(work) not in gone], 0
        except CANNOT_ANSWER:
            raise
        except BaseException as exc:  # a handler's sys.exit() is its failure, not this thread's end
            if isinstance(exc, Contention) and contentions < immediate:
                contentions += 1
                continue
            if len(pending) == 1:
                settler.settle_failed(pending[0], exc)
                return
            middle = len(pending) // 2
            run_batch(settler, pending[:middle])
            pending, contentions = pending[middle:], 0
