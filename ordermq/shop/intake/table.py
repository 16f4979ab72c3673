"""Orders as CSV: a header, then one row for each item; the rows of an order may stand anywhere.

    order_id,customer_id,currency,product_id,quantity,unit_price,card_token,phone
    A-1,C-7,EUR,P-1,2,12.99,tok_1,+4930123456
    A-1,C-7,EUR,P-9,1,3.50,tok_1,+4930123456

Required columns: order_id, customer_id, currency, product_id, quantity, and either
unit_price (decimal) or unit_price_minor (cents). Optional: card_token, freight or
freight_minor, total or total_minor (without them the sum of all amounts), a column for each
kind of adjustment of the order, such as discount or discount_minor, and of the line, such
as item_discount or item_discount_minor, paid_reference, phone, email, name, notify,
placed_at (RFC 3339 with its zone). Cells are separated by commas and quoted as in
RFC 4180; a line break inside of quotes counts as a space. A cell that describes the order
and not the item must be the same in each row of the order, or empty after the first row.

An order is taken whole or rejected whole, because half an order must not be placed. So the
whole file is read before the first order is taken. A row that cannot be read rejects its
order. If it does not even say which order is its own, the order of the row before it and that
of the row behind it are rejected too, unless their ``total`` proves that nothing is missing.
"""

import re
from collections.abc import Iterable, Iterator, Mapping
from contextlib import closing
from datetime import datetime
from decimal import Decimal
from typing import cast

from ordermq.cli.records import Line, Reject, reject
from ordermq.errors import BadInput
from ordermq.shop.adjustment import Adjustment, AdjustmentKind, sum_of
from ordermq.shop.intake.record import Entry
from ordermq.shop.intake.rows import Key, read_rows, split
from ordermq.shop.intake.spool import UNREADABLE, Record, Spool
from ordermq.shop.model import MAX_ITEMS, Contact, Item, Notify, Order, PaidBefore
from ordermq.shop.money import minor_units

ORDER_ID = "order_id"
OF_ITEM = "item_"  # before the name of a kind: the adjustment is the line's, not the order's

_NEEDED = ("order_id", "customer_id", "currency", "product_id", "quantity")
_ORDER_AMOUNTS = ("total", *AdjustmentKind)
_ITEM_AMOUNTS = ("unit_price", "freight", *(f"{OF_ITEM}{kind}" for kind in AdjustmentKind))
_EITHER = [(name, f"{name}_minor") for name in (*_ORDER_AMOUNTS, *_ITEM_AMOUNTS)]
_ITEM = {"product_id", "quantity", *_ITEM_AMOUNTS, *(f"{name}_minor" for name in _ITEM_AMOUNTS)}
_POSSIBLE = ("card_token", "paid_reference", "phone", "email", "name", "notify", "placed_at")
_KNOWN = {*_NEEDED, *_POSSIBLE, *(name for pair in _EITHER for name in pair)}

_WHOLE = re.compile(r"-?[0-9]{1,18}", re.ASCII)
_DECIMAL = re.compile(r"-?[0-9]{1,18}(\.[0-9]{1,6})?", re.ASCII)
# These can only lower a total, so a minus before them says nothing.
_LOWERING = frozenset({AdjustmentKind.DISCOUNT, AdjustmentKind.GIFT_CARD})

Cells = Mapping[str, str]


def read_table(lines: Iterable[Line | Reject]) -> Iterator[Entry | Reject]:
    """Yield each order, or a reject, in the order of their first rows.

    Reads all lines before it yields the first order. Raises BadInput if the first line is
    not a valid header.
    """
    source = iter(lines)
    for first in source:
        if isinstance(first, Line):
            columns = _header(first)
            break
        yield first
    else:
        return
    with closing(Spool()) as spool:
        spool.fill(read_rows(source, columns, Key(ORDER_ID)), f"{ORDER_ID}: empty")
        for record in spool.records():
            yield _taken(record, spool)


def _taken(record: Record, spool: Spool) -> Entry | Reject:
    line = Line(record.line, record.text)
    if not record.order_id:
        return reject(line, record.problem)
    rows = spool.rows(record.order_id, MAX_ITEMS + 1)
    try:
        for row in rows:
            if row.problem:
                raise BadInput(f"{UNREADABLE}: line {row.line}, {row.problem}")
        if len(rows) > MAX_ITEMS:
            raise BadInput(f"more than {MAX_ITEMS} rows")
        cells = [row.cells for row in rows]
        if record.doubt and not _has_total(cells[0]):
            raise BadInput(record.doubt)
        return Entry(record.line, _order(cells))
    except BadInput as exc:
        return reject(line, exc, record.order_id[:64])


