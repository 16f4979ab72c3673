"""Placing many orders in batches. Bad orders are set aside, and outages of the database are waited out.

Invariants
    IMP1  in = accepted + duplicate + cancelled + skipped + rejected, also when a batch had to be tried
        again.
    IMP2  A batch whose commit is unknown is placed again. Orders that were committed the
        first time are duplicates then, and no order is placed twice.
    IMP3  Of several orders that have one name in their shop, the others are placed only after the
        order_id made of the name is the oldest one's own. So none is placed under two order_ids.
"""

import logging
from collections.abc import Callable, Iterable, Sequence
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
from ordermq.shop.intake import Entry, Skipped
from ordermq.shop.intake.generate import json_line
from ordermq.shop.log_events import PLACING_TRIED_AGAIN
from ordermq.shop.model import Order
from ordermq.shop.place import Answers, Placed, place_orders
from ordermq.shop.saga import Status
from ordermq.store import Session

log = logging.getLogger(__name__)

BATCH = 200

Found = Entry | Reject
Place = Callable[[Sequence[Order]], Answers]


@dataclass
class Counts:
    """What became of the records read so far.

    ``cancelled``: placed before, and cancelled since. ``skipped``: in order, and not to be placed.
    """

    accepted: int = 0
    duplicate: int = 0
    cancelled: int = 0
    skipped: int = 0
    rejected: int = 0
    line: int = 0

    @property
    def read(self) -> int:
        """All records that were counted (IMP1)."""
        return self.accepted + self.duplicate + self.cancelled + self.skipped + self.rejected

    def count(self, answers: Iterable[Placed]) -> None:
        """Count the answers to orders that were placed, now or before."""
        for answer in answers:
            if not answer.is_duplicate:
                self.accepted += 1
            elif answer.status in (Status.CANCELLED, Status.REFUNDED):
                self.cancelled += 1
            else:
                self.duplicate += 1


class Transactions:
    """Places each batch in a transaction, which a dry run rolls back; outages are waited out."""

    def __init__(self, session: Session, *, retry_for_s: float, dry_run: bool = False) -> None:
        self._session = session
        self._retry_for_s = retry_for_s
        self._dry_run = dry_run
        self._backoff = Backoff(0.2, 5.0)
        self._random = Random()

    def place(self, orders: Sequence[Order]) -> Answers:
        """Place ``orders``; if the database could not answer, place them again (IMP2).

        Raises StoreUnavailable once an outage has lasted ``retry_for_s``, and DataRefused.
        """
        failures, failing_since_s = 0, monotonic_s()
        while True:
            try:
                return commit(self._session, partial(place_orders, orders), dry_run=self._dry_run)
            except (StoreUnavailable, Contention) as exc:
                if monotonic_s() - failing_since_s >= self._retry_for_s:
                    raise
                log.warning("trying again: %s", exc, extra=PLACING_TRIED_AGAIN)
            sleep(self._backoff.delay_s(failures, self._random))
            failures += 1


class Placer:
    """Places the orders that a reader found. ``counts`` is correct after each batch, also after an error."""

    def __init__(self, place: Place, *, rejects: RejectsFile, pace: Pace) -> None:
        """``place`` answers for each order of a batch, or raises DataRefused if one of them is refused."""
        self.counts = Counts()
        self._place_orders = place
        self._rejects = rejects
        self._pace = pace
        self._bereft: set[str | None] = set()  # shared order_ids that their oldest orders did not get

    def place(self, found: Iterable[Found], progress: Progress) -> None:
        """Place every order. Raises what ``place`` raises, except for DataRefused."""
        for batch in batches(taking(found), most=BATCH, pace=self._pace):
            self._take(batch)
            progress(self.counts.read)

    def _take(self, batch: Sequence[Found]) -> None:
        entries = [each for each in batch if isinstance(each, Entry)]
        refused = self._place([each for each in entries if each.has_its_name])
        self._bereft.update(each.record_id for each in refused if each.record_id in _shared(entries))
        others = [each for each in entries if not each.has_its_name]
        refused += self._place([each for each in others if each.shared_id not in self._bereft])
        refused += [_bereft(each) for each in others if each.shared_id in self._bereft]
        set_aside = [*(each for each in batch if isinstance(each, Reject)), *refused]
        for reject in sorted(set_aside, key=_line):
            self._rejects.add(reject)
        skipped = sum(isinstance(each, Skipped) for each in batch)
        self.counts.skipped += skipped
        self.counts.rejected += len(set_aside) - skipped
        self.counts.line = max(self.counts.line, *(each.line for each in batch))

    def _place(self, entries: Sequence[Entry]) -> list[Reject]:
        """Place the orders and count them; return the rejects of those that could not be placed."""
        if not entries:
            return []
        try:
            return self._place_batch(entries)
        except DataRefused as exc:
            if len(entries) == 1:
                return [_refused(entries[0], str(exc))]
        # The database refuses one of them: halve the batch until that one is alone.
        middle = len(entries) // 2
        return self._place(entries[:middle]) + self._place(entries[middle:])

    def _place_batch(self, entries: Sequence[Entry]) -> list[Reject]:
        answers = self._place_orders([each.order for each in entries])
        self.counts.count(answer for answer in answers if isinstance(answer, Placed))
        return [
            _refused(entry, f"conflict: {answer}")
            for entry, answer in zip(entries, answers, strict=True)
            if isinstance(answer, OrderConflict)
        ]


def _shared(entries: Iterable[Entry]) -> set[str | None]:
    return {each.shared_id for each in entries if each.shared_id is not None}


def _bereft(entry: Entry) -> Reject:
    return _refused(entry, f"conflict: order {entry.shared_id} is not the oldest of the orders with its name")


def _line(reject: Reject) -> int:
    return reject.line


def _refused(entry: Entry, reason: str) -> Reject:
    return Reject(
        entry.line, reason, beginning(json_line(entry.order).decode().rstrip()), entry.order.order_id
    )
