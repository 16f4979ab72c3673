"""Compare the rows of orders with their events, and write anew what differs, while orders go on.

No table is built beside and swapped. Twelve tables refer to shop.orders, and its lock would stop handlers;
half of its columns are no projection and would only be copied. A row that agrees stays as it is, and one that
differs is written anew under its lock, so nothing has to catch up.

Invariants
    PRJ1  Rows and events of an order are compared in one snapshot, so an order that changes meanwhile
        does not differ.
    PRJ2  An order is repaired while its row is locked, by the events that there are then; all of its rows
        change in one transaction.
    PRJ3  No event is written, and no column that its history does not say: a repeated run finds nothing.
"""

from collections import defaultdict
from collections.abc import Sequence
from typing import Any

import msgspec

from ordermq.shop.projection import ITEMS, ORDERS, Compared, StoredOrder, compare, values_of
from ordermq.store import StoreTransaction, actions

AT_ONCE = 500  # orders in one transaction

_COUNTS = frozenset({"refunded", "returned"})  # what handlers and operators change of a line

_STORED = """
    SELECT o.order_id, o.customer_id, o.currency, o.total_minor, encode(o.content_sha256, 'hex'), o.charge,
           o.notify, o.status, o.pending, o.version, o.refunded_minor, o.attention_reason IS NOT NULL,
           o.terminal_at IS NOT NULL,
           (SELECT s.shipment_number FROM shop.shipments AS s WHERE s.order_id = o.order_id),
           (SELECT '[' || string_agg(convert_from(e.body, 'UTF8'), ',' ORDER BY e.version) || ']'
              FROM shop.order_events AS e WHERE e.order_id = o.order_id),
           (SELECT '[' || string_agg('[' || i.line_no || ',' || to_json(i.product_id) || ',' || i.quantity
                       || ',' || i.unit_price_minor || ',' || i.freight_minor || ',' || i.refunded || ','
                       || i.returned || ']', ',' ORDER BY i.line_no) || ']'
              FROM shop.order_items AS i WHERE i.order_id = o.order_id),
           (SELECT json_agg(json_build_array(a.line_no, a.adjustment_no, a.kind, a.amount_minor)
                            ORDER BY a.line_no, a.adjustment_no)::text
              FROM shop.order_adjustments AS a WHERE a.order_id = o.order_id), o.archive_id IS NOT NULL
      FROM shop.orders AS o WHERE o.order_id = ANY(%s)
"""

# As Journal locks orders (JRN2).
_LOCK = """
    SELECT FROM shop.orders WHERE order_id = ANY(%s) ORDER BY order_id COLLATE "C" FOR NO KEY UPDATE
"""

_COLUMN_TYPES = {
    "pending": "text[]", "version": "integer", "refunded_minor": "bigint", "total_minor": "bigint",
    "content_sha256": "bytea", "terminal_at": "timestamptz",
}  # fmt: skip

_COUNT_ITEMS = """
    UPDATE shop.order_items AS i SET refunded = v.refunded, returned = v.returned
      FROM (VALUES %s) AS v (order_id, line_no, refunded, returned)
     WHERE i.order_id = v.order_id AND i.line_no = v.line_no
"""

_FORGET_ITEMS = "DELETE FROM shop.order_items WHERE order_id = %s AND line_no > %s"

_SAVE_ITEMS = """
    INSERT INTO shop.order_items
        (order_id, line_no, product_id, quantity, unit_price_minor, freight_minor, refunded, returned)
    VALUES %s
    ON CONFLICT (order_id, line_no) DO UPDATE
       SET (product_id, quantity, unit_price_minor, freight_minor, refunded, returned)
         = (excluded.product_id, excluded.quantity, excluded.unit_price_minor, excluded.freight_minor,
            excluded.refunded, excluded.returned)
"""


def compare_orders(order_ids: Sequence[str], tx: StoreTransaction) -> list[Compared]:
    """Return those of these orders that there are, with their folds and how they differ (PRJ1)."""
    return [compare(StoredOrder._make(row)) for row in tx.fetch_all(_STORED, (list(order_ids),))]


def repair_orders(order_ids: Sequence[str], tx: StoreTransaction, *, by: str, reason: str) -> list[Compared]:
    """Write anew what differs of these orders and can be repaired, in the caller's transaction (PRJ2).

    Returns what differed, and records an action for each order that was changed.
    """
    tx.write(_LOCK, (list(order_ids),))
    found = [each for each in compare_orders(order_ids, tx) if each.differences]
    _save_orders(found, tx)
    _save_items(found, tx)
    for each in found:
        if columns := dict.fromkeys(one.column for one in each.differences if one.is_repairable):
            subject, what = f"order {each.stored.order_id}", ", ".join(columns)
            actions.record(tx, by, "projection.rebuild", [subject], f"{what}: {reason}")
    return found


def _save_orders(found: Sequence[Compared], tx: StoreTransaction) -> None:
    """Update columns that differ and no others: who repairs needs the right to change these alone."""
    by_columns: defaultdict[tuple[str, ...], list[Compared]] = defaultdict(list)
    for each in found:
        columns = tuple(one.column for one in each.differences if one.table == ORDERS)
        if columns:
            by_columns[columns].append(each)
    for columns, orders in sorted(by_columns.items()):
        names = ", ".join(columns)
        sets = ", ".join(f"{each} = v.{each}" for each in columns)
        types = ", ".join(f"%s::{_COLUMN_TYPES.get(each, 'text')}" for each in columns)
        tx.write_values(
            f"UPDATE shop.orders AS o SET {sets} FROM (VALUES %s) AS v (order_id, {names})"  # noqa: S608 # names of columns
            " WHERE o.order_id = v.order_id",
            [(each.stored.order_id, *values_of(each, columns)) for each in orders],
            template=f"(%s, {types})",
        )


def _save_items(found: Sequence[Compared], tx: StoreTransaction) -> None:
    """Write the lines of orders of which one differs; there are none beyond the last that was ordered."""
    counts: list[tuple[Any, ...]] = []
    whole: list[tuple[Any, ...]] = []
    for each in found:
        columns = {one.column for one in each.differences if one.table == ITEMS}
        order_id, lines = each.stored.order_id, each.order.lines if each.order else ()
        if columns and columns <= _COUNTS:
            counts += [(order_id, line.line_no, line.refunded, line.returned) for line in lines]
        elif columns:
            tx.write(_FORGET_ITEMS, (order_id, len(lines)))
            whole += [(order_id, *msgspec.structs.astuple(line)) for line in lines]
    tx.write_values(_COUNT_ITEMS, counts)
    tx.write_values(_SAVE_ITEMS, whole)
