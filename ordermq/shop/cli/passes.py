"""A bulk command about orders: what will happen is said first, then asked for, done and summed up.

It makes two passes over the chosen orders, a batch a transaction: one that is rolled back, and one that is
kept. Interrupted, it has lost one batch at most, says what it has done, and can be run again.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from datetime import datetime
from functools import partial, wraps
from typing import Any, Generic, Protocol, TypeVar, cast

from ordermq.cli.bulk import Pace, batches, commit, taking
from ordermq.cli.operator import ask
from ordermq.cli.options import common, dry_run, rate, reason, summary_as_json, yes
from ordermq.cli.output import note, write, write_json
from ordermq.cli.progress import counting
from ordermq.clock import monotonic_s
from ordermq.errors import VersionConflict
from ordermq.shop.expected import conflicts, lock_versions
from ordermq.shop.selection import Selection
from ordermq.store import Session, StoreTransaction

BATCH = 100  # orders in one transaction
MOST_SEEN = 100_000  # versions in memory at once

T = TypeVar("T")
TallyT = TypeVar("TallyT", bound="Tally[Any]")

Work = Callable[[list[str], StoreTransaction], list[T]]
"""Decides about orders, by id, in a transaction; returns what it decided."""


@dataclass(frozen=True)
class BulkOptions:
    """How a bulk command runs: what its options say. ``rate`` is in orders a second; 0 means no limit."""

    reason: str
    rate: float
    yes: bool
    dry_run: bool
    as_json: bool


class Tally(Protocol[T]):
    """What a pass over the orders has found, or done."""

    def add(self, orders: int, answers: list[T]) -> None:
        """Count what was decided about so many orders."""

    def line(self, answer: T, *, is_named: bool, dry_run: bool) -> str | None:
        """Return what is printed of one answer; None for nothing. ``is_named``: its order was given by id."""

    @property
    def changes(self) -> int:
        """How many answers change something."""

    @property
    def sentence(self) -> str:
        """What will happen, in one sentence."""

    @property
    def summary(self) -> str:
        """What has happened: in = the parts that make it up."""

    @property
    def document(self) -> dict[str, Any]:
        """The same for ``--json``."""


def unchanged_since(selection: Selection, then: datetime) -> Selection:
    """Return what was agreed to ``then``: of the selection the orders to which nothing has happened since."""
    return replace(selection, unchanged_since=then)


@dataclass(frozen=True)
class BulkWork(Generic[T, TallyT]):
    """What a command does to orders. ``plan`` decides as ``do`` does; what it writes is rolled back.

    ``refuse`` returns the answer for an order that changed after the forecast; without it such an order is
    like any other. ``agreed`` returns of a selection what was in the forecast of a time: nobody has agreed to
    the rest.
    """

    label: str
    plan: Work[T]
    do: Work[T]
    new_tally: Callable[[], TallyT]
    refuse: Callable[[VersionConflict], T] | None
    agreed: Callable[[Selection, datetime], Selection] = unchanged_since


class _Seen(Generic[T]):
    """The versions of orders as the forecast saw them: an order with another one is refused (EXP1).

    Of very many orders the first are remembered; of the others the selection says that nothing has
    happened to them.
    """

    def __init__(self) -> None:
        self._versions: dict[str, int] = {}
        self.left = 0  # orders of the forecast that were not come across again

    def note(self, work: Work[T], order_ids: list[str], tx: StoreTransaction) -> list[T]:
        """Do ``work``, count the orders, and remember the versions of before."""
        found = lock_versions(order_ids, tx)
        self.left += len(order_ids)
        if len(self._versions) < MOST_SEEN:
            self._versions |= found
        return work(order_ids, tx)

    def check(
        self,
        work: Work[T],
        refuse: Callable[[VersionConflict], T],
        order_ids: list[str],
        tx: StoreTransaction,
    ) -> list[T]:
        """Do ``work`` for the orders that are as they were; refuse the others."""
        changed = conflicts(self._versions, lock_versions(order_ids, tx))
        self.left -= len(order_ids)
        same = [each for each in order_ids if each not in changed]
        return [*(work(same, tx) if same else ()), *map(refuse, changed.values())]


def bulk(command: Callable[..., None]) -> Callable[..., None]:
    """Add the options that every bulk command has; the command gets them as ``options``."""

    @wraps(command)
    def with_options(**given: Any) -> None:
        names = ("reason", "rate", "yes", "dry_run", "as_json")
        command(options=BulkOptions(**{name: given.pop(name) for name in names}), **given)

    for option in (common, summary_as_json, dry_run, yes, rate, reason):
        with_options = option(with_options)
    return with_options


def forecast_and_do(
    session: Session, selection: Selection, work: BulkWork[T, TallyT], options: BulkOptions
) -> TallyT:
    """Say what will happen, ask if the command chose the orders itself, do it and sum it up.

    Returns what was done, in a dry run what would be. Raises click.Abort or UsageError without consent.
    """
    is_named, says = selection.order_ids is not None, not options.as_json
    agreed = work.agreed(selection, _now(session))
    forecast, began_s, seen = work.new_tally(), monotonic_s(), _Seen[T]()
    plan = partial(seen.note, work.plan) if work.refuse else work.plan
    for answers in _pass(session, selection, plan, forecast, label="forecast"):
        if options.dry_run and says:
            _print(answers, forecast, is_named=is_named, dry_run=True)
    (write if says else note)(forecast.sentence)
    if options.dry_run:
        _summarise(forecast, monotonic_s() - began_s, options)
        return forecast
    if forecast.changes and not is_named:
        ask("Go on?", yes=options.yes)
    tally, began_s = work.new_tally(), monotonic_s()
    try:
        do = partial(seen.check, work.do, work.refuse) if work.refuse else work.do
        for answers in _pass(session, agreed, do, tally, label=work.label, rate=options.rate):
            if says:
                _print(answers, tally, is_named=is_named, dry_run=False)
        if seen.left > 0:
            note(f"{seen.left:,} orders of the forecast have changed since, and stay as they are")
    finally:  # also if it was interrupted: what was done was done
        _summarise(tally, monotonic_s() - began_s, options)
    return tally


def _pass(
    session: Session,
    selection: Selection,
    work: Work[T],
    tally: Tally[T],
    *,
    label: str,
    rate: float | None = None,
) -> Iterator[list[T]]:
    """Yield what ``work`` returned for each batch, once it is committed; without ``rate`` rolled back."""
    with counting(label, selection.count(session)) as step:
        for batch in batches(taking(selection.ids(session)), most=BATCH, pace=Pace(rate or 0.0)):
            answers = commit(session, partial(work, batch), dry_run=rate is None)
            tally.add(len(batch), answers)
            step(len(batch))
            yield answers


def _now(session: Session) -> datetime:
    with session.transaction() as tx:
        [(now,)] = tx.fetch_all("SELECT now()")
    return cast("datetime", now)


def _print(answers: list[T], tally: Tally[T], *, is_named: bool, dry_run: bool) -> None:
    for each in answers:
        if line := tally.line(each, is_named=is_named, dry_run=dry_run):
            write(line)


def _summarise(tally: Tally[Any], seconds: float, options: BulkOptions) -> None:
    if options.as_json:
        write_json({**tally.document, "seconds": round(seconds, 3), "dry_run": options.dry_run})
    else:
        write(f"{tally.summary}{' (dry run: nothing was changed)' * options.dry_run}; {seconds:.1f} s")
