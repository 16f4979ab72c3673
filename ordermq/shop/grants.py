"""What each role needs of the shop's tables; ``ordermq.store.grants`` says how a line is written.

Personal data stands in shop.contacts alone. The payment consumer reads cards there, those of texts and
e-mails read phone numbers and addresses; what places orders only writes them. The history of orders is added
to by each role that changes an order, and no role may change it. One may move it into files.
"""

from collections.abc import Mapping, Sequence

# Where the events of an order are that are not in the table.
_ARCHIVES = ("SELECT ON shop.archives", "SELECT ON shop.restored_archives")
# What Journal reads and writes: the state of orders, and nothing else that was ordered.
_JOURNAL = (
    "SELECT, UPDATE (status, pending, version, refunded_minor, updated_at, attention_reason, terminal_at,"
    " due_until) ON shop.orders",
    "INSERT ON shop.order_events",
    "SELECT (order_id, action_at) ON shop.payments",
    *_ARCHIVES,
)
_HISTORY = "SELECT ON shop.order_events"
_OUTWARD = (_HISTORY, "SELECT (order_id, traceparent) ON shop.orders")
_ENDS_RESERVATIONS = (
    "SELECT, UPDATE (on_hand, reserved, shipped) ON shop.stock",
    "SELECT, UPDATE (state) ON shop.reservations",
)
_TELLS = (
    _HISTORY,
    "SELECT, INSERT, UPDATE (state, provider_id, reason, updated_at) ON shop.notifications",
)
_SAVES_REFUNDS = (
    "SELECT, UPDATE (amount_minor, state, idempotency_key, called_at, refund_id, updated_at) ON shop.refunds"
)
_SAVES_PAYMENTS = (
    "SELECT, UPDATE (state, reason, capture_id, refund_id, action_at, updated_at) ON shop.payments"
)
# Another card: the capture before is written down, and the next one begins.
_REPLACES_CARDS = (
    "SELECT, UPDATE (capture_no, idempotency_key, state, capture_id, refund_id, reason, action_at,"
    " updated_at) ON shop.payments",
    "SELECT, INSERT ON shop.earlier_payments",
    "SELECT (order_id, card_token), UPDATE (card_token) ON shop.contacts",
)
_GIVES_BACK = (
    "INSERT ON shop.refunds",
    _SAVES_REFUNDS,
    "SELECT, UPDATE (refunded, returned) ON shop.order_items",
    "SELECT ON shop.order_adjustments",
    "SELECT, UPDATE (returned) ON shop.reservations",
    "SELECT, UPDATE (on_hand, shipped) ON shop.stock",
    "INSERT ON ordermq.actions",
)
_ALL_BUT_CONTACTS = tuple(
    f"SELECT ON shop.{table}"
    for table in (
        "orders", "order_items", "order_adjustments", "order_attributes", "order_events", "stock",
        "reservations", "payments", "earlier_payments", "refunds", "notifications", "points",
        "points_bookings", "shipments", "archives", "restored_archives",
    )
)  # fmt: skip

GRANTS: Mapping[str, Sequence[str]] = {
    # Any consumer may meet a message that no handler can read, and have a person look at its order.
    "consumer": _JOURNAL,
    "consumer-inventory": (
        _HISTORY,
        "SELECT (order_id, product_id, quantity) ON shop.order_items",
        *_ENDS_RESERVATIONS,
        "INSERT ON shop.reservations",
    ),
    "consumer-payment": (
        "INSERT ON shop.payments",
        "UPDATE (called_at, first_called_at) ON shop.payments",
        _SAVES_PAYMENTS,
        "SELECT, UPDATE (state, capture_id) ON shop.earlier_payments",
        _SAVES_REFUNDS,
        "INSERT ON shop.refunds",
        "SELECT (order_id, card_token) ON shop.contacts",
    ),
    "consumer-notify": (*_TELLS, "SELECT (order_id, phone, email) ON shop.contacts"),
    "consumer-email": (*_TELLS, "SELECT (order_id, phone, email) ON shop.contacts"),
    "consumer-points": (
        "SELECT, INSERT, UPDATE (points) ON shop.points",
        "SELECT, INSERT, UPDATE (booked_at) ON shop.points_bookings",
        "SELECT (order_id, capture_no) ON shop.payments",
        "SELECT (order_id, refund_no, state, capture_no) ON shop.refunds",
    ),
    "consumer-shipping": (*_ENDS_RESERVATIONS, "SELECT, INSERT ON shop.shipments"),
    "consumer-dead": _TELLS,
    # What places orders: your application, 'ordermq-publish orders'.
    "shop": (
        "INSERT ON ordermq.outbox",
        "SELECT (order_id, content_sha256, status), INSERT ON shop.orders",
        "INSERT ON shop.order_items",
        "INSERT ON shop.order_adjustments",
        "INSERT ON shop.contacts",
        "INSERT ON shop.payments",
        "INSERT ON shop.order_events",
    ),
    # What changes orders for customers: pay_order, cancel_order, refund_order, return_goods.
    "shop-service": ("INSERT ON ordermq.outbox", *_JOURNAL, *_REPLACES_CARDS, *_GIVES_BACK),
    "relay": (
        "SELECT (order_id, is_under_way, accepted_at, updated_at, attention_reason, status, due_until,"
        " currency, total_minor) ON shop.orders",
        "SELECT (order_id, state, action_at, called_at) ON shop.payments",
    ),
    "audit": (_HISTORY, "SELECT (order_id, archive_id) ON shop.orders", *_ARCHIVES),
    # What moves events into files and back: no other role deletes them, and it only those that a file has.
    "shop-archive": (
        "SELECT, UPDATE (archive_id, archived_version) ON shop.orders",
        "SELECT, INSERT, DELETE ON shop.order_events",
        "SELECT, INSERT ON shop.archives",
        "SELECT, INSERT ON shop.restored_archives",
        "SELECT, DELETE ON ordermq.unnumbered",
        "SELECT ON ordermq.positions",
        "SELECT ON ordermq.checkpoints",
        "SELECT ON ordermq.feeds",
        "SELECT (correlation_id, released_at) ON ordermq.holds",
        "SELECT (correlation_id) ON ordermq.outbox",
        "SELECT (correlation_id, replayed_at, discarded_at) ON ordermq.dead_letters",
        "SELECT (message_id) ON ordermq.leases",
        "SELECT (order_id, state) ON shop.payments",
        "INSERT ON ordermq.actions",
    ),
    "forward": _OUTWARD,
    "events": _OUTWARD,
    "monitor": _ALL_BUT_CONTACTS,
    "reconcile": (*_ALL_BUT_CONTACTS, "TEMPORARY ON DATABASE"),
    "operator-write": (
        *_JOURNAL,
        *_REPLACES_CARDS,
        *_GIVES_BACK,
        "DELETE ON shop.reservations",
        "INSERT, DELETE, UPDATE (state, provider_id, reason, updated_at) ON shop.notifications",
        "DELETE ON shop.points",
        "INSERT, UPDATE (loaded, on_hand) ON shop.stock",
        "SELECT (order_id, phone, email, name) ON shop.contacts",  # an export says which of them there are
        "TEMPORARY ON DATABASE",
    ),
}
