"""An order and what happened to it as one JSON document, without personal data: ``ordermq order export``.

The contact, the card and what payment services call things are replaced by placeholders, which are
the same each time and of the same kind: a number that can be texted stays one. Labels of adjustments
are left out. Ids of order, customer and products stay, and so do attributes.
``ordermq.shop.testing.replay`` reads the document.
"""

import json
from typing import Any

import msgspec

from ordermq.errors import BadInput, OrderNotFound
from ordermq.shop.adjustment import Adjustment
from ordermq.shop.archives.restoring import refuse_archived
from ordermq.shop.model import Contact, Item, Notify, Order, PaidBefore
from ordermq.shop.phone import is_number
from ordermq.shop.placement import WHOLE_ORDER
from ordermq.shop.recorded import read_body
from ordermq.task import Transaction
from ordermq.task.transaction import Row

FORMAT = "ordermq.order.1"

CARD, PHONE, NO_PHONE = "tok_export", "+15555550100", "no-number"
EMAIL, NAME, REFERENCE = "customer@shop.example", "A Customer", "ref_export"

_ORDER = """
    SELECT o.customer_id, o.currency, o.total_minor, o.placed_at, o.charge, o.notify, o.attributes, o.status,
           c.phone, c.email IS NOT NULL, c.name IS NOT NULL, o.attention_reason IS NOT NULL
      FROM shop.orders AS o JOIN shop.contacts AS c USING (order_id) WHERE order_id = %s
"""

_ITEMS = """
    SELECT line_no, product_id, quantity, unit_price_minor, freight_minor
      FROM shop.order_items WHERE order_id = %s ORDER BY line_no
"""

_ADJUSTMENTS = """
    SELECT line_no, kind, amount_minor FROM shop.order_adjustments
     WHERE order_id = %s ORDER BY line_no, adjustment_no
"""

_EVENTS = """
    SELECT version, type, step, convert_from(body, 'UTF8')
      FROM shop.order_events WHERE order_id = %s ORDER BY version
"""

_DEAD = """
    SELECT queue, type, attempt, reason FROM ordermq.dead_letters
     WHERE correlation_id = %s ORDER BY dead_letter_id
"""

_KEPT = ("reason", "products", "amount_minor", "lines")


def export(order_id: str, tx: Transaction) -> dict[str, Any]:
    """Return the document: {format, order, status, events, dead_letters}.

    Raises OrderNotFound, EventUnreadable, OrderArchived.
    """
    row = tx.fetch_one(_ORDER, (order_id,))
    if row is None:
        raise OrderNotFound(f"no order {order_id[:80]!r}")
    refuse_archived(order_id, tx)
    events = tx.fetch_all(_EVENTS, (order_id,))
    return {
        "format": FORMAT,
        "order": msgspec.to_builtins(_order(order_id, row, tx)),
        "status": row[7],
        "events": [
            {"version": version, "type": type_, "step": step, "data": _kept(body, version, order_id)}
            for version, type_, step, body in events
        ],
        "dead_letters": [
            {"queue": queue, "type": type_, "attempt": attempt, "reason": reason}
            for queue, type_, attempt, reason in tx.fetch_all(_DEAD, (order_id,))
        ],
    }


def read_export(text: str) -> tuple[Order, dict[str, Any]]:
    """Return the order of a document, and the document. Raises BadInput."""
    try:
        document = json.loads(text)
        is_ours = document["format"] == FORMAT
        order = msgspec.convert(document["order"], Order)
    except (ValueError, KeyError, TypeError) as exc:
        raise BadInput(f"not a document of 'ordermq order export': {exc}") from exc
    if not is_ours:
        raise BadInput(f"the document's format is {document['format']!r}, not {FORMAT}")
    return order, document


def _order(order_id: str, row: Row, tx: Transaction) -> Order:
    customer_id, currency, total_minor, placed_at, charge, notify, attributes, _, phone, email, name, _ = row
    adjustments: dict[int, list[Adjustment]] = {}
    for line_no, kind, amount_minor in tx.fetch_all(_ADJUSTMENTS, (order_id,)):
        adjustments.setdefault(line_no, []).append(Adjustment(kind, amount_minor))
    items = tuple(
        Item(
            product_id=product_id, quantity=quantity, unit_price_minor=price, freight_minor=freight,
            adjustments=tuple(adjustments.get(line_no, ())),
        )
        for line_no, product_id, quantity, price, freight in tx.fetch_all(_ITEMS, (order_id,))
    )  # fmt: skip
    return Order(
        order_id=order_id,
        customer_id=customer_id,
        currency=currency,
        items=items,
        total_minor=total_minor,
        card_token=CARD if charge == "card" else None,
        contact=Contact(
            phone=None if phone is None else PHONE if is_number(phone) else NO_PHONE,
            email=EMAIL if email else None,
            name=NAME if name else None,
        ),
        placed_at=placed_at,
        adjustments=tuple(adjustments.get(WHOLE_ORDER, ())),
        payment=PaidBefore(reference=REFERENCE) if charge == "paid" else None,
        notify=Notify(notify),
        attributes=attributes,
    )


def _kept(body: str, version: int, order_id: str) -> dict[str, Any]:
    data = read_body(body, version, order_id).data
    return {name: data[name] for name in _KEPT if name in data}
