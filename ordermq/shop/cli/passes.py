"""A pass over chosen orders, a batch a transaction.

A bulk command makes two of them: one that says what will happen, and one that does it.
"""

from collections.abc import Callable, Iterator
from functools import partial
from typing import TypeVar

from ordermq.cli.bulk import Pace, batches, commit, taking
from ordermq.cli.progress import counting
from ordermq.shop.selection import Selection
from ordermq.store import Session, StoreTransaction

BATCH = 100  # orders in one transaction

T = TypeVar("T")

Work = Callable[[list[str], StoreTransaction], list[T]]
"""Decides about orders, by id, in a transaction; returns what it decided."""


def over_orders(
    session: Session, selection: Selection, work: Work[T], *, label: str, rate: float = 0.0, keeps: bool
) -> Iterator[tuple[int, list[T]]]:
    """Yield for each batch how many orders it has and what ``work`` returned, once it is committed.

    With ``keeps`` False everything is rolled back. ``rate`` is in orders a second; 0 means no limit.
    """
    with counting(label, selection.count(session)) as step:
        for batch in batches(taking(selection.ids(session)), most=BATCH, pace=Pace(rate)):
            done = commit(session, partial(work, batch), dry_run=not keeps)
            step(len(batch))
            yield len(batch), done
