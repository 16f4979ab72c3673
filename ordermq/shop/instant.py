"""An order as it was at any instant, read from its history alone.

An event counts from the instant that it names, which is when the process that recorded it did so; its
transaction committed within moments. Clocks of two processes may differ: what counts at an instant are the
events up to the newest one that happened by then, because a version follows all those before it.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, NamedTuple

from ordermq.errors import BadInput, OrderNotFound
from ordermq.shop.archives.reading import events_in_archive
from ordermq.shop.events import RECORDS
from ordermq.shop.fold import DEFAULT_NOTIFY, fold, states
from ordermq.shop.folded import FoldedOrder, HistoryEvent
from ordermq.shop.recorded import read_history
from ordermq.store import StoreTransaction
from ordermq.store.positions import records_of

# How a customer is told stands in the first event since it does, and never changes.
_READ = """
    SELECT (SELECT notify FROM shop.orders WHERE order_id = %(order_id)s),
           '[' || string_agg(convert_from(body, 'UTF8'), ',' ORDER BY version) || ']'
      FROM shop.order_events
     WHERE order_id = %(order_id)s
       AND version <= (SELECT max(version) FROM shop.order_events
                        WHERE order_id = %(order_id)s AND occurred_at <= %(at)s)
"""

_ACCEPTED = "SELECT occurred_at FROM shop.order_events WHERE order_id = %s ORDER BY version LIMIT 1"

# Both change with every event, and say nothing of the order.
_COUNTERS = frozenset({"version", "changed_at"})

Change = tuple[str, Any, Any]
"""What changed: its name in ``FoldedOrder.document``, and the values before and after."""


@dataclass(frozen=True, slots=True)
class HistoryEntry:
    """An event of an order, its position in the history of all records if it has one, and what it changed."""

    event: HistoryEvent
    position: int | None
    changes: Sequence[Change]


@dataclass(frozen=True, slots=True)
class OrderDiff:
    """An order at two instants, the changes from one to the other, and the events that made them."""

    before: FoldedOrder
    after: FoldedOrder
    changes: Sequence[Change]
    events: Sequence[HistoryEvent]


class _History(NamedTuple):
    """Events, how the customer is told, and the positions of archived events by version."""

    events: Sequence[HistoryEvent]
    notify: str
    positions: dict[int, int] | None = None


def order_at(order_id: str, at: datetime, tx: StoreTransaction) -> FoldedOrder:
    """Return the order as it was at the instant ``at``, which has a time zone.

    Raises OrderNotFound if there is no such order or it was accepted later, BadInput for an instant without
    a time zone, IllegalEvent for a history that cannot be, and OrderArchived if the events are in a file that
    is not where it was written.
    """
    history = _read(order_id, at, tx)
    return _folded(history.events, history.notify)


def order_history(order_id: str, tx: StoreTransaction) -> list[HistoryEntry]:
    """Return all events of an order, the oldest first. Raises as ``order_at``."""
    history = _read(order_id, datetime.max.replace(tzinfo=UTC), tx)
    positions = history.positions
    if positions is None:
        found = records_of(tx, RECORDS.name, RECORDS.select, order_id)
        positions = {each.number: each.position for each in found}
    return list(_entries(history.events, history.notify, positions))


def order_diff(order_id: str, before: datetime, after: datetime, tx: StoreTransaction) -> OrderDiff:
    """Return what changed from one instant to a later one. Raises as ``order_at``, and BadInput."""
    _check_zone(before)
    _check_zone(after)
    if before > after:
        raise BadInput(f"{_written(before)} is after {_written(after)}: give the earlier instant first")
    history = _read(order_id, after, tx)
    count = _count_until(history.events, before, order_id)
    first = _folded(history.events[:count], history.notify)
    last = _folded(history.events, history.notify)
    return OrderDiff(first, last, changes_between(first, last), history.events[count:])


def changes_between(before: FoldedOrder | None, after: FoldedOrder) -> list[Change]:
    """Return what differs between two states of an order. Pure."""
    old = before.document() if before is not None else {}
    new = after.document()
    return [
        (name, old.get(name), value)
        for name, value in new.items()
        if name not in _COUNTERS and old.get(name) != value
    ]


def _folded(events: Sequence[HistoryEvent], notify: str) -> FoldedOrder:
    order = fold(events, notify=notify)
    assert order is not None  # noqa: S101 # there is at least one event
    return order


def _entries(
    events: Sequence[HistoryEvent], notify: str, positions: dict[int, int]
) -> Iterator[HistoryEntry]:
    before: FoldedOrder | None = None
    for event, after in zip(events, states(events, notify=notify), strict=True):
        yield HistoryEntry(event, positions.get(event.version), changes_between(before, after))
        before = after


def _read(order_id: str, at: datetime, tx: StoreTransaction) -> _History:
    """Return the events that count at ``at``, from the table or out of the archive's file.

    Raises OrderNotFound, and OrderArchived if that file is not to be had.
    """
    _check_zone(at)
    [(notify, bodies)] = tx.fetch_all(_READ, {"order_id": order_id, "at": at})
    if bodies is not None:
        return _History(read_history(bodies, order_id), notify or DEFAULT_NOTIFY)
    if (archived := events_in_archive(order_id, tx)) is not None:
        events = read_history(f"[{','.join(each.body for each in archived)}]", order_id)
        positions = {each.version: each.position for each in archived}
        count = _count_until(events, at, order_id)
        return _History(events[:count], notify or DEFAULT_NOTIFY, positions)
    row = tx.fetch_one(_ACCEPTED, (order_id,))
    if row is None:
        raise OrderNotFound(f"no order {order_id[:80]!r}")
    raise _not_yet(order_id, row[0], at)


def _check_zone(at: datetime) -> None:
    if at.tzinfo is None:
        raise BadInput(f"{at.isoformat()} names no time zone, so it could be any of 26 hours: give it one")


def _count_until(events: Sequence[HistoryEvent], at: datetime, order_id: str) -> int:
    """Return how many of an order's events count at ``at``. Raises OrderNotFound if none does."""
    versions = [each.version for each in events if each.occurred_at <= at]
    if not versions:
        raise _not_yet(order_id, events[0].occurred_at, at)
    return max(versions)


def _not_yet(order_id: str, accepted_at: datetime, at: datetime) -> OrderNotFound:
    return OrderNotFound(
        f"order {order_id} was accepted at {_written(accepted_at)}:"
        f" at {_written(at)} there was nothing of it yet"
    )


def _written(instant: datetime) -> str:
    return instant.astimezone(UTC).isoformat().replace("+00:00", "Z")
