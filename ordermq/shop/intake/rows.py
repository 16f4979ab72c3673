"""The rows of a CSV file. A quoted cell may hold line breaks; a broken row costs no other row. Pure.

A quote that is never closed would swallow the rows behind it. So lines are joined only if the
result is one whole row and none of the joined lines is a row of its own. Otherwise the first
line alone is broken, and reading goes on with the next one.
"""

import csv
import re
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace

from ordermq.cli.records import MAX_LINE_BYTES, Line, Reject
from ordermq.errors import BadInput

MAX_ROW_LINES = 1000  # of one quoted cell: more than any remark, or list of attributes, has
MAX_ROW_CHARS = MAX_LINE_BYTES
_LONG_CHARS = 16 * 1024


@dataclass(frozen=True, slots=True)
class Key:
    """The column that says which order a row belongs to, and what the order_id is made of its cell."""

    column: str
    order_id: Callable[[str], str] = str

    def of(self, cells: Mapping[str, str]) -> str:
        """Return the order that the row's cells name; "" if they name none."""
        cell = cells.get(self.column, "")
        return "" if "\ufffd" in cell else self.order_id(cell)


@dataclass(frozen=True, slots=True)
class TableRow:
    """One row and the line it begins on. ``cells`` has those that can be read for certain.

    ``order_id`` is the order that the row belongs to; empty if nothing says which.
    """

    line: int
    text: str
    cells: Mapping[str, str]
    order_id: str = ""
    problem: str = ""
    may_hide_another: bool = False  # a line's end was lost, so a part of the text may be another row


def read_rows(
    lines: Iterable[Line | Reject], columns: Sequence[str], key: Key | None = None
) -> Iterator[TableRow]:
    """Yield a row for every line, or for the lines of one quoted cell, in their order."""
    for row in _rows(lines, columns):
        yield replace(row, order_id=key.of(row.cells)) if key else row


def _rows(lines: Iterable[Line | Reject], columns: Sequence[str]) -> Iterator[TableRow]:
    source, waiting = iter(lines), deque[Line | Reject]()
    while (line := waiting.popleft() if waiting else next(source, None)) is not None:
        if isinstance(line, Reject):
            yield TableRow(line.line, line.record, _certain(line.record, columns), problem=line.reason)
            continue
        parts = [line]
        if _is_open(line.text):
            parts += _continuation(line, source, waiting)
        row = _row(line.number, "\n".join(part.text for part in parts), columns)
        if len(parts) > 1 and (row.problem or any(_is_row(part.text, columns) for part in parts[1:])):
            waiting.extendleft(reversed(parts[1:]))
            row = _row(line.number, line.text, columns)
        yield row


def split(text: str) -> list[str]:
    """Return the cells of one row; a line break becomes a space. Raises BadInput for what is not CSV."""
    try:
        if "\n" not in text:
            return [cell.strip() for cell in next(csv.reader([text], strict=True))]
        cells = next(csv.reader(_lines(text), strict=True))
        return [re.sub(r"\r?\n", " ", cell).strip() for cell in cells]
    except csv.Error as exc:
        why = str(exc)
        if "new-line" in why:
            why = "a carriage return inside of the row (lines end with a line feed)"
        raise BadInput(f"not CSV: {why}") from exc


def _continuation(line: Line, source: Iterator[Line | Reject], waiting: deque[Line | Reject]) -> list[Line]:
    """Take the lines up to the one that closes the quote; none, put back, if no line near does."""
    taken: list[Line] = []
    quotes, chars = line.text.count('"'), len(line.text)
    while len(taken) < MAX_ROW_LINES and chars < MAX_ROW_CHARS:
        following = waiting.popleft() if waiting else next(source, None)
        if not isinstance(following, Line):
            if following is not None:
                waiting.appendleft(following)
            break
        taken.append(following)
        chars += len(following.text)
        in_line = following.text.count('"')
        quotes += in_line
        # Of a long text it is costly to find out whether a quote is open. In good CSV their number says it.
        is_likely = in_line and (quotes % 2 == 0 or chars < _LONG_CHARS)
        if is_likely and not _is_open("\n".join(each.text for each in (line, *taken))):
            return taken
    waiting.extendleft(reversed(taken))
    return []


def _row(number: int, text: str, columns: Sequence[str]) -> TableRow:
    try:
        cells = split(text)
    except BadInput as exc:
        certain = _certain(text, columns)
        return TableRow(number, text, certain, problem=str(exc), may_hide_another="\r" in text)
    if len(cells) == len(columns):
        return TableRow(number, text, dict(zip(columns, cells, strict=True)))
    # Cells are missing, or there are too many: only the first one is certainly in its place.
    problem = f"the wrong number of cells: {len(cells)} cells under {len(columns)} columns"
    is_two = len(cells) >= 2 * len(columns) - 1
    first = dict(zip(columns[:1], cells, strict=False))
    return TableRow(number, text, first, problem=problem, may_hide_another=is_two)


def _certain(text: str, columns: Sequence[str]) -> dict[str, str]:
    """Return the cells that end before the first quote or carriage return, or before a line's cut."""
    before = re.split(r'["\r]', text, maxsplit=1)[0]
    return {name: cell.strip() for name, cell in zip(columns, before.split(",")[:-1], strict=False)}


def _is_open(text: str) -> bool:
    """Return whether a quoted cell goes on behind the end of ``text``."""
    if '"' not in text:
        return False
    try:
        return next(csv.reader(_lines(text + "\n")))[-1].endswith("\n")
    except csv.Error:
        return False


def _lines(text: str) -> list[str]:
    # Not splitlines(): it ends lines at a dozen characters that a cell may hold.
    return [line for line in re.split(r"(?<=\n)", text) if line]


def _is_row(text: str, columns: Sequence[str]) -> bool:
    try:
        return len(split(text)) == len(columns)
    except BadInput:
        return False
