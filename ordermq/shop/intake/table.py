"""Orders as CSV: a header, then one row for each item; the rows of an order follow each other.

    order_id,customer_id,currency,product_id,quantity,unit_price,card_token,phone
    A-1,C-7,EUR,P-1,2,12.99,tok_1,+4930123456
    A-1,C-7,EUR,P-9,1,3.50,tok_1,+4930123456

Required columns: order_id, customer_id, currency, product_id, quantity, card_token, and
either unit_price (decimal) or unit_price_minor (cents). Optional: freight or
freight_minor, total or total_minor (without them the sum of the items), phone, email,
name, placed_at (RFC 3339 with its zone). Cells are separated by commas and quoted as in
RFC 4180, without line breaks inside quotes. A cell that describes the order and not the
item must be the same in each row of the order, or empty after the first row.

A row that cannot be read refuses its whole order and no other, because half an order must
not be placed.
"""

import csv
import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from decimal import Decimal

from ordermq.cli.records import Line, Reject, reject
from ordermq.errors import BadInput
from ordermq.shop.intake.record import Entry
from ordermq.shop.model import MAX_ITEMS, Contact, Item, Order
from ordermq.shop.money import minor_units

_NEEDED = ("order_id", "customer_id", "currency", "product_id", "quantity", "card_token")
_EITHER = (("unit_price", "unit_price_minor"), ("freight", "freight_minor"), ("total", "total_minor"))
_ITEM = ("product_id", "quantity", "unit_price", "unit_price_minor", "freight", "freight_minor")
_POSSIBLE = ("phone", "email", "name", "placed_at")
_KNOWN = {*_NEEDED, *_POSSIBLE, *(name for pair in _EITHER for name in pair)}

_WHOLE = re.compile(r"[0-9]{1,18}", re.ASCII)
_DECIMAL = re.compile(r"[0-9]{1,18}(\.[0-9]{1,6})?", re.ASCII)

Row = Mapping[str, str]


@dataclass
class _Group:
    """The rows of one order so far, and the first problem with them, if there is one."""

    first: Line
    order_id: str
    rows: list[Row] = field(default_factory=list)
    problem: str | None = None

    def add(self, row: Row) -> None:
        if len(self.rows) > MAX_ITEMS:
            self.problem = f"more than {MAX_ITEMS} rows"
        else:
            self.rows.append(row)


def read_table(lines: Iterable[Line | Reject]) -> Iterator[Entry | Reject]:
    """Yield each order, or a reject. Raises BadInput if the first line is not a valid header."""
    columns: list[str] | None = None
    group: _Group | None = None
    strays: list[Reject] = []  # unreadable rows without an order_id, since the last row of the group
    for line in lines:
        if columns is None:
            if isinstance(line, Line):
                columns = _header(line)
            else:
                yield line
            continue
        cells, problem = _cells(line, columns)
        order_id = cells.get("order_id", "")
        if not order_id:
            strays.append(line if isinstance(line, Reject) else reject(line, problem or "order_id: empty"))
            if len(strays) > MAX_ITEMS:  # more than one order can have
                yield from _ended(group)
                yield from strays
                group, strays = None, []
            continue
        if group is not None and group.order_id == order_id:
            if strays:  # they stand between two rows of one order, so a row of it is missing
                group.problem = f"line {strays[0].line}: {strays[0].reason}"
        else:
            yield from _ended(group)
            yield from strays
            group = _Group(_first(line), order_id)
        strays = []
        if problem:
            group.problem = group.problem or f"line {_number(line)}: {problem}"
        group.add(cells)
    yield from _ended(group)
    yield from strays


def _ended(group: _Group | None) -> Iterator[Entry | Reject]:
    if group is None:
        return
    try:
        if group.problem:
            raise BadInput(group.problem)
        yield Entry(group.first.number, _order(group.rows))
    except BadInput as exc:
        yield reject(group.first, exc, group.order_id[:64])


def _header(line: Line) -> list[str]:
    columns = [name.strip().lower() for name in _split(line.text)]
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


def _cells(line: Line | Reject, columns: list[str]) -> tuple[dict[str, str], str | None]:
    """Return a row's cells by column, as far as they can be read, and the problem with the row."""
    problem = line.reason if isinstance(line, Reject) else None
    try:
        values = [value.strip() for value in _split(line.record if isinstance(line, Reject) else line.text)]
    except BadInput as exc:
        return {}, problem or str(exc)
    if problem is None and len(values) != len(columns):
        problem = f"{len(values)} cells under {len(columns)} columns"
    return dict(zip(columns, values, strict=False)), problem


def _split(text: str) -> list[str]:
    try:
        return next(csv.reader([text], strict=True))
    except csv.Error as exc:
        raise BadInput(f"not CSV: {exc}") from exc


def _first(line: Line | Reject) -> Line:
    return line if isinstance(line, Line) else Line(line.line, line.record)


def _number(line: Line | Reject) -> int:
    return line.number if isinstance(line, Line) else line.line


def _order(rows: list[Row]) -> Order:
    common = _common(rows)
    items = tuple(_item(row, common["currency"]) for row in rows)
    total_minor = _amount(common, "total", common["currency"])
    return Order(
        order_id=common["order_id"],
        customer_id=common["customer_id"],
        currency=common["currency"],
        items=items,
        total_minor=sum(item.amount_minor for item in items) if total_minor is None else total_minor,
        card_token=common["card_token"],
        contact=Contact(
            phone=common.get("phone") or None,
            email=common.get("email") or None,
            name=common.get("name") or None,
        ),
        placed_at=_instant(common.get("placed_at", "")),
    )


def _common(rows: list[Row]) -> Row:
    """Return the cells that describe the order. Raises BadInput if rows contradict each other."""
    first = rows[0]
    for row in rows[1:]:
        for name in first.keys() - set(_ITEM):
            if row[name] not in ("", first[name]):
                raise BadInput(f"{name}: differs between the order's rows")
    return first


def _item(row: Row, currency: str) -> Item:
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
    )


def _amount(row: Row, name: str, currency: str) -> int | None:
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
