"""What operators ask about orders. These functions only read, and every list is bounded.

They return frozen dataclasses of plain types, ready to be shown as a table or as JSON.
None of them holds personal data.
"""

import json
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any

import msgspec

from ordermq.errors import OrderNotFound
from ordermq.shop.archives.restoring import Archive, archive_of
from ordermq.shop.events import whole_body
from ordermq.shop.saga import Status
from ordermq.shop.selection import EVERY, Selection
from ordermq.task import Transaction
from ordermq.task.transaction import Row


@dataclass(frozen=True, slots=True)
class OrderRow:
    """An order in a list. ``due_until``: until when another card may be given, if one was ever declined."""

    order_id: str
    customer_id: str
    status: str
    pending: list[str]
    version: int
    currency: str
    total_minor: int
    attention_reason: str | None
    placed_at: datetime
    accepted_at: datetime
    updated_at: datetime
    terminal_at: datetime | None
    traceparent: str
    charge: str
    notify: str
    refunded_minor: int
    due_until: datetime | None
    attributes: dict[str, str]
    held_at: datetime | None


@dataclass(frozen=True, slots=True)
class StuckRow(OrderRow):
    """An order that makes no progress; ``payment_state`` is None if no payment was begun."""

    payment_state: str | None


@dataclass(frozen=True, slots=True)
class ItemRow:
    """A line of an order, and the state of the product's reservation.

    ``refunded`` and ``returned`` are units that were paid back, and that came back.
    """

    line_no: int
    product_id: str
    quantity: int
    unit_price_minor: int
    freight_minor: int
    reservation: str | None
    refunded: int
    returned: int


@dataclass(frozen=True, slots=True)
class AdjustmentRow:
    """An amount beside the items: of a line, or of the whole order if ``line_no`` is 0."""

    line_no: int
    kind: str
    amount_minor: int
    label: str


@dataclass(frozen=True, slots=True)
class EventRow:
    """An event; ``body`` is its JSON, with the trace id that is only stored with the order."""

    version: int
    type: str
    step: str | None
    occurred_at: datetime
    body: str


@dataclass(frozen=True, slots=True)
class MessageRow:
    """A message of the order. ``place`` is the table that knows it: ``outbox``, ``inbox`` or ``dead``."""

    place: str
    queue: str
    message_id: str
    outcome: str
    hop: int
    at: datetime
    note: str | None


@dataclass(frozen=True, slots=True)
class PaymentRow:
    """The order's payment."""

    state: str
    amount_minor: int
    currency: str
    idempotency_key: str
    capture_id: str | None
    refund_id: str | None
    reason: str | None
    updated_at: datetime


@dataclass(frozen=True, slots=True)
class EarlierPayment:
    """A capture before the present one: declined, or refunded before the order was opened again."""

    capture_no: int
    state: str
    idempotency_key: str
    capture_id: str | None
    reason: str | None
    ended_at: datetime


@dataclass(frozen=True, slots=True)
class RefundDetail:
    """Money or goods of the order that went back; ``lines`` are numbers of lines with units of each."""

    refund_no: int
    state: str
    amount_minor: int
    request: str
    lines: list[list[int]]
    is_restocked: bool
    idempotency_key: str | None
    refund_id: str | None
    requested_at: datetime
    updated_at: datetime


@dataclass(frozen=True, slots=True)
class NotificationRow:
    """A notification of the customer; ``number`` counts refunds or declined cards, else it is 0."""

    template: str
    channel: str
    number: int
    state: str
    provider_id: str | None
    reason: str | None
    updated_at: datetime


@dataclass(frozen=True, slots=True)
class OrderDetail:
    """Everything about one order but the customer's contact."""

    order: OrderRow
    items: list[ItemRow]
    adjustments: list[AdjustmentRow]
    events: list[EventRow]
    messages: list[MessageRow]
    payment: PaymentRow | None
    earlier_payments: list[EarlierPayment]
    refunds: list[RefundDetail]
    notifications: list[NotificationRow]
    archive: Archive | None
    shipment_number: int | None
    points: int | None


@dataclass(frozen=True, slots=True)
class StockRow:
    """A product's stock."""

    product_id: str
    loaded: int
    on_hand: int
    reserved: int
    shipped: int


@dataclass(frozen=True, slots=True)
class Latency:
    """Seconds from acceptance to the terminal status, of ``orders`` orders; None if there are none."""

    orders: int
    p50_s: float | None
    p99_s: float | None


_ORDER = """order_id, customer_id, status, pending, version, currency, total_minor, attention_reason,
    placed_at, accepted_at, updated_at, terminal_at, traceparent, charge, notify, refunded_minor,
    due_until, attributes,
    (SELECT held_at FROM ordermq.holds WHERE correlation_id = order_id AND released_at IS NULL) AS held_at"""

