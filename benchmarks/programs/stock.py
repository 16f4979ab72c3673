"""The effect: take what was ordered out of the stock, once for each order, however often it is delivered."""

import threading
from collections import Counter
from collections.abc import Iterable, Sequence
from typing import Any

import psycopg2

from benchmarks.programs.orders import Order

TABLES = """
    CREATE TABLE public.stock (product_id text PRIMARY KEY, on_hand bigint NOT NULL) WITH (fillfactor = 50);
    CREATE TABLE public.inbox (message_id text PRIMARY KEY, settled_at timestamptz NOT NULL DEFAULT now());
"""

TAKE = "UPDATE public.stock SET on_hand = on_hand - %s WHERE product_id = %s"

TAKE_MANY = """
    UPDATE public.stock AS s SET on_hand = s.on_hand - v.units
      FROM (VALUES %s) AS v (product_id, units) WHERE s.product_id = v.product_id
"""

LOCK = "SELECT FROM public.stock WHERE product_id = ANY(%s) ORDER BY product_id FOR NO KEY UPDATE"

SEEN = "INSERT INTO public.inbox (message_id) VALUES (%s) ON CONFLICT DO NOTHING"


def units_of(orders: Iterable[Order]) -> list[tuple[str, int]]:
    """Return what the orders take in all, by product, sorted."""
    units: Counter[str] = Counter()
    for order in orders:
        units[order.product_id] += order.quantity
    return sorted(units.items())


def products_of(orders: Sequence[Order]) -> list[str]:
    return sorted({order.product_id for order in orders})


class Taker:
    """One transaction an order, as a handler is written that does it by hand; a connection a thread."""

    def __init__(self, job: dict[str, Any]) -> None:
        self._parameters = job["postgres"]
        self._local = threading.local()

    def take(self, order_id: str, product_id: str, quantity: int) -> None:
        """Commit the order's effect, if it is the first time."""
        connection = self._connection()
        with connection, connection.cursor() as cursor:
            cursor.execute(SEEN, (order_id,))
            if cursor.rowcount:
                cursor.execute(TAKE, (quantity, product_id))

    def _connection(self) -> Any:
        if not hasattr(self._local, "connection"):
            self._local.connection = psycopg2.connect(**self._parameters)
        return self._local.connection
