"""Optimistic concurrency: act on an order only if it is still as it was when somebody looked at it.

    with session.transaction() as tx:
        expect_version("A-1001", 5, tx)  # what 'order show' and queries.show said
        cancel_order("A-1001", tx, "changed their mind")

Invariants
    EXP1  An order's version is compared while its row is locked, in the transaction that acts on it. So
        nothing happens to the order between the comparison and the commit.
"""

from collections.abc import Iterable, Mapping

from ordermq.errors import OrderNotFound, VersionConflict
from ordermq.store.arrays import array_of
from ordermq.task import Transaction

# In the order in which a Journal locks them (JRN2).
_LOCK = """
    SELECT order_id, version FROM shop.orders
     WHERE order_id = ANY(%s) ORDER BY order_id COLLATE "C" FOR NO KEY UPDATE
"""


def expect_version(order_id: str, version: int, tx: Transaction) -> None:
    """Lock an order for the caller's transaction; call this first in it.

    An order's version is the number of its newest event. Raises OrderNotFound, or VersionConflict if the
    order has another one: it changed since.
    """
    found = lock_versions([order_id], tx)
    if order_id not in found:
        raise OrderNotFound(f"no order {order_id[:80]!r}")
    for conflict in conflicts({order_id: version}, found).values():
        raise conflict


def lock_versions(order_ids: Iterable[str], tx: Transaction) -> dict[str, int]:
    """Lock the orders until the transaction ends; return the versions of those that exist."""
    return dict(tx.fetch_all(_LOCK, (array_of(sorted(set(order_ids))),)))


def conflicts(expected: Mapping[str, int], found: Mapping[str, int]) -> dict[str, VersionConflict]:
    """Return an error for each order whose version is not the expected one. Pure."""
    return {
        order_id: VersionConflict(order_id, expected[order_id], version)
        for order_id, version in found.items()
        if expected.get(order_id, version) != version
    }
