"""The ``points_bookings`` table: what a points service is asked to book, written before it is asked.

    none ──> asked for ──> booked (in the same transaction the order's row of shop.points changes)

The award of an order is booked once for each capture. What a refund takes back is booked under the number of
the newest refund that is counted, and what a cancellation takes back under a number of its own.

Invariants
    PTB1  A booking keeps its points and its key, however often the service is asked for it, and at
        most one of an order is asked for at a time. So the service has the sum of shop.points.
    PTB2  Rows are read and written while the row of their order is locked.
"""

from collections.abc import Iterable, Mapping
from typing import NamedTuple

from ordermq.task import Transaction


class BookedPoints(NamedTuple):
    """A booking of this kind and number."""

    order_id: str
    kind: str
    number: int
    customer_id: str
    points: int

    def key(self, shop: str) -> str:
        """Return the idempotency key."""
        first = f"points:{shop}:{self.order_id}"
        if self.kind == AWARD:
            return first if self.number == 1 else f"{first}:capture-{self.number}"
        return f"{first}:{self.kind}-{self.number}"


AWARD, REFUND, CANCELLED = "award", "refund", "cancelled"

_READ = """
    SELECT o.order_id, o.customer_id, p.points,
           greatest(coalesce(pay.capture_no, 1), 1 + coalesce(n.award, 0)), 1 + coalesce(n.cancelled, 0),
           coalesce((SELECT max(refund_no) FROM shop.refunds AS r
                      WHERE r.order_id = o.order_id AND state IN ('refunded', 'given_back', 'by_hand')), 0),
           b.kind, b.number, b.points
      FROM shop.orders AS o
      LEFT JOIN shop.points AS p USING (order_id)
      LEFT JOIN shop.payments AS pay USING (order_id)
      LEFT JOIN LATERAL (SELECT max(number) FILTER (WHERE kind = 'award') AS award,
                                max(number) FILTER (WHERE kind = 'cancelled') AS cancelled
                           FROM shop.points_bookings AS every WHERE every.order_id = o.order_id) AS n ON true
      LEFT JOIN shop.points_bookings AS b ON b.order_id = o.order_id AND b.booked_at IS NULL
     WHERE o.order_id = ANY(%s)
"""

_ASK = "INSERT INTO shop.points_bookings (order_id, kind, number, points) VALUES %s"

_BOOKED = """
    WITH booked AS (
        UPDATE shop.points_bookings AS b SET booked_at = now()
          FROM (VALUES %s) AS v (order_id, kind, number, customer_id, points)
         WHERE b.order_id = v.order_id AND b.kind = v.kind AND b.number = v.number AND b.booked_at IS NULL
        RETURNING b.order_id, b.kind, v.customer_id, b.points
    ), awarded AS (
        INSERT INTO shop.points (order_id, customer_id, points)
        SELECT order_id, customer_id, points FROM booked WHERE kind = 'award'
        RETURNING order_id, points
    ), changed AS (
        UPDATE shop.points AS p SET points = p.points + b.points
          FROM booked AS b WHERE p.order_id = b.order_id AND b.kind <> 'award'
        RETURNING p.order_id, p.points
    )
    TABLE awarded UNION ALL TABLE changed
"""


class PointsOf(NamedTuple):
    """The points of an order, and the number that its next booking of each kind has.

    ``points`` None: it has none. ``asked`` is the booking that is asked for.
    """

    customer_id: str
    points: int | None
    numbers: Mapping[str, int]
    asked: BookedPoints | None


def read(order_ids: Iterable[str], tx: Transaction) -> Mapping[str, PointsOf]:
    """Return the points of these orders, which are locked."""
    found = {}
    for order_id, customer_id, points, award, cancelled, refund, *asked in tx.fetch_all(
        _READ, (sorted(order_ids),)
    ):
        kind, number, asked_points = asked
        booking = BookedPoints(order_id, kind, number, customer_id, asked_points) if kind else None
        numbers = {AWARD: award, CANCELLED: cancelled, REFUND: refund}
        found[order_id] = PointsOf(customer_id, points, numbers, booking)
    return found


def ask(bookings: Iterable[BookedPoints], tx: Transaction) -> None:
    """Write what the service is about to be asked for (PTB1)."""
    rows = sorted((each.order_id, each.kind, each.number, each.points) for each in bookings)
    tx.write_values(_ASK, rows)


def end(bookings: Iterable[BookedPoints], tx: Transaction) -> dict[str, int]:
    """Write that the service has booked these; return the points of the orders for which that is new."""
    return dict(tx.fetch_values(_BOOKED, sorted(bookings)))