_GET = f"SELECT {_ORDER} FROM shop.orders WHERE order_id = %s"  # noqa: S608 # _ORDER is a constant

# psycopg2 writes the values into the statement, so the planner sees which conditions there are.
_LIST = f"SELECT {_ORDER} FROM shop.orders WHERE %s ORDER BY accepted_at DESC, order_id LIMIT %%(limit)s"  # noqa: S608 # as above

_NEWEST_HAVING = f"""
    SELECT o.* FROM ({{having}} ORDER BY accepted_at DESC, order_id OFFSET 0) AS found
     CROSS JOIN LATERAL (SELECT {_ORDER} FROM shop.orders
                          WHERE order_id = found.order_id AND {{condition}}) AS o
     ORDER BY found.accepted_at DESC, found.order_id LIMIT %(limit)s
"""  # noqa: S608 # as above

_COUNT_HAVING = """
    SELECT count(*) FROM (SELECT FROM shop.order_attributes
                           WHERE name = %s AND value = %s LIMIT 10000) AS few
"""

# An order is accepted before it is updated, so the condition on accepted_at loses none. It has an index.
# An order that waits by design is not stuck: for another card, for the customer to confirm a payment, or
# because a person holds it back. When the time of the first two is over, it has as long as any other. Each
# payment is looked up by itself: the planner would read all of them.
IS_STUCK = """is_under_way
       AND accepted_at < now() - %(older_than_s)s * interval '1 second'
       AND updated_at < now() - %(older_than_s)s * interval '1 second'
       AND NOT (status = 'payment_due' AND due_until > now() - %(older_than_s)s * interval '1 second')
       AND NOT EXISTS (SELECT FROM ordermq.holds AS h
                        WHERE h.correlation_id = order_id AND h.released_at IS NULL)
       AND NOT (status = 'reserved' AND coalesce(
             (SELECT p.state = 'requires_action'
                     AND p.action_at > now() - (%(action_s)s + %(older_than_s)s) * interval '1 second'
                FROM shop.payments AS p WHERE p.order_id = orders.order_id), false))"""

_STUCK = f"""
    SELECT stuck.*, p.state
      FROM (SELECT {_ORDER} FROM shop.orders WHERE {IS_STUCK}
             ORDER BY accepted_at, order_id LIMIT %(limit)s) AS stuck
      LEFT JOIN shop.payments AS p USING (order_id)
     ORDER BY accepted_at, order_id
"""  # noqa: S608 # as above

_COUNT_STUCK = f"""
    SELECT count(*) FROM (SELECT FROM shop.orders WHERE {IS_STUCK} LIMIT %(limit)s) AS stuck
"""  # noqa: S608 # as above

_COUNT_ATTENTION = """
    SELECT count(*) FROM (SELECT FROM shop.orders WHERE attention_reason IS NOT NULL LIMIT %s) AS waiting
"""

_ITEMS = """
    SELECT i.line_no, i.product_id, i.quantity, i.unit_price_minor, i.freight_minor, r.state,
           i.refunded, i.returned
      FROM shop.order_items AS i LEFT JOIN shop.reservations AS r USING (order_id, product_id)
     WHERE i.order_id = %s ORDER BY i.line_no
"""

_ADJUSTMENTS = """
    SELECT line_no, kind, amount_minor, label FROM shop.order_adjustments
     WHERE order_id = %s ORDER BY line_no, adjustment_no
"""

_EVENTS = """
    SELECT version, type, step, occurred_at, body
      FROM shop.order_events WHERE order_id = %s ORDER BY version
"""

# A message_id is order_id:version:queue, so these are all ids that the order's events may have sent, of
# archived events too.
_MESSAGES = """
    WITH ids AS (
        SELECT queue, o.order_id || ':' || event_no || ':' || queue AS message_id
          FROM shop.orders AS o, generate_series(1, o.version) AS event_no, unnest(%(queues)s) AS queue
         WHERE o.order_id = %(order_id)s)
    SELECT 'inbox', i.queue, i.message_id, i.outcome, i.hop, i.settled_at, NULL
      FROM ids JOIN ordermq.inbox AS i USING (queue, message_id)
    UNION ALL
    SELECT 'outbox', routing_key, message_id, CASE WHEN refusals > 0 THEN 'refused' ELSE 'waiting' END, hop,
           available_at, coalesce(refused_reason, last_error)
      FROM ordermq.outbox WHERE correlation_id = %(order_id)s
    UNION ALL
    SELECT 'dead', queue, message_id,
           CASE WHEN replayed_at IS NOT NULL THEN 'replayed' WHEN discarded_at IS NOT NULL THEN 'discarded'
                ELSE 'dead' END, hop, died_at, dead_letter_id || ': ' || reason
      FROM ordermq.dead_letters WHERE correlation_id = %(order_id)s
    ORDER BY 6
"""

