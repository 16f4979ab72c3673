"""Bulk work: batch by batch, each in a transaction of its own, at a given rate.

An interrupted command has lost one batch at most, and can be run again.
"""

from collections.abc import Callable, Iterable, Iterator
from itertools import islice
from time import sleep
from typing import TypeVar

from ordermq.clock import monotonic_s
from ordermq.errors import BadInput
from ordermq.failpoints import failpoint
from ordermq.store import Session, StoreTransaction, outbox

T = TypeVar("T")

Take = Callable[[int], list[T]]
"""Returns the next items, up to as many as it is asked for; none at the end."""


class Pace:
    """Holds a loop to a rate in records a second; 0 means no limit."""

    def __init__(self, rate: float) -> None:
        self._rate = rate
        self._began_s = monotonic_s()
        self._count = 0

    def batch(self, most: int) -> int:
        """Return how many records to take at once: a slow pace is kept by small steps, not by long waits."""
        return most if not self._rate else max(1, min(most, int(self._rate / 5)))

    def wait(self, records: int) -> None:
        """Sleep until ``records`` more are due."""
        if self._rate:
            self._count += records
            sleep(max(0.0, self._began_s + self._count / self._rate - monotonic_s()))


def batches(take: Take[T], *, most: int, pace: Pace) -> Iterator[list[T]]:
    """Yield what ``take`` returns, at most ``most`` at once at the rate of ``pace``, until it is empty."""
    while batch := take(pace.batch(most)):
        yield batch
        pace.wait(len(batch))


def taking(items: Iterable[T]) -> Take[T]:
    """Return a function that takes the next of ``items``.

    What came before a BadInput is returned first; the next call raises it.
    """
    rest = iter(items)
    broken: BadInput | None = None

    def take(limit: int) -> list[T]:
        nonlocal broken
        if broken is not None:
            raise broken
        taken: list[T] = []
        try:
            taken.extend(islice(rest, limit))
        except BadInput as exc:
            if not taken:
                raise
            broken = exc
        return taken

    return take


def commit(session: Session, work: Callable[[StoreTransaction], T], *, dry_run: bool = False) -> T:
    """Run ``work`` in a transaction, wake the relay for what it sent, and return its result.

    With ``dry_run`` everything is rolled back and the relay is not woken. Raises what
    ``work`` raises, and StoreError.
    """
    with session.transaction(dry_run=dry_run) as tx:
        result = work(tx)
    if not dry_run:
        failpoint("bulk.after_commit")
        outbox.wake_relay(session)
    return result
