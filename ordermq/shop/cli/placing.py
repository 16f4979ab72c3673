"""Placing many orders in batches. Bad orders are set aside, and outages of the database are waited out.

Invariants
    IMP1  in = accepted + duplicate + rejected, also when a batch had to be tried again.
    IMP2  A batch whose commit is unknown is placed again. Orders that were committed the
        first time are duplicates then, and no order is placed twice.
"""

import logging
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import partial
from random import Random
from time import sleep

from ordermq.backoff import Backoff
from ordermq.cli.bulk import Pace, batches, commit, taking
from ordermq.cli.progress import Progress
from ordermq.cli.records import Reject, beginning
from ordermq.cli.rejects import RejectsFile
from ordermq.clock import monotonic_s
from ordermq.errors import Contention, DataRefused, OrderConflict, StoreUnavailable
from ordermq.shop.intake import Entry
from ordermq.shop.intake.generate import json_line
from ordermq.shop.model import Order
from ordermq.shop.place import Placed, place_orders
from ordermq.store import Session

log = logging.getLogger(__name__)

BATCH = 200

Found = Entry | Reject


@dataclass
class Counts:
    """What became of the records read so far."""

    read: int = 0
    accepted: int = 0
    duplicate: int = 0
    rejected: int = 0
    line: int = 0


class Placer:
    """Places the orders that a reader found. ``counts`` is correct after each batch, also after an error."""

    def __init__(
        self, session: Session | None, *, rejects: RejectsFile, pace: Pace, retry_for_s: float
    ) -> None:
        """Without a session nothing is placed, and every order that could be read counts as accepted."""
        self.counts = Counts()
        self._session = session
        self._rejects = rejects
        self._pace = pace
        self._retry_for_s = retry_for_s
        self._backoff = Backoff(0.2, 5.0)
        self._random = Random()

    def place(self, found: Iterable[Found], progress: Progress) -> None:
        """Place every order. Raises StoreUnavailable once an outage has lasted ``retry_for_s``."""
        for batch in batches(taking(found), most=BATCH, pace=self._pace):
            self._take(batch)
            progress(self.counts.read)

    def _take(self, batch: Sequence[Found]) -> None:
        entries = [each for each in batch if isinstance(each, Entry)]
        accepted, duplicate, refused = self._place(entries)
        for reject in sorted((*(each for each in batch if isinstance(each, Reject)), *refused), key=_line):
            self._rejects.add(reject)
        counts = self.counts
        counts.read += len(batch)
        counts.accepted += accepted
        counts.duplicate += duplicate
        counts.rejected += len(batch) - len(entries) + len(refused)
        counts.line = max(counts.line, *(each.line for each in batch))

    def _place(self, entries: Sequence[Entry]) -> tuple[int, int, list[Reject]]:
        """Return how many were accepted, how many were duplicates, and the rejects of the others."""
        if self._session is None or not entries:
            return len(entries), 0, []
        try:
            return self._place_batch(self._session, entries)
        except DataRefused as exc:
            if len(entries) == 1:
                return 0, 0, [_refused(entries[0], str(exc))]
        # The database refuses one of them: halve the batch until that one is alone.
        middle = len(entries) // 2
        first, second = self._place(entries[:middle]), self._place(entries[middle:])
        return first[0] + second[0], first[1] + second[1], first[2] + second[2]

    def _place_batch(self, session: Session, entries: Sequence[Entry]) -> tuple[int, int, list[Reject]]:
        answers = self._commit(session, [each.order for each in entries])
        refused = [
            _refused(entry, f"conflict: {answer}")
            for entry, answer in zip(entries, answers, strict=True)
            if isinstance(answer, OrderConflict)
        ]
        duplicate = sum(isinstance(answer, Placed) and answer.is_duplicate for answer in answers)
        return len(entries) - duplicate - len(refused), duplicate, refused

    def _commit(self, session: Session, orders: Sequence[Order]) -> list[Placed | OrderConflict]:
        """Place ``orders`` in one transaction; if the database could not answer, place them again (IMP2)."""
        failures, failing_since_s = 0, monotonic_s()
        while True:
            try:
                return commit(session, partial(place_orders, orders))
            except (StoreUnavailable, Contention) as exc:
                if monotonic_s() - failing_since_s >= self._retry_for_s:
                    raise
                log.warning("trying again: %s", exc)
            sleep(self._backoff.delay_s(failures, self._random))
            failures += 1


def _line(reject: Reject) -> int:
    return reject.line


def _refused(entry: Entry, reason: str) -> Reject:
    return Reject(
        entry.line, reason, beginning(json_line(entry.order).decode().rstrip()), entry.order.order_id
    )
