"""Rows as one array for each column: the cheapest way to send many in one statement. Pure.

psycopg2 quotes the text of an array at once, but the elements of a list one by one, which
costs three times as much. COPY is no cheaper, and a process that freezes during a COPY keeps
its locks: no timeout of PostgreSQL ends a COPY that waits for its client.
https://www.postgresql.org/docs/current/arrays.html, "Array Input and Output Syntax".
"""

from collections.abc import Sequence
from datetime import date
from types import NoneType
from typing import Any, NamedTuple


class Insert(NamedTuple):
    """The statements that add rows to a table: ``few`` takes VALUES, ``many`` one array for each column."""

    few: str
    many: str


def insert_into(table: str, **columns: str) -> Insert:
    """Return the statement for the named columns with their types."""
    arrays = ", ".join(f"%s::{type_}[]" for type_ in columns.values())
    target = f"INSERT INTO {table} ({', '.join(columns)})"
    return Insert(f"{target} VALUES %s", f"{target} SELECT * FROM unnest({arrays})")  # noqa: S608 # constants


def arrays_of(rows: Sequence[Sequence[object]]) -> list[str]:
    """Return the columns of ``rows``, each as an array in PostgreSQL's text form."""
    return [array_of(column) for column in zip(*rows, strict=True)]


def array_of(values: Sequence[object]) -> str:
    """Return text, whole numbers, bytes, instants, dates, booleans and None as one array."""
    return "{" + (_uniform(values) or ",".join([_element(value) for value in values])) + "}"


def _uniform(values: Sequence[Any]) -> str:
    """Return the elements of a column of plain texts, of numbers or of None; "" for any other.

    Most columns are such, and to write them at once takes a fraction of the time.
    """
    kinds = set(map(type, values))
    if kinds == {int}:
        return ",".join(map(str, values))
    if kinds == {NoneType}:
        return ",".join(["NULL"] * len(values))
    if not kinds or not all(issubclass(each, str) for each in kinds):
        return ""
    joined = '","'.join(values)
    must_be_escaped = "\\" in joined or joined.count('"') > 2 * (len(values) - 1)
    return "" if must_be_escaped else f'"{joined}"'


def _element(value: object) -> str:
    if isinstance(value, str):
        return '"' + value.replace("\\", "\\\\").replace('"', '\\"') + '"'
    if value is None:
        return "NULL"
    if isinstance(value, bytes):
        return f'"\\\\x{value.hex()}"'
    if isinstance(value, date):  # a datetime is a date, also where tests replace its class
        return f'"{value.isoformat()}"'
    if isinstance(value, int):  # PostgreSQL reads True and False too
        return str(value)
    raise TypeError(f"a {type(value).__name__} cannot be an element of an array")
