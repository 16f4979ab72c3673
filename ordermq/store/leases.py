"""The ``leases`` table: who may make the external call of a message now.

A lease is taken before the call and deleted by the transaction that settles its message.
Its end is computed and compared by PostgreSQL's clock alone. The next delivery takes over a
lease that has run out; its handler then knows that a call may have been made.
"""

from collections.abc import Sequence
from typing import NamedTuple

from ordermq.store.transaction import StoreTransaction

# Leases that are held are left out before the insertion. A conflict would lock their rows even
# without changing them, and the transaction that completes a message locks the inbox first.
_TAKE = """
    INSERT INTO ordermq.leases AS lease (queue, message_id, owner, lease_until)
    SELECT * FROM (VALUES %s) AS wanted (queue, message_id, owner, lease_until)
     WHERE NOT EXISTS (
        SELECT FROM ordermq.leases AS held
         WHERE held.queue = wanted.queue AND held.message_id = wanted.message_id AND held.lease_until >= now()
     )
    ON CONFLICT (queue, message_id) DO UPDATE
       SET owner = excluded.owner, lease_until = excluded.lease_until
     WHERE lease.lease_until < now()
    RETURNING message_id, (xmax <> 0)
"""
_TAKE_TEMPLATE = "(%s, %s, %s, now() + %s * interval '1 second')"

_RETAKE = """
    UPDATE ordermq.leases SET lease_until = now() + %s * interval '1 second'
     WHERE queue = %s AND message_id = ANY(%s) AND owner = %s RETURNING message_id
"""

_LEFT = """
    SELECT message_id, greatest(extract(epoch FROM lease_until - now()), 0)::float8
      FROM ordermq.leases WHERE queue = %s AND message_id = ANY(%s)
"""


class Leases(NamedTuple):
    """The result of ``take``: ids taken, ids taken over, and the seconds left on leases of others."""

    fresh: set[str]
    resumed: set[str]
    foreign_s: dict[str, float]


def take(
    tx: StoreTransaction, queue: str, message_ids: Sequence[str], *, owner: str, lease_s: float
) -> Leases:
    """Take the leases that are free or have run out, for ``lease_s`` seconds."""
    rows = [(queue, message_id, owner, lease_s) for message_id in sorted(message_ids)]
    taken: dict[str, bool] = dict(tx.fetch_values(_TAKE, rows, template=_TAKE_TEMPLATE))
    others = [message_id for message_id in message_ids if message_id not in taken]
    foreign = left(tx, queue, others)
    return Leases(
        fresh={message_id for message_id, resumed in taken.items() if not resumed},
        resumed={message_id for message_id, resumed in taken.items() if resumed},
        foreign_s={message_id: foreign.get(message_id, 0.0) for message_id in others},
    )


def retake(
    tx: StoreTransaction, queue: str, message_ids: Sequence[str], *, owner: str, lease_s: float
) -> set[str]:
    """Take again, for ``lease_s`` seconds from now, the leases that ``owner`` holds; return their ids."""
    if not message_ids:
        return set()
    return {row[0] for row in tx.fetch_all(_RETAKE, (lease_s, queue, sorted(message_ids), owner))}


def left(tx: StoreTransaction, queue: str, message_ids: Sequence[str]) -> dict[str, float]:
    """Return the seconds left on each lease there is, of any owner; 0 if it has run out."""
    return dict(tx.fetch_all(_LEFT, (queue, list(message_ids)))) if message_ids else {}


def release(tx: StoreTransaction, queue: str, message_ids: Sequence[str], owner: str) -> None:
    """Delete the leases of ``owner``: their messages are settled. Other owners' leases stay."""
    if message_ids:
        tx.write(
            "DELETE FROM ordermq.leases WHERE queue = %s AND message_id = ANY(%s) AND owner = %s",
            (queue, list(message_ids), owner),
        )
