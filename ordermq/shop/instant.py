"""An order as it was at any instant, read from its history alone.

An event counts from the instant that it names, which is when the process that recorded it did so; its
transaction committed within moments. Clocks of two processes may differ: what counts at an instant are the
events up to the newest one that happened by then, because a version follows all those before it.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from ordermq.errors import BadInput, OrderNotFound
from ordermq.shop.archives.restoring import refuse_archived
from ordermq.shop.events import RECORDS
from ordermq.shop.fold import DEFAULT_NOTIFY, fold, read_events, states
from ordermq.shop.folded import FoldedOrder, HistoryEvent
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


def order_at(order_id: str, at: datetime, tx: StoreTransaction) -> FoldedOrder:
    """Return the order as it was at the instant ``at``, which has a time zone.

    Raises OrderNotFound if there is no such order or it was accepted later, BadInput for an instant without
    a time zone, and IllegalEvent for a history that cannot be.
    """
    return _folded(*_read(order_id, at, tx))


def order_history(order_id: str, tx: StoreTransaction) -> list[HistoryEntry]:
    """Return all events of an order, the oldest first. Raises as ``order_at``."""
    events, notify = _read(order_id, datetime.max.replace(tzinfo=UTC), tx)
    found = records_of(tx, RECORDS.name, RECORDS.select, order_id)
    positions = {each.number: each.position for each in found}
    return list(_entries(events, notify, positions))


def order_diff(order_id: str, before: datetime, after: datetime, tx: StoreTransaction) -> OrderDiff:
    """Return what changed from one instant to a later one. Raises as ``order_at``, and BadInput."""
    if before.tzinfo and after.tzinfo and before > after:
        raise BadInput(f"{_written(before)} is after {_written(after)}: give the earlier instant first")
    earlier, _ = _read(order_id, before, tx)
    events, notify = _read(order_id, after, tx)
    first, last = _folded(earlier, notify), _folded(events, notify)
    return OrderDiff(first, last, changes_between(first, last), events[len(earlier) :])


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


def _read(order_id: str, at: datetime, tx: StoreTransaction) -> tuple[list[HistoryEvent], str]:
    """Return the events that count at ``at``, and how the customer is told.

    Raises OrderNotFound, and OrderArchived if the events are in a file.
    """
    if at.tzinfo is None:
        raise BadInput(f"{at.isoformat()} names no time zone, so it could be any of 26 hours: give it one")
    [(notify, bodies)] = tx.fetch_all(_READ, {"order_id": order_id, "at": at})
    if bodies is not None:
        return read_events(bodies), notify or DEFAULT_NOTIFY
    refuse_archived(order_id, tx)
    row = tx.fetch_one(_ACCEPTED, (order_id,))
    if row is None:
        raise OrderNotFound(f"no order {order_id[:80]!r}")
    raise OrderNotFound(
        f"order {order_id} was accepted at {_written(row[0])}: at {_written(at)} there was nothing of it yet"
    )


def _written(instant: datetime) -> str:
    return instant.astimezone(UTC).isoformat().replace("+00:00", "Z")
