"""Placing many orders: batches in transactions, bad ones set aside, outages waited out.

Invariants
    IMP1  in = accepted + duplicate + rejected, also when a batch had to be tried again.
    IMP2  A batch whose commit is unknown is placed again: what had been committed then
        answers as a duplicate, and nothing is placed twice.
"""

import logging
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import islice
from random import Random
from time import sleep

from ordermq.backoff import Backoff
from ordermq.cli.progress import Pace, Progress
from ordermq.cli.records import Reject, beginning
from ordermq.cli.rejects import RejectsFile
from ordermq.clock import monotonic_s
from ordermq.errors import Contention, DataRefused, OrderConflict, StoreUnavailable
from ordermq.failpoints import failpoint
from ordermq.shop.intake import Entry
from ordermq.shop.intake.generate import json_line
from ordermq.shop.model import Order
from ordermq.shop.place import Placed, place_orders
from ordermq.store import Session, outbox

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
    """Places what a reader found. ``counts`` is true after every batch, also after an error."""

    def __init__(
        self, session: Session | None, *, rejects: RejectsFile, pace: Pace, patience_s: float
    ) -> None:
        """Without a session nothing is placed: every order that could be read counts as accepted."""
        self.counts = Counts()
        self._session = session
        self._rejects = rejects
        self._pace = pace
        self._patience_s = patience_s
        self._backoff = Backoff(0.2, 5.0)
        self._random = Random()

    def place(self, found: Iterable[Found], progress: Progress) -> None:
        """Place every order. Raises StoreUnavailable once an outage has lasted ``patience_s``."""
        rest = iter(found)
        while batch := list(islice(rest, self._pace.batch(BATCH))):
            self._take(batch)
            progress(self.counts.read)
            self._pace.wait(len(batch))

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
        """Return how many were accepted and were duplicates, and the rest with their reasons."""
        if self._session is None or not entries:
            return len(entries), 0, []
        try:
            return self._settle(self._session, entries)
        except DataRefused as exc:
            if len(entries) == 1:
                return 0, 0, [_refused(entries[0], str(exc))]
        # One of them is what the database refuses: halve until it is alone.
        middle = len(entries) // 2
        first, second = self._place(entries[:middle]), self._place(entries[middle:])
        return first[0] + second[0], first[1] + second[1], first[2] + second[2]

    def _settle(self, session: Session, entries: Sequence[Entry]) -> tuple[int, int, list[Reject]]:
        answers = self._commit(session, [each.order for each in entries])
        failpoint("placing.after_commit")
        outbox.wake_relay(session)
        refused = [
            _refused(entry, f"conflict: {answer}")
            for entry, answer in zip(entries, answers, strict=True)
            if isinstance(answer, OrderConflict)
        ]
        duplicate = sum(isinstance(answer, Placed) and answer.is_duplicate for answer in answers)
        return len(entries) - duplicate - len(refused), duplicate, refused

    def _commit(self, session: Session, orders: Sequence[Order]) -> list[Placed | OrderConflict]:
        """Place ``orders`` in a transaction of their own; again, if it was the database's fault (IMP2)."""
        failures, failing_since_s = 0, monotonic_s()
        while True:
            try:
                with session.transaction() as tx:
                    return place_orders(orders, tx)
            except (StoreUnavailable, Contention) as exc:
                if monotonic_s() - failing_since_s >= self._patience_s:
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
