"""Write down that maintenance ran, for the metric and the alert that say when it ran last."""

import logging

from ordermq.errors import StoreError
from ordermq.log_events import RUN_UNNOTED
from ordermq.store import Session
from ordermq.store.runs import note_run

log = logging.getLogger(__name__)


def note_runs(session: Session, *tasks: str) -> None:
    """Note that ``tasks`` ended now. A role that may not write it, or a lost database, is logged."""
    try:
        with session.transaction() as tx:
            for task in tasks:
                note_run(tx, task)
    except StoreError as exc:
        log.warning("cannot write down that %s ran: %s", tasks[0], exc, extra=RUN_UNNOTED)
