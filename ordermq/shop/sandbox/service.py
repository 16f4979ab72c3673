"""What the HTTP server and a third party say to each other."""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

import msgspec

LINES_PER_PAGE = 1_000


@dataclass(frozen=True)
class Request:
    """One HTTP request; ``path`` is below the service's prefix and has no query."""

    method: str
    path: str
    query: Mapping[str, str]
    key: str
    body: bytes


@dataclass(frozen=True)
class Reply:
    """One HTTP answer: a JSON ``body``, or ``pages`` of JSON lines that are streamed."""

    status: int
    body: bytes = b""
    headers: tuple[tuple[str, str], ...] = ()
    pages: Iterable[bytes] | None = None


@dataclass(frozen=True)
class NoAnswer:
    """The connection is held for so long and then closed."""

    hold_s: float


@dataclass(frozen=True)
class Refused(Exception):
    """A request that is answered with ``reason`` and changes nothing."""

    status: int
    reason: str
    headers: tuple[tuple[str, str], ...] = field(default=())


def reply(status: int, /, **body: Any) -> Reply:
    """A JSON answer."""
    return Reply(status, msgspec.json.encode(body))


def ledger_pages(read: Callable[[int, int], list[Any]], query: Mapping[str, str]) -> Reply:
    """Stream a ledger as JSON lines: the entries after number ``after``, at most ``limit``.

    ``read(first, count)`` returns entries by position; it is called a page at a time, so
    that a long ledger is neither copied whole nor kept locked.
    """
    after, left = number(query, "after", 0), number(query, "limit", 2**62)

    def pages() -> Iterable[bytes]:
        position, wanted = after, left
        while wanted and (entries := read(position, min(wanted, LINES_PER_PAGE))):
            position += len(entries)
            wanted -= len(entries)
            yield b"".join(msgspec.json.encode(entry) + b"\n" for entry in entries)

    return Reply(200, headers=(("Content-Type", "application/x-ndjson"),), pages=pages())


def number(query: Mapping[str, str], name: str, default: int) -> int:
    """A number from the query string, 0 or more."""
    text = query.get(name, str(default))
    if not text.isdecimal() or len(text) > 19:
        raise Refused(400, f"{name} is not a number: {text[:40]}")
    return int(text)