_PAYMENT = """
    SELECT state, amount_minor, currency, idempotency_key, capture_id, refund_id, reason, updated_at
      FROM shop.payments WHERE order_id = %s
"""

_EARLIER_PAYMENTS = """
    SELECT capture_no, state, idempotency_key, capture_id, reason, ended_at
      FROM shop.earlier_payments WHERE order_id = %s ORDER BY capture_no
"""

_REFUNDS = """
    SELECT refund_no, state, amount_minor, request, lines, is_restocked, idempotency_key,
           refund_id, requested_at, updated_at
      FROM shop.refunds WHERE order_id = %s ORDER BY refund_no
"""

_NOTIFICATIONS = """
    SELECT template, channel, number, state, provider_id, reason, updated_at
      FROM shop.notifications WHERE order_id = %s ORDER BY updated_at
"""

_STOCK = """
    SELECT product_id, loaded, on_hand, reserved, shipped FROM shop.stock
     WHERE %(products)s::text[] IS NULL OR product_id = ANY(%(products)s)
     ORDER BY product_id LIMIT %(limit)s
"""

# The first of these events cancelled the order; a later one only says how a step ended. What came
# before the order was reopened does not count. Which it was of an archived order only its file says.
_CANCELLATIONS = """
    SELECT type, count(*)
      FROM (SELECT DISTINCT ON (order_id) type FROM shop.order_events AS e
             WHERE NOT EXISTS (SELECT FROM shop.order_events AS later
                                WHERE later.order_id = e.order_id AND later.version > e.version
                                  AND later.type IN ('order_reopened', 'order_rewound'))
               AND type IN ('stock_rejected', 'reservation_failed', 'payment_declined', 'payment_failed',
                            'payment_expired', 'cancel_requested')
             ORDER BY order_id, version) AS causes
     GROUP BY type
    UNION ALL
    SELECT 'archived', count(*) FROM shop.orders
     WHERE archive_id IS NOT NULL AND status IN ('cancelled', 'refunded') HAVING count(*) > 0
"""

_LATENCY = """
    SELECT count(*), percentile_cont(0.5) WITHIN GROUP (ORDER BY seconds),
           percentile_cont(0.99) WITHIN GROUP (ORDER BY seconds)
      FROM (SELECT extract(epoch FROM terminal_at - accepted_at)::float8 AS seconds
              FROM shop.orders WHERE terminal_at IS NOT NULL AND accepted_at >= %s) AS finished
"""


def show(order_id: str, tx: Transaction, *, queues: Sequence[str]) -> OrderDetail:
    """Return everything about an order. ``queues`` are those with handlers. Raises OrderNotFound."""
    row = tx.fetch_one(_GET, (order_id,))
    if row is None:
        raise OrderNotFound(f"no order {order_id[:80]!r}")
    order = OrderRow(*row)
    payment = tx.fetch_one(_PAYMENT, (order_id,))
    messages = tx.fetch_all(_MESSAGES, {"order_id": order_id, "queues": list(queues)})
    return OrderDetail(
        order=order,
        items=[ItemRow(*each) for each in tx.fetch_all(_ITEMS, (order_id,))],
        adjustments=[AdjustmentRow(*each) for each in tx.fetch_all(_ADJUSTMENTS, (order_id,))],
        events=[_event(each, order.traceparent) for each in tx.fetch_all(_EVENTS, (order_id,))],
        messages=[MessageRow(*each) for each in messages],
        payment=PaymentRow(*payment) if payment else None,
        earlier_payments=[EarlierPayment(*each) for each in tx.fetch_all(_EARLIER_PAYMENTS, (order_id,))],
        refunds=[RefundDetail(*each) for each in tx.fetch_all(_REFUNDS, (order_id,))],
        notifications=[NotificationRow(*each) for each in tx.fetch_all(_NOTIFICATIONS, (order_id,))],
        archive=archive_of(order_id, tx),
        shipment_number=_one(tx, "SELECT shipment_number FROM shop.shipments WHERE order_id = %s", order_id),
        points=_one(tx, "SELECT points FROM shop.points WHERE order_id = %s", order_id),
    )


def _event(row: Row, traceparent: str) -> EventRow:
    body = bytes(row[4])
    with suppress(msgspec.DecodeError):  # it is shown as it is
        body, _ = whole_body(body, traceparent)
    return EventRow(row[0], row[1], row[2], row[3], body.decode())


