"""Units of stock that belong to an order: reserved, then shipped or released; shipped ones may come back.

Each function works on many orders with a few statements. The caller has locked the rows
of the orders; the rows of the stock are locked after them (STK1).
"""

from collections.abc import Mapping, Sequence
from enum import StrEnum

from ordermq.shop.stock import lock_stock
from ordermq.store.arrays import array_of, arrays_of
from ordermq.task import Transaction

Quantities = dict[str, int]
"""Units by product_id."""


class ReservationEnd(StrEnum):
    """What becomes of reserved units."""

    RELEASED = "released"
    SHIPPED = "shipped"


# Migration 0017 has the functions.
_WANTED = "SELECT * FROM shop.wanted_stock(%s)"
_RESERVE = "SELECT shop.reserve(%s, %s, %s)"
_END = "SELECT shop.end_reservations(%s, %s)"

_FORGET_RELEASED = "DELETE FROM shop.reservations WHERE order_id = ANY(%s) AND state = 'released'"

_COME_BACK = """
    UPDATE shop.reservations AS r SET returned = r.returned + v.units
      FROM (VALUES %s) AS v (order_id, product_id, units)
     WHERE r.order_id = v.order_id AND r.product_id = v.product_id
"""

_RESTOCK = """
    UPDATE shop.stock AS s SET shipped = s.shipped - v.units, on_hand = s.on_hand + v.units
      FROM (VALUES %s) AS v (product_id, units) WHERE s.product_id = v.product_id
"""


def wanted_stock(order_ids: Sequence[str], tx: Transaction) -> tuple[dict[str, Quantities], Quantities]:
    """Return what each order asks for, and the units on hand of each product that was ever loaded.

    Lines of the same product are added up. Locks the rows of the stock (STK1).
    """
    wanted: dict[str, Quantities] = {order_id: {} for order_id in order_ids}
    on_hand: Quantities = {}
    for order_id, product_id, units, left in tx.fetch_all(_WANTED, (array_of(order_ids),)):
        wanted[order_id][product_id] = units
        if left is not None:
            on_hand[product_id] = left
    return wanted, on_hand


def reserve(granted: Mapping[str, Mapping[str, int]], tx: Transaction) -> None:
    """Reserve for each order what was granted to it. The caller has locked the rows of the stock."""
    rows = [(order_id, *item) for order_id, quantities in granted.items() for item in quantities.items()]
    if rows:
        tx.write(_RESERVE, arrays_of(rows))


def forget_released(order_ids: Sequence[str], tx: Transaction) -> None:
    """Delete what was released, so that these orders can reserve anew under the same keys."""
    tx.write(_FORGET_RELEASED, (list(order_ids),))


def end(order_ids: Sequence[str], how: ReservationEnd, tx: Transaction) -> None:
    """Release or ship what is still reserved for these orders. Locks the rows of the stock (STK1)."""
    if order_ids:
        tx.write(_END, (array_of(order_ids), how))


def take_back(order_id: str, units: Mapping[str, int], tx: Transaction) -> None:
    """Put units that were shipped for an order on hand again. Locks the rows of the stock (STK1)."""
    lock_stock(units, tx)
    rows = sorted(units.items())
    tx.write_values(_COME_BACK, [(order_id, *row) for row in rows])
    tx.write_values(_RESTOCK, rows)
