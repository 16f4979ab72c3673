"""What a peer's tasks do to the shop's tables: each message in transactions of its own, as their guides show.

The rows are those that ordermq writes: the order's status, its events, stock and
reservations, the payment, the notification. A task that comes twice finds the order's
status moved on and does nothing. Points and shipments, which ordermq's pipeline has
besides, are left out: an order is completed when its customer was told.
"""

import threading
from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any

import msgspec
import psycopg2
from psycopg2.extras import execute_values

from ordermq.observe import trace
from ordermq.orders import events
from ordermq.orders.events import Event, EventType, Step
from ordermq.orders.model import Order

_LOCK = "SELECT status, version FROM shop.orders WHERE order_id = %s FOR NO KEY UPDATE"
_ADD_EVENT = """
    INSERT INTO shop.order_events (order_id, version, type, step, occurred_at, body)
    VALUES (%s, %s, %s, %s, %s, %s)
"""
_SAVE = """
    UPDATE shop.orders SET status = %s, pending = '{}', version = %s, updated_at = clock_timestamp(),
           terminal_at = CASE WHEN %s THEN clock_timestamp() END
     WHERE order_id = %s
"""


class Shop:
    """The steps. Every thread has a connection of its own."""

    def __init__(self, postgres: dict[str, Any]) -> None:
        self._postgres = postgres
        self._of_thread = threading.local()

    @property
    def connection(self) -> Any:
        if not hasattr(self._of_thread, "connection"):
            self._of_thread.connection = psycopg2.connect(**self._postgres)
        return self._of_thread.connection

    def place(self, orders: Sequence[Order]) -> None:
        """Insert orders with one statement a table, and commit."""
        now = datetime.now(UTC)
        with self.connection as connection, connection.cursor() as cursor:
            insert_bare(orders, now, cursor)
            execute_values(
                cursor,
                "INSERT INTO shop.contacts (order_id, card_token, phone) VALUES %s",
                [(order.order_id, order.card_token, order.contact.phone) for order in orders],
            )
            execute_values(
                cursor,
                "INSERT INTO shop.order_events (order_id, version, type, step, occurred_at, body) VALUES %s",
                [_placed(order, now) for order in orders],
            )

    def reserve(self, order_id: str) -> bool:
        """Take the order's items out of the stock; False if that was done before."""
        with self.connection as connection, connection.cursor() as cursor:
            cursor.execute(_LOCK, (order_id,))
            status, version = cursor.fetchone()
            if status != "placed":
                return False
            cursor.execute(
                """SELECT product_id, sum(quantity)::bigint FROM shop.order_items
                    WHERE order_id = %s GROUP BY product_id""",
                (order_id,),
            )
            wanted = dict(cursor.fetchall())
            cursor.execute(
                """SELECT product_id, on_hand FROM shop.stock
                    WHERE product_id = ANY(%s) ORDER BY product_id FOR NO KEY UPDATE""",
                (list(wanted),),
            )
            on_hand = dict(cursor.fetchall())
            assert all(on_hand[product] >= units for product, units in wanted.items())
            execute_values(
                cursor,
                """UPDATE shop.stock AS s SET on_hand = s.on_hand - v.units, reserved = s.reserved + v.units
                     FROM (VALUES %s) AS v (product_id, units) WHERE s.product_id = v.product_id""",
                list(wanted.items()),
            )
            execute_values(
                cursor,
                "INSERT INTO shop.reservations (order_id, product_id, quantity) VALUES %s",
                [(order_id, *each) for each in wanted.items()],
            )
            _advance(cursor, order_id, version, Event(EventType.STOCK_RESERVED, Step.RESERVE), "reserved")
        return True

    def capture(self, order_id: str) -> bool:
        """Write the intent, take the money, write that it was taken; False if that was done before."""
        with self.connection as connection, connection.cursor() as cursor:
            cursor.execute(
                """INSERT INTO shop.payments (order_id, idempotency_key, amount_minor, currency, state)
                   SELECT order_id, 'capture:' || order_id, total_minor, currency, 'intent'
                     FROM shop.orders JOIN shop.contacts USING (order_id)
                    WHERE order_id = %s AND status = 'reserved'
                   ON CONFLICT (order_id) DO UPDATE SET called_at = now()
                   RETURNING amount_minor""",
                (order_id,),
            )
            if cursor.fetchone() is None:
                return False
        capture_id = f"cap-{order_id}"  # the payment service, which takes no time
        with self.connection as connection, connection.cursor() as cursor:
            cursor.execute(_LOCK, (order_id,))
            status, version = cursor.fetchone()
            if status != "reserved":
                return False
            cursor.execute(
                """UPDATE shop.payments SET state = 'captured', capture_id = %s, updated_at = now()
                    WHERE order_id = %s""",
                (capture_id, order_id),
            )
            _advance(cursor, order_id, version, Event(EventType.PAYMENT_CAPTURED, Step.CAPTURE), "paid")
        return True

    def notify(self, order_id: str) -> bool:
        """Write that the customer is being told, tell them, and complete the order."""
        with self.connection as connection, connection.cursor() as cursor:
            cursor.execute(
                """INSERT INTO shop.notifications (order_id, template, state)
                   SELECT order_id, 'order_confirmed', 'sending'
                     FROM shop.orders JOIN shop.contacts USING (order_id)
                    WHERE order_id = %s AND status = 'paid'
                   ON CONFLICT (order_id, template) DO NOTHING
                   RETURNING order_id""",
                (order_id,),
            )
            if cursor.fetchone() is None:
                return False
        provider_id = f"sms-{order_id}"  # the SMS service, likewise
        with self.connection as connection, connection.cursor() as cursor:
            cursor.execute(_LOCK, (order_id,))
            _, version = cursor.fetchone()
            cursor.execute(
                """UPDATE shop.notifications SET state = 'sent', provider_id = %s, updated_at = now()
                    WHERE order_id = %s AND template = 'order_confirmed'""",
                (provider_id, order_id),
            )
            ended = Event(EventType.NOTIFICATION_SENT, Step.NOTIFY_CONFIRMED)
            _advance(cursor, order_id, version, ended, "completed")
        return True


