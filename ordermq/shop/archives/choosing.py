"""Which orders of a month may be archived: those at rest, all of whose events are numbered and published."""

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import NamedTuple

from ordermq.errors import UsageError
from ordermq.shop.events import RECORDS
from ordermq.store import StoreTransaction
from ordermq.task.transaction import Row

_MONTH = re.compile(r"(\d{4})-(0[1-9]|1[0-2])")
_PAGE = 64  # rows of ordermq.positions at once, each of at most 512 records
_BATCH = 1000  # orders in one statement

# What waits to be sent, was given up, or was asked of a service may still change the order. A lease is of
# a message, whose id begins with the order's. There are few leases.
_ORDERS = """
    SELECT o.order_id, o.version,
           CASE WHEN o.is_under_way THEN 'it is under way'
                WHEN o.attention_reason IS NOT NULL THEN 'a person has to look at it'
                WHEN EXISTS (SELECT FROM ordermq.holds AS h
                              WHERE h.correlation_id = o.order_id AND h.released_at IS NULL) THEN 'it is held'
                WHEN EXISTS (SELECT FROM ordermq.outbox AS m WHERE m.correlation_id = o.order_id)
                     THEN 'a message of it waits to be sent'
                WHEN EXISTS (SELECT FROM ordermq.dead_letters AS d WHERE d.correlation_id = o.order_id
                                AND d.replayed_at IS NULL AND d.discarded_at IS NULL)
                     THEN 'a dead letter of it is open'
                WHEN EXISTS (SELECT FROM ordermq.leases AS l
                              WHERE starts_with(l.message_id, o.order_id || ':'))
                     THEN 'a service was asked for it and has not answered yet'
                WHEN EXISTS (SELECT FROM shop.payments AS p WHERE p.order_id = o.order_id
                                AND p.state IN ('intent', 'unknown', 'requires_action'))
                     THEN 'what became of its payment is not known' END,
           o.accepted_at
      FROM shop.orders AS o
"""

_OF_MONTH = f"""{_ORDERS}
     WHERE o.accepted_at >= %(begin)s AND o.accepted_at < %(end)s AND o.archive_id IS NULL
       AND (o.accepted_at, o.order_id) > (%(after_at)s, %(after)s)
     ORDER BY o.accepted_at, o.order_id LIMIT %(limit)s
"""

_LOCK = """
    SELECT FROM shop.orders WHERE order_id = ANY(%s) ORDER BY order_id COLLATE "C" FOR NO KEY UPDATE
"""

# A statement of its own after the lock: it sees all that the transactions have written for which that waited.
_AGAIN = f"{_ORDERS} WHERE o.order_id = ANY(%s) AND o.archive_id IS NULL"

# An event may have been written by a clock that was a little behind that of the server.
_FIRST = """
    SELECT min(first_position) FROM ordermq.positions
     WHERE source = %s AND newest >= %s::timestamptz - interval '1 day'
"""

_POSITIONS = """
    SELECT first_position, subjects FROM ordermq.positions
     WHERE source = %s AND first_position >= %s ORDER BY first_position LIMIT %s
"""

# Positions from which on events are not in the audit log, and not sent to a feed. NULL where there is no log.
_LIMITS = """
    SELECT '', max(size) FROM ordermq.checkpoints
    UNION ALL SELECT feed, next_position FROM ordermq.feeds
"""


@dataclass(frozen=True)
class Month:
    """A month of UTC, as ``2026-01``."""

    name: str
    begin: datetime
    end: datetime


class RefusedOrder(NamedTuple):
    """An order that is not archived, and why."""

    order_id: str
    why: str


@dataclass
class Chosen:
    """The orders to archive, with their versions; those refused; and where their events are in the log."""

    orders: dict[str, int]
    refused: list[RefusedOrder]
    begin: int | None = None
    end: int = 0


