"""The ``leases`` table: who may make the external call of a message now.

A lease is taken before the call and deleted by the transaction that settles its message.
Its end is computed and compared by PostgreSQL's clock alone. The next delivery takes over a
lease that has run out; its handler then knows that a call may have been made.
"""

from collections.abc import Sequence
from typing import NamedTuple

from ordermq.store.arrays import array_of
from ordermq.store.transaction import StoreTransaction

# Migration 0018 has the function.
_TAKE = "SELECT kind, message_id, left_s FROM ordermq.take_leases(%s, %s, %s, %s, %s, %s)"

_RETAKE = """
    UPDATE ordermq.leases SET lease_until = now() + %s * interval '1 second'
     WHERE queue = %s AND message_id = ANY(%s) AND owner = %s RETURNING message_id
"""

_LEFT = """
    SELECT message_id, greatest(extract(epoch FROM lease_until - now()), 0)::float8
      FROM ordermq.leases WHERE queue = %s AND message_id = ANY(%s)
"""

_COUNT = """
    SELECT queue, count(*), count(*) FILTER (WHERE lease_until < now())
      FROM (SELECT queue, lease_until FROM ordermq.leases LIMIT %s) AS counted GROUP BY queue
"""


class Leases(NamedTuple):
    """The result of ``take``: ids taken, taken over, settled, and the seconds left on leases of others."""

    fresh: set[str]
    resumed: set[str]
    foreign_s: dict[str, float]
    settled: set[str]


def take(
    tx: StoreTransaction,
    queue: str,
    message_ids: Sequence[str],
    *,
    owner: str,
    lease_s: float,
    asked: Sequence[tuple[str, int]] = (),
) -> Leases:
    """Take the leases that are free or have run out, for ``lease_s`` seconds.

    ``settled`` are those of ``asked``, (message_id, hop), that the inbox knows after that as settled.
    """
    ids, hops = ([key[0] for key in asked], [key[1] for key in asked])
    taken = Leases(set(), set(), {}, set())
    wanted = array_of(sorted(message_ids))
    for kind, message_id, left_s in tx.fetch_all(
        _TAKE, (queue, wanted, owner, lease_s, array_of(ids), array_of(hops))
    ):
        match kind:
            case "fresh":
                taken.fresh.add(message_id)
            case "resumed":
                taken.resumed.add(message_id)
            case "foreign":
                taken.foreign_s[message_id] = left_s
            case _:
                taken.settled.add(message_id)
    return taken


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


def count(tx: StoreTransaction, limit: int = 100_000) -> list[tuple[str, int, int]]:
    """Return each queue that has leases, how many, and how many ran out; counted up to ``limit``."""
    return [(queue, every, expired) for queue, every, expired in tx.fetch_all(_COUNT, (limit,))]


def release(tx: StoreTransaction, queue: str, message_ids: Sequence[str], owner: str) -> None:
    """Delete the leases of ``owner``: their messages are settled. Other owners' leases stay."""
    if message_ids:
        tx.write(
            "DELETE FROM ordermq.leases WHERE queue = %s AND message_id = ANY(%s) AND owner = %s",
            (queue, list(message_ids), owner),
        )
