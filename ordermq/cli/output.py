"""Printing: tables for people, 80 columns wide, and JSON for programs."""

import codecs
import json
import sys
from collections.abc import Iterable, Sequence
from datetime import datetime
from decimal import Decimal
from typing import TypeVar

import click

from ordermq.cli.run import PIPE_CLOSED, silence_stdout
from ordermq.observe.text import line

T = TypeVar("T")


def write(text: str) -> None:
    """Print ``text``. Ends the command quietly if the reader of stdout has gone (``| head``)."""
    try:
        click.echo(text)
    except BrokenPipeError:
        silence_stdout()
        raise click.exceptions.Exit(PIPE_CLOSED) from None


def write_bytes(data: bytes) -> None:
    """Write ``data`` to stdout unchanged; ends the command quietly like ``write``."""
    try:
        sys.stdout.buffer.write(data)
    except BrokenPipeError:
        silence_stdout()
        raise click.exceptions.Exit(PIPE_CLOSED) from None


def note(text: str) -> None:
    """Print ``text`` on stderr: it is not part of the command's result."""
    click.echo(text, err=True)


def write_json(value: object) -> None:
    """Print one JSON document on one line: instants as RFC 3339, bytes as text.

    Where stdout is not UTF-8 or text is not Unicode, characters are escaped as JSON has it.
    """
    text = json.dumps(value, ensure_ascii=not _is_utf_8(sys.stdout.encoding), default=_plain)
    write(text)


def at_most(limit: int, rows: list[T]) -> list[T]:
    """Return the first ``limit`` of ``rows``. If there are more, stderr says so when the command ends.

    The caller asks for one row more than it shows.
    """
    if len(rows) > limit:
        text = f"there are more: only {limit} are shown; see --limit"
        click.get_current_context().call_on_close(lambda: note(text))
    return rows[:limit]


def write_table(header: Sequence[str], rows: Iterable[Sequence[object]]) -> None:
    """Print rows under ``header``: numbers are aligned right, texts left; the last column may be long."""
    cells = [[_cell(value) for value in row] for row in rows]
    if not sys.stdout.isatty() and not cells:
        return
    is_number = [bool(cells) and all(row[n][1] for row in cells) for n in range(len(header))]
    widths = [max(len(name), *(len(row[n][0]) for row in cells), 0) for n, name in enumerate(header)]
    for texts in (header, *([text for text, _ in row] for row in cells)):
        padded = (
            text.rjust(width) if right else text.ljust(width)
            for text, width, right in zip(texts, widths, is_number, strict=True)
        )
        write("  ".join(padded).rstrip())


def seconds(instant: datetime | None) -> str:
    """Return an instant in UTC, without fractions of a second: ``2026-01-31 09:30:00``."""
    return "" if instant is None else f"{instant:%Y-%m-%d %H:%M:%S}"


def shortened(text: str, longest: int) -> str:
    """Return ``text`` on one line, cut to at most ``longest`` characters."""
    text = line(text)
    return text if len(text) <= longest else text[: longest - 1] + "…"


def _cell(value: object) -> tuple[str, bool]:
    if value is None:
        return "", True
    is_number = isinstance(value, int | float | Decimal) and not isinstance(value, bool)
    return line(str(value)), is_number


def _is_utf_8(encoding: str) -> bool:
    return codecs.lookup(encoding).name == "utf-8"


def _plain(value: object) -> object:
    if isinstance(value, datetime):
        return value.isoformat().replace("+00:00", "Z")
    if isinstance(value, bytes):
        return value.decode("utf-8", "replace")
    return str(value)