def month_of(text: str, now: datetime) -> Month:
    """Return the month that ``text`` names. Raises UsageError for one that is none or has not ended."""
    match = _MONTH.fullmatch(text)
    if match is None or match[1] == "0000":
        raise UsageError(f"{text!r} is not a month; write for example 2026-01")
    year, month = int(match[1]), int(match[2])
    if (year, month) >= (now.year, now.month):
        raise UsageError(f"{text} has not ended: orders of it are still to come")
    begin = datetime(year, month, 1, tzinfo=UTC)
    return Month(text, begin, datetime(begin.year + month // 12, month % 12 + 1, 1, tzinfo=UTC))


def choose_orders(month: Month, tx: StoreTransaction) -> Chosen:
    """Return which orders accepted in ``month`` may be archived now."""
    chosen = Chosen({}, [])
    for order_id, version, why, _ in _of_month(month, tx):
        if why is None:
            chosen.orders[order_id] = version
        else:
            chosen.refused.append(RefusedOrder(order_id, why))
    if chosen.orders:
        _locate(chosen, month, tx)
    return chosen


def changed_since(orders: dict[str, int], tx: StoreTransaction) -> list[RefusedOrder]:
    """Lock the orders; return those that are no more as ``choose_orders`` saw them."""
    found: list[RefusedOrder] = []
    wanted = sorted(orders)
    for begin in range(0, len(wanted), _BATCH):
        batch = wanted[begin : begin + _BATCH]
        tx.fetch_all(_LOCK, (batch,))
        rows = {row[0]: row for row in tx.fetch_all(_AGAIN, (batch,))}
        for order_id in batch:
            row = rows.get(order_id)
            if row is None:
                found.append(RefusedOrder(order_id, "it is gone, or archived"))
            elif row[2] is not None or row[1] != orders[order_id]:
                found.append(RefusedOrder(order_id, row[2] or f"it got event {row[1]} meanwhile"))
    return found


def _of_month(month: Month, tx: StoreTransaction) -> Iterator[Row]:
    after, after_at = "", month.begin
    while True:
        params = {
            "begin": month.begin, "end": month.end, "after": after, "after_at": after_at, "limit": _BATCH,
        }  # fmt: skip
        rows = tx.fetch_all(_OF_MONTH, params)
        yield from rows
        if len(rows) < _BATCH:
            return
        after, after_at = rows[-1][0], rows[-1][3]


def _locate(chosen: Chosen, month: Month, tx: StoreTransaction) -> None:
    """Find the positions of the events; refuse orders of which one has none, or is not published yet."""
    missing = dict(chosen.orders)
    last: dict[str, int] = {}
    limits = tx.fetch_all(_LIMITS)
    for first, subjects in _positions(month, tx):
        for position, order_id in enumerate(subjects, first):
            if order_id in missing:
                chosen.begin = first if chosen.begin is None else chosen.begin
                chosen.end = position + 1
                missing[order_id] -= 1
                last[order_id] = position
                if not missing[order_id]:
                    del missing[order_id]
        if not missing:
            break
    for order_id in list(chosen.orders):
        why = _why_late(last.get(order_id, 0), limits)
        if order_id in missing:
            why = "an event of it has no position yet"
        if why:
            chosen.refused.append(RefusedOrder(order_id, why))
            del chosen.orders[order_id]


def _why_late(position: int, limits: Sequence[Row]) -> str | None:
    """Return what the event at ``position`` still waits for; None if for nothing. Pure."""
    for feed, limit in limits:
        if limit is not None and position >= limit:
            if not feed:
                return "it is not in the audit log yet"
            return f"feed {feed} has not sent all of its events yet: see 'ordermq events feeds'"
    return None


def _positions(month: Month, tx: StoreTransaction) -> Iterator[Row]:
    row = tx.fetch_one(_FIRST, (RECORDS.name, month.begin))
    after = row[0] if row and row[0] is not None else 0
    while rows := tx.fetch_all(_POSITIONS, (RECORDS.name, after, _PAGE)):
        yield from rows
        after = rows[-1][0] + 1
