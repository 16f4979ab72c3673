"""The ``holds`` table: what a person holds back by its correlation id, as one order, now and before.

Consumers look once a second whether there is any, and only then ask for the ids of their messages.

Invariants
    HLD1  An id has at most one hold that is not released, which is its newest: the unique index
        decides, also between two people at the same moment.
"""

from collections.abc import Iterable
from datetime import datetime
from typing import NamedTuple

from ordermq.store.transaction import StoreTransaction

_COLUMNS = "correlation_id, held_at, held_by, hold_reason"

_HOLD = f"""
    INSERT INTO ordermq.holds (correlation_id, held_at, held_by, hold_reason)
    VALUES (%s, clock_timestamp(), %s, %s)
    ON CONFLICT (correlation_id) WHERE released_at IS NULL DO NOTHING RETURNING {_COLUMNS}
"""  # noqa: S608 # constants; values are bound

_RELEASE = f"""
    UPDATE ordermq.holds SET released_at = clock_timestamp(), released_by = %s, release_reason = %s
     WHERE correlation_id = %s AND released_at IS NULL RETURNING {_COLUMNS}
"""  # noqa: S608 # as above

_AMONG = f"""
    SELECT {_COLUMNS} FROM ordermq.holds WHERE released_at IS NULL AND correlation_id = ANY(%s)
"""  # noqa: S608 # as above


class Hold(NamedTuple):
    """A row of the table that is not released."""

    correlation_id: str
    held_at: datetime
    held_by: str
    hold_reason: str


def hold(tx: StoreTransaction, correlation_id: str, *, by: str, reason: str) -> Hold | None:
    """Hold an id back; return None if it is held already, which stays as it is."""
    row = tx.fetch_one(_HOLD, (correlation_id, by, reason))
    return Hold(*row) if row else None


def release(tx: StoreTransaction, correlation_id: str, *, by: str, reason: str) -> Hold | None:
    """End the hold of an id and return it; None if it is not held."""
    row = tx.fetch_one(_RELEASE, (by, reason, correlation_id))
    return Hold(*row) if row else None


def held_among(tx: StoreTransaction, correlation_ids: Iterable[str]) -> dict[str, Hold]:
    """Return the holds of these ids, by id."""
    return {row[0]: Hold(*row) for row in tx.fetch_all(_AMONG, (sorted(set(correlation_ids)),))}
