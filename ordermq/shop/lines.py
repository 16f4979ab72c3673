"""The lines of one order: what each is worth, and how many of its units were paid back or came back."""

from collections.abc import Mapping
from typing import NamedTuple

from ordermq.shop.split import shares, worth
from ordermq.task import Transaction

_READ = """
    SELECT i.line_no, i.product_id, i.quantity, i.refunded, i.returned,
           i.quantity * i.unit_price_minor + i.freight_minor + coalesce(a.minor, 0)::bigint
      FROM shop.order_items AS i
      LEFT JOIN (SELECT line_no, sum(amount_minor) AS minor FROM shop.order_adjustments
                  WHERE order_id = %(order_id)s AND kind <> 'tax_included'
                  GROUP BY line_no) AS a USING (line_no)
     WHERE i.order_id = %(order_id)s ORDER BY i.line_no
"""

_OF_ORDER = """
    SELECT coalesce(sum(amount_minor), 0)::bigint FROM shop.order_adjustments
     WHERE order_id = %s AND line_no = 0 AND kind <> 'tax_included'
"""

_COUNT = """
    UPDATE shop.order_items AS i SET refunded = i.refunded + v.refunded, returned = i.returned + v.returned
      FROM (VALUES %s) AS v (order_id, line_no, refunded, returned)
     WHERE i.order_id = v.order_id AND i.line_no = v.line_no
"""


class OrderLine(NamedTuple):
    """A line. ``own_minor`` is its amount with its own adjustments, without the order's."""

    line_no: int
    product_id: str
    quantity: int
    refunded: int
    returned: int
    own_minor: int


class OrderLines:
    """The lines of an order, read when this object is made. For one transaction, with the order locked."""

    def __init__(self, order_id: str, tx: Transaction) -> None:
        self._tx = tx
        self._order_id = order_id
        rows = [OrderLine(*row) for row in tx.fetch_all(_READ, {"order_id": order_id})]
        whole = tx.fetch_one(_OF_ORDER, (order_id,))
        split = shares([each.own_minor for each in rows], whole[0] if whole else 0)
        self._lines = {each.line_no: each for each in rows}
        self._share_minor = dict(zip(self._lines, split, strict=True))

    def product(self, line_no: int) -> str:
        """Return the product of a line."""
        return self._lines[line_no].product_id

    def left_to_refund(self) -> dict[int, int]:
        """Return by line how many units were not paid back yet."""
        return {each.line_no: each.quantity - each.refunded for each in self._lines.values()}

    def left_to_return(self) -> dict[int, int]:
        """Return by line how many units have not come back yet."""
        return {each.line_no: each.quantity - each.returned for each in self._lines.values()}

    def worth(self, units: Mapping[int, int]) -> int:
        """Return what these units are worth, by the rule of ``split``."""
        return sum(
            worth(self._share_minor[number], count, of=line.quantity, before=line.refunded)
            for number, count in units.items()
            for line in [self._lines[number]]
        )

    def count(self, refunded: Mapping[int, int], returned: Mapping[int, int]) -> None:
        """Write that these units are paid back, and that those came back."""
        rows = [
            (self._order_id, number, refunded.get(number, 0), returned.get(number, 0))
            for number in sorted(refunded.keys() | returned.keys())
        ]
        self._tx.write_values(_COUNT, rows)