def insert_bare(orders: Sequence[Order], now: datetime, cursor: Any) -> None:
    """Insert what an order is without any message: its row and its items."""
    execute_values(
        cursor,
        """INSERT INTO shop.orders (order_id, customer_id, status, pending, version, currency, total_minor,
               content_sha256, traceparent, placed_at) VALUES %s""",
        [
            (
                order.order_id, order.customer_id, order.currency, order.total_minor,
                order.content_sha256(), trace.new(), now,
            )
            for order in orders
        ],
        template="(%s, %s, 'placed', '{}', 1, %s, %s, %s, %s, %s)",
    )  # fmt: skip
    execute_values(
        cursor,
        """INSERT INTO shop.order_items (order_id, line_no, product_id, quantity, unit_price_minor,
               freight_minor) VALUES %s""",
        [
            (
                order.order_id, line_no, item.product_id, item.quantity, item.unit_price_minor,
                item.freight_minor,
            )
            for order in orders
            for line_no, item in enumerate(order.items, start=1)
        ],
    )  # fmt: skip


def _placed(order: Order, now: datetime) -> events.StoredEvent:
    return events.stored(
        order.order_id, 1, Event(EventType.ORDER_PLACED), status="placed", occurred_at=now,
        data={"total_minor": order.total_minor, "items": [msgspec.to_builtins(item) for item in order.items]},
    )  # fmt: skip


def _advance(cursor: Any, order_id: str, version: int, ended: Event, status: str) -> None:
    event = events.stored(order_id, version + 1, ended, status=status, occurred_at=datetime.now(UTC), data={})
    cursor.execute(_ADD_EVENT, event)
    cursor.execute(_SAVE, (status, version + 1, status == "completed", order_id))
