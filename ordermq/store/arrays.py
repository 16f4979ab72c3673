"""Rows as one array a column: the cheapest way to send many in one statement. Pure.

psycopg2 quotes the text of a whole array at once; of a list it quotes each element by itself,
which costs three times as much. COPY is no cheaper, and a process that freezes in the midst of
one keeps its locks: no timeout of PostgreSQL's ends a COPY that waits for its client.
https://www.postgresql.org/docs/current/arrays.html, "Array Input and Output Syntax".
"""

from collections.abc import Sequence
from datetime import date
from typing import NamedTuple


class Insert(NamedTuple):
    """The statement that adds rows to a table: ``few`` takes them as VALUES, ``many`` an array a column."""

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
    return "{" + ",".join([_element(value) for value in values]) + "}"


def _element(value: object) -> str:
    if isinstance(value, str):
        return '"' + value.replace("\\", "\\\\").replace('"', '\\"') + '"'
    if value is None:
        return "NULL"
    if isinstance(value, bytes):
        return f'"\\\\x{value.hex()}"'
    if isinstance(value, date):  # a datetime is one, also where tests give that class another clock
        return f'"{value.isoformat()}"'
    if isinstance(value, int):  # true and false are read as such
        return str(value)
    raise TypeError(f"a {type(value).__name__} is no element of an array")
