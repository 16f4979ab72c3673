"""``--expect-version``: act on an order only if it is still as the operator saw it."""

from collections.abc import Callable
from typing import TypeVar

import click

from ordermq.shop.expected import expect_version
from ordermq.store import StoreTransaction

T = TypeVar("T")

expect = click.option(
    "--expect-version",
    "expected",
    type=click.IntRange(1),
    metavar="N",
    help="Do it only if N is the order's version, the number of its newest event in 'order show'.",
)


def expecting(
    order_id: str, expected: int | None, work: Callable[[StoreTransaction], T]
) -> Callable[[StoreTransaction], T]:
    """Return ``work`` with the order's version compared first; it raises VersionConflict."""

    def checked(tx: StoreTransaction) -> T:
        if expected is not None:
            expect_version(order_id, expected, tx)
        return work(tx)

    return checked
