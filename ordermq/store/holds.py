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
    SELECT id, clock_timestamp(), %s, %s FROM unnest(%s::text[]) AS id ORDER BY id
    ON CONFLICT (correlation_id) WHERE released_at IS NULL DO NOTHING RETURNING {_COLUMNS}
"""  # noqa: S608 # constants; values are bound

_RELEASE = f"""
    UPDATE ordermq.holds SET released_at = clock_timestamp(), released_by = %s, release_reason = %s
     WHERE hold_id IN (SELECT hold_id FROM ordermq.holds
                        WHERE correlation_id = ANY(%s) AND released_at IS NULL ORDER BY hold_id FOR UPDATE)
       AND released_at IS NULL RETURNING {_COLUMNS}
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


def hold(tx: StoreTransaction, correlation_ids: Iterable[str], *, by: str, reason: str) -> dict[str, Hold]:
    """Hold ids back; return the new holds by id. One that is held already stays as it is."""
    rows = tx.fetch_all(_HOLD, (by, reason, sorted(set(correlation_ids))))
    return {row[0]: Hold(*row) for row in rows}


def release(tx: StoreTransaction, correlation_ids: Iterable[str], *, by: str, reason: str) -> dict[str, Hold]:
    """End the holds of ids; return those that have ended by id."""
    rows = tx.fetch_all(_RELEASE, (by, reason, sorted(set(correlation_ids))))
    return {row[0]: Hold(*row) for row in rows}


def held_among(tx: StoreTransaction, correlation_ids: Iterable[str]) -> dict[str, Hold]:
    """Return the holds of these ids, by id."""
    return {row[0]: Hold(*row) for row in tx.fetch_all(_AMONG, (sorted(set(correlation_ids)),))}