def _has_total(cells: Cells) -> bool:
    """Return whether the order states its total: then a row that is missing shows."""
    return bool(cells.get("total") or cells.get("total_minor"))


def _header(line: Line) -> list[str]:
    columns = [name.lower() for name in split(line.text)]
    missing = [name for name in _NEEDED if name not in columns]
    if not {"unit_price", "unit_price_minor"} & set(columns):
        missing.append("unit_price (or unit_price_minor)")
    if missing:
        raise BadInput(
            f"line {line.number} is neither a JSON object nor a CSV header with {', '.join(missing)}"
        )
    unknown = [name for name in columns if name not in _KNOWN]
    if unknown:
        raise BadInput(
            f"line {line.number}: unknown column {unknown[0]!r}; possible: {', '.join(sorted(_KNOWN))}"
        )
    for twice in {name for name in columns if columns.count(name) > 1}:
        raise BadInput(f"line {line.number}: column {twice!r} is there twice")
    for decimal, minor in _EITHER:
        if decimal in columns and minor in columns:
            raise BadInput(f"line {line.number}: {decimal} and {minor} say the same; keep one")
    return columns


def _order(rows: list[Cells]) -> Order:
    common = _common(rows)
    currency = common["currency"]
    items = tuple(_item(row, currency) for row in rows)
    adjustments = _adjustments(common, "", currency)
    total_minor = _amount(common, "total", currency)
    if total_minor is None:
        total_minor = sum(item.amount_minor for item in items) + sum_of(adjustments)
    reference = common.get("paid_reference")
    return Order(
        order_id=common["order_id"],
        customer_id=common["customer_id"],
        currency=currency,
        items=items,
        total_minor=total_minor,
        card_token=common.get("card_token") or None,
        contact=Contact(
            phone=common.get("phone") or None,
            email=common.get("email") or None,
            name=common.get("name") or None,
        ),
        placed_at=_instant(common.get("placed_at", "")),
        adjustments=adjustments,
        payment=PaidBefore(reference=reference) if reference else None,
        notify=cast(Notify | None, common.get("notify") or None),  # checked where the order is made
    )


def _common(rows: list[Cells]) -> Cells:
    """Return the cells that describe the order. Raises BadInput if rows contradict each other."""
    first = rows[0]
    for row in rows[1:]:
        for name in first.keys() - _ITEM:
            if row[name] not in ("", first[name]):
                raise BadInput(f"{name}: differs between the order's rows")
    return first


def _item(row: Cells, currency: str) -> Item:
    if not _WHOLE.fullmatch(row["quantity"]):
        raise BadInput(f"quantity: {row['quantity'][:40]!r} is not a whole number")
    unit_price_minor = _amount(row, "unit_price", currency)
    if unit_price_minor is None:
        raise BadInput("unit_price: empty")
    return Item(
        product_id=row["product_id"],
        quantity=int(row["quantity"]),
        unit_price_minor=unit_price_minor,
        freight_minor=_amount(row, "freight", currency) or 0,
        adjustments=_adjustments(row, OF_ITEM, currency),
    )


def _adjustments(row: Cells, before: str, currency: str) -> tuple[Adjustment, ...]:
    """Return the adjustments of the cells named ``before`` and a kind. A cell of 0 is as an empty one."""
    found = []
    for kind in AdjustmentKind:
        if amount_minor := _amount(row, f"{before}{kind}", currency):
            found.append(Adjustment(kind, -abs(amount_minor) if kind in _LOWERING else amount_minor))
    return tuple(found)


def _amount(row: Cells, name: str, currency: str) -> int | None:
    """Return an amount in minor units, from the one of its two columns that is there; None if empty."""
    if text := row.get(f"{name}_minor"):
        if not _WHOLE.fullmatch(text):
            raise BadInput(f"{name}_minor: {text[:40]!r} is not a whole number")
        return int(text)
    if text := row.get(name):
        if not _DECIMAL.fullmatch(text):
            raise BadInput(f"{name}: {text[:40]!r} is not an amount like 12.99")
        return minor_units(Decimal(text), currency, name)
    return None


def _instant(text: str) -> datetime | None:
    if not text:
        return None
    try:
        return datetime.fromisoformat(text)
    except ValueError as exc:
        raise BadInput(f"placed_at: {text[:40]!r} is not a time like 2026-01-31T09:30:00Z") from exc