def select(tx: Transaction, chosen: Selection = EVERY, *, limit: int = 100) -> list[OrderRow]:
    """Return the chosen orders, the last accepted first."""
    if chosen.attributes and not chosen.is_of_few:
        sql, params = _by_attributes(tx, chosen)
    else:
        condition, params = chosen.condition()
        sql = _LIST % condition
    return [OrderRow(*row) for row in tx.fetch_all(sql, {**params, "limit": limit})]


def _by_attributes(tx: Transaction, chosen: Selection) -> tuple[str, dict[str, Any]]:
    """Return the query that reads orders from the index of attributes, and what it binds.

    The index has the newest orders with an attribute first, however many there are. Of many attributes it is
    asked for the rarest, and the orders found say whether they have the others.
    """
    attributes = list(dict(chosen.attributes).items())
    rarest = min(attributes, key=lambda each: _count_having(tx, *each)) if attributes[1:] else attributes[0]
    [having], wanted = Selection(attributes=(rarest,)).having("accepted_at, order_id")
    condition, params = replace(chosen, attributes=()).condition()
    if attributes[1:]:
        condition += " AND attributes @> %(attributes)s::jsonb"
        params["attributes"] = json.dumps(dict(attributes))
    return _NEWEST_HAVING.format(having=having, condition=condition), {**params, **wanted}


def _count_having(tx: Transaction, name: str, value: str) -> int:
    row = tx.fetch_one(_COUNT_HAVING, (name, value))
    return int(row[0]) if row else 0


def stuck(tx: Transaction, *, older_than_s: float, action_s: float, limit: int = 100) -> list[StuckRow]:
    """Return orders under way without an event for ``older_than_s`` seconds, the oldest first.

    Those that wait by design are left out; ``action_s`` is how long a customer may take to confirm a payment.
    """
    params = {"older_than_s": older_than_s, "action_s": action_s, "limit": limit}
    return [StuckRow(*row) for row in tx.fetch_all(_STUCK, params)]


def count_stuck(tx: Transaction, *, older_than_s: float, action_s: float, limit: int = 100_000) -> int:
    """Return how many orders ``stuck`` would find, counted up to ``limit``."""
    params = {"older_than_s": older_than_s, "action_s": action_s, "limit": limit}
    row = tx.fetch_one(_COUNT_STUCK, params)
    return int(row[0]) if row else 0


def count_attention(tx: Transaction, limit: int = 100_000) -> int:
    """Return how many orders need a person, counted up to ``limit``."""
    row = tx.fetch_one(_COUNT_ATTENTION, (limit,))
    return int(row[0]) if row else 0


def stock(tx: Transaction, *, products: Sequence[str] | None = None, limit: int = 1000) -> list[StockRow]:
    """Return the stock of these products, or of all, sorted by product_id."""
    params = {"products": None if products is None else list(products), "limit": limit}
    return [StockRow(*row) for row in tx.fetch_all(_STOCK, params)]


def count_by_status(tx: Transaction) -> dict[Status, int]:
    """Return how many orders are in each status, also if there are none. Reads the whole table."""
    counts = dict.fromkeys(Status, 0)
    for status, count in tx.fetch_all("SELECT status, count(*) FROM shop.orders GROUP BY status"):
        counts[Status(status)] = count
    return counts


def count_cancellations(tx: Transaction) -> dict[str, int]:
    """Return how many orders were cancelled by each type of event. Reads all events.

    ``archived`` counts those whose events are in files.
    """
    return dict(tx.fetch_all(_CANCELLATIONS))


def count_under_way(tx: Transaction) -> int:
    """Return how many orders are not finished: their status is not terminal, or a step is pending."""
    row = tx.fetch_one("SELECT count(*) FROM shop.orders WHERE is_under_way")
    return int(row[0]) if row else 0


def latency(tx: Transaction, *, since: datetime) -> Latency:
    """Return how long orders accepted since ``since`` took to reach their terminal status."""
    row = tx.fetch_one(_LATENCY, (since,))
    return Latency(*row) if row else Latency(0, None, None)


def currency_of(order_id: str, tx: Transaction) -> str:
    """Return the currency of an order. Raises OrderNotFound."""
    currency = _one(tx, "SELECT currency FROM shop.orders WHERE order_id = %s", order_id)
    if currency is None:
        raise OrderNotFound(f"no order {order_id[:80]!r}")
    return str(currency)


def _one(tx: Transaction, sql: str, order_id: str) -> Any:
    row = tx.fetch_one(sql, (order_id,))
    return row[0] if row else None
