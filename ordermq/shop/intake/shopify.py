"""Orders as Shopify exports them (Orders, Export): CSV with a row for each line of an order.

Columns are found by name; there were 71 of them in 2021 and 79 in 2026. The rows of an order repeat
its Name, Email and Created at; its totals and statuses stand in the first row alone. The rows may
stand anywhere: they are kept by order in a temporary file before the first order is taken. An order
is taken whole or rejected whole: its sums show a row that is missing.

A Name is not unique by Shopify's own rules. If several orders of the file have one, the oldest gets
the order_id that is made of the Name, and each other one that Name with its Id. They are placed only
if the order_id without an Id is the oldest order's own. So no order is placed under two order_ids,
whatever other files hold.
"""

from collections.abc import Iterable, Iterator, Sequence
from contextlib import closing
from dataclasses import replace
from datetime import UTC, datetime

from ordermq.cli.records import Line, Reject, reject
from ordermq.errors import BadInput
from ordermq.shop.intake.identify import order_id_of
from ordermq.shop.intake.mapping import ReadOptions
from ordermq.shop.intake.record import Entry, Skipped
from ordermq.shop.intake.rows import Key, TableRow, read_rows, split
from ordermq.shop.intake.shopify_order import (
    NAME,
    NEEDED,
    POSSIBLE,
    Cells,
    order_in,
    statuses_of,
    word_against,
)
from ordermq.shop.intake.spool import UNREADABLE, Record, Spool
from ordermq.shop.model import MAX_ITEMS

_FIRST_ROW = ("financial status", "total", "subtotal", "id")
_SAME = ("email", "created at")  # of one order's rows, besides its Name
_ALWAYS = datetime.min.replace(tzinfo=UTC)


def read_shopify(lines: Iterable[Line | Reject], options: ReadOptions) -> Iterator[Entry | Reject]:
    """Yield each order, or a reject, in the order of their first rows.

    Reads all lines before it yields the first order. Raises BadInput if the first line is not
    the header of such a file.
    """
    source = iter(lines)
    for first in source:
        if isinstance(first, Line):
            columns = _header(first, options)
            break
        yield first
    else:
        return
    kept = {*(name.lower() for name in NEEDED), *POSSIBLE, *_named(options)}
    with closing(Spool()) as spool:
        spool.fill(_needed_cells(read_rows(source, columns, Key(NAME, order_id_of)), kept), "Name: empty")
        for record in spool.records():
            yield from _taken(record, spool, options)


def _header(line: Line, options: ReadOptions) -> list[str]:
    columns = [name.lower() for name in split(line.text)]
    if missing := [name for name in NEEDED if name.lower() not in columns]:
        raise BadInput(f"line {line.number} is not the header of a Shopify export: no column {missing[0]!r}")
    if "currency" not in columns and options.mapping.currency is None:
        raise BadInput("the file has no column 'Currency'; name it as currency in the file of --mapping")
    if unknown := [name for name in _named(options) if name not in columns]:
        raise BadInput(f"--mapping names the column {unknown[0]!r}, which the file does not have")
    # Of two columns with one name the first counts: an app may add one behind Shopify's own.
    return [name if name not in columns[:n] else "" for n, name in enumerate(columns)]


def _named(options: ReadOptions) -> list[str]:
    """Return the columns that the mapping names."""
    mapping = options.mapping
    named = (mapping.order_id_from, mapping.card_token_from, mapping.payment_reference_from)
    return [name.lower() for name in named if name]


def _needed_cells(rows: Iterable[TableRow], kept: set[str]) -> Iterator[TableRow]:
    """Yield the rows with the cells that are used; files that were joined have the header in them again."""
    for row in rows:
        if row.cells.get(NAME, "").lower() == NAME and row.cells.get("total", "").lower() == "total":
            continue
        used = {name: cell for name, cell in row.cells.items() if cell and name in kept}
        yield replace(row, cells=used)


def _taken(record: Record, spool: Spool, options: ReadOptions) -> Iterator[Entry | Reject]:
    """Yield what the rows with one order_id hold: one order, or several that have one Name."""
    if not record.order_id:
        yield Reject(record.line, record.problem, record.text)
        return
    rows = spool.rows(record.order_id, MAX_ITEMS + 1)
    try:
        for row in rows:
            if row.problem:
                raise BadInput(f"{UNREADABLE}: line {row.line}, {row.problem}")
        if len(rows) > MAX_ITEMS:
            raise BadInput(f"more than {MAX_ITEMS} rows")
        orders = _orders(rows)
    except BadInput as exc:
        yield Reject(record.line, str(exc), record.text, record.order_id)
        return
    if len(orders) == 1 or options.mapping.order_id_from:
        yield from (_read(order, record.order_id, options) for order in orders)
    else:
        yield from _namesakes(orders, record.order_id, options)


def _orders(rows: Sequence[TableRow]) -> list[list[TableRow]]:
    """Return the rows of each order; the row with the totals is the first one. Raises BadInput."""
    firsts = [row for row in rows if any(row.cells.get(name) for name in _FIRST_ROW)]
    if not firsts:
        raise BadInput("the order's first row, with its totals, is not in the file")
    orders = {first.line: [first] for first in firsts}
    for row in rows:
        if row.line in orders:
            continue
        alike = [each for each in firsts if _is_same(each.cells, row.cells)] or firsts
        before = [each for each in alike if each.line < row.line]
        orders[(before or alike[:1])[-1].line].append(row)
    return list(orders.values())


def _is_same(first: Cells, other: Cells) -> bool:
    return all(first.get(name, "") == other.get(name, "") for name in (NAME, *_SAME))


def _read(
    rows: Sequence[TableRow], order_id: str, options: ReadOptions, shared_id: str | None = None
) -> Entry | Reject:
    first = rows[0]
    line = Line(first.line, first.text)
    if word := word_against(first.cells, options):
        return Skipped(line.number, f"skipped ({word}): {statuses_of(first.cells)}", line.text, order_id)
    try:
        if column := options.mapping.order_id_from:
            order_id = order_id_of(first.cells.get(column.lower(), ""))
            if not order_id:
                raise BadInput(f"{column}: empty, and --mapping makes the order_id of it")
        cells = [row.cells for row in sorted(rows, key=lambda row: row.line)]
        return Entry(line.number, order_in(cells, first.cells, order_id, options), shared_id)
    except BadInput as exc:
        return reject(line, exc, order_id)


def _namesakes(
    orders: Sequence[Sequence[TableRow]], order_id: str, options: ReadOptions
) -> Iterator[Entry | Reject]:
    """Yield orders that have one Name, each with an order_id of its own. The oldest comes first."""
    read = [(_read(rows, order_id, options, order_id), rows) for rows in orders]
    yield from (found for found, _ in read if not isinstance(found, Entry))
    entries = [(found, rows) for found, rows in read if isinstance(found, Entry)]
    entries.sort(key=lambda each: (each[0].order.placed_at or _ALWAYS, _id_of(each[1])))
    oldest = ""
    for entry, rows in entries:
        number = _id_of(rows)
        if (entry, rows) == entries[0] or number == oldest != "":
            oldest = number
            yield entry
        elif number and oldest:
            yield _read(rows, order_id_of(f"{order_id}-{number}"), options, order_id)
        else:
            reason = f"the Name stands for several orders: {order_id}, and no Id tells them apart"
            yield Reject(entry.line, reason, rows[0].text, order_id)


def _id_of(rows: Sequence[TableRow]) -> str:
    return rows[0].cells.get("id", "")
