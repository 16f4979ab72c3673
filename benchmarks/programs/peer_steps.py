"""What a peer's tasks do to the shop's tables: each message in transactions of its own, as their guides show.

The rows are those that ordermq writes: the order's status and pending steps, its events,
stock and reservations, payment, notification, points and shipment. A task that comes
twice finds that its step is no longer pending and does nothing. The last of the three
steps after the payment completes the order.
"""

import threading
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

import msgspec
import psycopg2
from psycopg2.extras import execute_values

from ordermq.observe import trace
from ordermq.shop import events
from ordermq.shop.events import Event, EventType, Step
from ordermq.shop.model import Order

_LOCK = "SELECT version, pending FROM shop.orders WHERE order_id = %s FOR NO KEY UPDATE"
_ADD_EVENT = """
    INSERT INTO shop.order_events (order_id, version, type, step, occurred_at, body)
    VALUES (%s, %s, %s, %s, %s, %s)
"""
_SAVE = """
    UPDATE shop.orders SET status = %s, pending = %s, version = %s, updated_at = clock_timestamp(),
           terminal_at = CASE WHEN %s THEN clock_timestamp() END
     WHERE order_id = %s
"""
AFTER_PAYMENT = [Step.AWARD, Step.NOTIFY_CONFIRMED, Step.SHIP]


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
            order = _locked(cursor, order_id, Step.RESERVE)
            if order is None:
                return False
            cursor.execute(
                """SELECT product_id, sum(quantity)::bigint FROM shop.order_items
                    WHERE order_id = %s GROUP BY product_id""",
                (order_id,),
            )
            wanted = dict(cursor.fetchall())
            on_hand = _lock_stock(cursor, wanted)
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
            order.ends(EventType.STOCK_RESERVED, "reserved", [Step.CAPTURE])
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
            order = _locked(cursor, order_id, Step.CAPTURE)
            if order is None:
                return False
            cursor.execute(
                """UPDATE shop.payments SET state = 'captured', capture_id = %s, updated_at = now()
                    WHERE order_id = %s""",
                (capture_id, order_id),
            )
            order.ends(EventType.PAYMENT_CAPTURED, "paid", AFTER_PAYMENT)
        return True

    def notify(self, order_id: str) -> None:
        """Write that the customer is being told, tell them, write that they were told."""
        with self.connection as connection, connection.cursor() as cursor:
            cursor.execute(
                """INSERT INTO shop.notifications (channel, order_id, template, number, state)
                   SELECT 'text', order_id, 'order_confirmed', 0, 'sending'
                     FROM shop.orders JOIN shop.contacts USING (order_id)
                    WHERE order_id = %s AND status = 'paid'
                   ON CONFLICT (order_id, template, channel, number) DO NOTHING
                   RETURNING order_id""",
                (order_id,),
            )
            if cursor.fetchone() is None:
                return
        provider_id = f"sms-{order_id}"  # the SMS service, likewise
        with self.connection as connection, connection.cursor() as cursor:
            order = _locked(cursor, order_id, Step.NOTIFY_CONFIRMED)
            assert order is not None
            cursor.execute(
                """UPDATE shop.notifications SET state = 'sent', provider_id = %s, updated_at = now()
                    WHERE order_id = %s AND template = 'order_confirmed'""",
                (provider_id, order_id),
            )
            order.ends(EventType.NOTIFICATION_SENT, "paid")

    def award(self, order_id: str) -> None:
        """Credit the customer's points."""
        with self.connection as connection, connection.cursor() as cursor:
            order = _locked(cursor, order_id, Step.AWARD)
            if order is None:
                return
            cursor.execute(
                """INSERT INTO shop.points (order_id, customer_id, points)
                   SELECT order_id, customer_id, total_minor / 100 FROM shop.orders WHERE order_id = %s""",
                (order_id,),
            )
            order.ends(EventType.POINTS_AWARDED, "paid")

    def ship(self, order_id: str) -> None:
        """Let the order's stock leave the house under a shipment number."""
        with self.connection as connection, connection.cursor() as cursor:
            order = _locked(cursor, order_id, Step.SHIP)
            if order is None:
                return
            cursor.execute(
                """UPDATE shop.reservations SET state = 'shipped' WHERE order_id = %s
                   RETURNING product_id, quantity""",
                (order_id,),
            )
            held = dict(cursor.fetchall())
            _lock_stock(cursor, held)
            execute_values(
                cursor,
                """UPDATE shop.stock AS s SET reserved = s.reserved - v.units, shipped = s.shipped + v.units
                     FROM (VALUES %s) AS v (product_id, units) WHERE s.product_id = v.product_id""",
                list(held.items()),
            )
            cursor.execute("INSERT INTO shop.shipments (order_id) VALUES (%s)", (order_id,))
            order.ends(EventType.SHIPMENT_CREATED, "paid")


@dataclass(frozen=True)
class Locked:
    """An order whose row is locked, at a step that is pending."""

    cursor: Any
    order_id: str
    version: int
    step: Step
    others: list[str]  # what else is pending

    def ends(self, event_type: EventType, status: str, sends: Sequence[Step] = ()) -> None:
        """Write the event that ends the step, and the order's new state."""
        pending = [*self.others, *sends]
        if status == "paid" and not pending:
            status = "completed"
        event = events.stored(
            self.order_id, self.version + 1, Event(event_type, self.step), status=status,
            occurred_at=datetime.now(UTC), data={}, actor="peer", trace_id="",
        )  # fmt: skip
        self.cursor.execute(_ADD_EVENT, event)
        self.cursor.execute(_SAVE, (status, pending, self.version + 1, status == "completed", self.order_id))


def _locked(cursor: Any, order_id: str, step: Step) -> Locked | None:
    cursor.execute(_LOCK, (order_id,))
    version, pending = cursor.fetchone()
    if step not in pending:
        return None
    return Locked(cursor, order_id, version, step, [each for each in pending if each != step])


def _lock_stock(cursor: Any, products: Iterable[str]) -> dict[str, int]:
    cursor.execute(
        """SELECT product_id, on_hand FROM shop.stock
            WHERE product_id = ANY(%s) ORDER BY product_id FOR NO KEY UPDATE""",
        (list(products),),
    )
    return dict(cursor.fetchall())


def insert_bare(orders: Sequence[Order], now: datetime, cursor: Any) -> None:
    """Insert what an order is without any message: its row and its items."""
    execute_values(
        cursor,
        """INSERT INTO shop.orders (order_id, customer_id, status, pending, version, currency, total_minor,
               content_sha256, traceparent, placed_at) VALUES %s""",
        [
            (
                order.order_id, order.customer_id, order.currency, order.total_minor,
                order.content_hash(), trace.new(), now,
            )
            for order in orders
        ],
        template="(%s, %s, 'placed', '{reserve}', 1, %s, %s, %s, %s, %s)",
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
        actor="peer", trace_id="",
    )  # fmt: skip
