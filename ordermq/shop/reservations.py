"""Units of stock that belong to an order: reserved, then shipped or released; shipped ones may come back.

Each function works on many orders with a few statements. The caller has locked the rows
of the orders; the rows of the stock are locked after them (STK1).
"""

from collections import Counter
from collections.abc import Mapping, Sequence
from enum import StrEnum

from ordermq.shop.stock import lock_stock
from ordermq.store.arrays import insert_into
from ordermq.task import Transaction

Quantities = dict[str, int]
"""Units by product_id."""


class ReservationEnd(StrEnum):
    """What becomes of reserved units."""

    RELEASED = "released"
    SHIPPED = "shipped"


_WANTED = """
    SELECT order_id, product_id, sum(quantity)::bigint FROM shop.order_items
     WHERE order_id = ANY(%s) GROUP BY order_id, product_id
"""

_ADD = insert_into("shop.reservations", order_id="text", product_id="text", quantity="bigint")

_TAKE = """
    UPDATE shop.stock AS s SET on_hand = s.on_hand - v.units, reserved = s.reserved + v.units
      FROM (VALUES %s) AS v (product_id, units) WHERE s.product_id = v.product_id
"""

_HELD = """
    SELECT product_id, sum(quantity)::bigint FROM shop.reservations
     WHERE order_id = ANY(%s) AND state = 'reserved' GROUP BY product_id
"""

_END = "UPDATE shop.reservations SET state = %s WHERE order_id = ANY(%s) AND state = 'reserved'"

_FORGET_RELEASED = "DELETE FROM shop.reservations WHERE order_id = ANY(%s) AND state = 'released'"

_MOVE = {
    ReservationEnd.RELEASED: """
        UPDATE shop.stock AS s SET reserved = s.reserved - v.units, on_hand = s.on_hand + v.units
          FROM (VALUES %s) AS v (product_id, units) WHERE s.product_id = v.product_id
    """,
    ReservationEnd.SHIPPED: """
        UPDATE shop.stock AS s SET reserved = s.reserved - v.units, shipped = s.shipped + v.units
          FROM (VALUES %s) AS v (product_id, units) WHERE s.product_id = v.product_id
    """,
}

_COME_BACK = """
    UPDATE shop.reservations AS r SET returned = r.returned + v.units
      FROM (VALUES %s) AS v (order_id, product_id, units)
     WHERE r.order_id = v.order_id AND r.product_id = v.product_id
"""

_RESTOCK = """
    UPDATE shop.stock AS s SET shipped = s.shipped - v.units, on_hand = s.on_hand + v.units
      FROM (VALUES %s) AS v (product_id, units) WHERE s.product_id = v.product_id
"""


def wanted(order_ids: Sequence[str], tx: Transaction) -> dict[str, Quantities]:
    """Return what each order asks for; lines of the same product are added up."""
    quantities: dict[str, Quantities] = {order_id: {} for order_id in order_ids}
    for order_id, product_id, units in tx.fetch_all(_WANTED, (list(order_ids),)):
        quantities[order_id][product_id] = units
    return quantities


def reserve(granted: Mapping[str, Mapping[str, int]], tx: Transaction) -> None:
    """Reserve for each order what was granted to it. The caller has locked the rows of the stock."""
    units: Counter[str] = Counter()
    for quantities in granted.values():
        units.update(quantities)
    rows = [(order_id, *item) for order_id, quantities in granted.items() for item in quantities.items()]
    tx.add(_ADD, rows)
    tx.write_values(_TAKE, list(units.items()))


def forget_released(order_ids: Sequence[str], tx: Transaction) -> None:
    """Delete what was released, so that these orders can reserve anew under the same keys."""
    tx.write(_FORGET_RELEASED, (list(order_ids),))


def end(order_ids: Sequence[str], how: ReservationEnd, tx: Transaction) -> None:
    """Release or ship what is still reserved for these orders. Locks the rows of the stock (STK1)."""
    units: Quantities = dict(tx.fetch_all(_HELD, (list(order_ids),))) if order_ids else {}
    if units:
        lock_stock(units, tx)
        tx.write(_END, (how, list(order_ids)))
        tx.write_values(_MOVE[how], list(units.items()))


def take_back(order_id: str, units: Mapping[str, int], tx: Transaction) -> None:
    """Put units that were shipped for an order on hand again. Locks the rows of the stock (STK1)."""
    lock_stock(units, tx)
    rows = sorted(units.items())
    tx.write_values(_COME_BACK, [(order_id, *row) for row in rows])
    tx.write_values(_RESTOCK, rows)
