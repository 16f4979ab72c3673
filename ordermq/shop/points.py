"""What an order earns: the one rule of points. Pure.

A point for each whole unit of the currency that the shop keeps, rounded down. A refund takes back the
difference between what the order earned before and what it earns after, so after a full refund in
any parts exactly what was awarded is taken back.
"""

from ordermq.shop.journal import LockedOrder
from ordermq.shop.money import decimals_of
from ordermq.shop.saga import CANCELLED


def earned(order: LockedOrder) -> int:
    """Return the points of an order: none if it was cancelled, fewer if a part of the money went back."""
    if order.state.status in CANCELLED:
        return 0
    unit: int = 10 ** decimals_of(order.currency)
    return (order.total_minor - order.refunded_minor) // unit
