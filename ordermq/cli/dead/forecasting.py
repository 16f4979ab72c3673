"""What dead letters will do outside if they are replayed, by the modules that know."""

from collections.abc import Iterator

from ordermq.cli.bulk import commit
from ordermq.cli.program import Program
from ordermq.store import Session, StoreTransaction, dead_letters
from ordermq.store.dead_letters import DeadLetter, Filter
from ordermq.task.forecast import Forecast, PlannedMessage

_BATCH = 100


def forecast_of(program: Program, session: Session, chosen: Filter, *, last: int, most: int) -> str:
    """Return one sentence about the chosen letters that are open, up to number ``last``. Changes nothing.

    "" if no module can tell.
    """
    hooks = [each.load("forecast") for each in program.modules if each.forecast]
    if not hooks:
        return ""
    forecast, letters = Forecast(), 0
    for some in _letters(session, chosen, last=last, most=most):
        messages = [
            PlannedMessage(each.type, each.correlation_id, each.body) for each in some if each.is_open
        ]
        letters += len(messages)
        with session.transaction(dry_run=True) as tx:
            for hook in hooks:
                forecast.add(hook(tx, program.loaded, messages))
    return f"{letters:,} dead letters: {', '.join(forecast.parts) or 'nothing outside'}"


def _letters(session: Session, chosen: Filter, *, last: int, most: int) -> Iterator[list[DeadLetter]]:
    after = 0
    while most > 0:

        def take(
            tx: StoreTransaction, after: int = after, limit: int = min(_BATCH, most)
        ) -> list[DeadLetter]:
            return dead_letters.take(tx, chosen, after=after, last=last, limit=limit)

        some = commit(session, take, dry_run=True)
        if not some:
            return
        yield some
        after, most = some[-1].dead_letter_id, most - len(some)
