"""Limits on calls to services outside: the tables ``limits``, ``buckets``, ``metered`` and ``slots``.

All consumers that call a service share its bucket of tokens, by PostgreSQL's clock. A token is taken
before a call is prepared, for many calls with one statement. Who may ask for more than there is waits,
and nothing is written for the messages that wait. A message over its key's share is given a slot: it
waits in the outbox, and needs no token of its key when it comes again.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, NamedTuple

from ordermq.store.transaction import StoreTransaction

_SET = """
    INSERT INTO ordermq.limits (dependency, rate, burst, key_rate, key_burst, set_by, reason)
    VALUES (%(dependency)s, %(rate)s, %(burst)s, %(key_rate)s, %(key_burst)s, %(by)s, %(reason)s)
    ON CONFLICT (dependency) DO UPDATE
       SET rate = excluded.rate, burst = excluded.burst, key_rate = excluded.key_rate,
           key_burst = excluded.key_burst, set_at = now(), set_by = excluded.set_by, reason = excluded.reason
"""

# The time until now in which the limit was used up is kept, and the buckets go.
_REMOVE = """
    WITH gone AS (DELETE FROM ordermq.limits WHERE dependency = %(dependency)s RETURNING dependency),
         emptied AS (DELETE FROM ordermq.buckets WHERE dependency IN (SELECT dependency FROM gone)
                     RETURNING dependency, short_since, short_at),
         kept AS (INSERT INTO ordermq.metered (dependency, short_since, short_at)
                  SELECT * FROM emptied WHERE short_at > short_since + interval '1 minute')
    SELECT dependency FROM gone
"""

_SHOW = """
    SELECT l.dependency, l.rate, l.burst, l.key_rate, l.key_burst, l.set_at, l.set_by, l.reason,
           coalesce(b.short_at > now() - interval '5 seconds', false),
           (SELECT count(*) FROM ordermq.outbox AS o JOIN ordermq.slots AS s
                ON s.queue = o.routing_key AND s.message_id = o.message_id WHERE s.queue = ANY(%s))
      FROM ordermq.limits AS l
      LEFT JOIN ordermq.buckets AS b ON b.dependency = l.dependency AND b.limit_key = ''
     WHERE l.dependency = %s
"""

_NAMES = "SELECT dependency FROM ordermq.limits ORDER BY dependency"

# A crash of the server loses a token at most, so no disk is waited for.
_UNLOGGED = "SET LOCAL synchronous_commit = off"

_TAKE = """
    SELECT w.dependency, t.granted, t.wait_s
      FROM unnest(%s::text[], %s::int[]) AS w (dependency, wanted),
           LATERAL ordermq.take_tokens(w.dependency, w.wanted) AS t
"""

_TAKE_KEYS = "SELECT message_id, wait_s FROM ordermq.take_key_tokens(%s, %s, %s, %s)"


@dataclass(frozen=True)
class Limit:
    """At most ``rate`` calls a second to a service, after a rest ``burst`` at once; the same for a key."""

    dependency: str
    rate: float
    burst: float
    key_rate: float | None = None
    key_burst: float | None = None


class LimitStatus(NamedTuple):
    """A limit in force. ``is_used_up``: calls waited for it just now. ``postponed`` messages have a slot."""

    dependency: str
    rate: float
    burst: float
    key_rate: float | None
    key_burst: float | None
    set_at: datetime
    set_by: str
    reason: str
    is_used_up: bool
    postponed: int


def set_limit(tx: StoreTransaction, limit: Limit, *, by: str, reason: str) -> None:
    """Put ``limit`` in force, in the place of that before."""
    params: dict[str, Any] = {**vars(limit), "by": by, "reason": reason}
    tx.execute(_SET, params)


def remove_limit(tx: StoreTransaction, dependency: str) -> bool:
    """Let calls be made without a limit again; return False if there was none."""
    return bool(tx.fetch_all(_REMOVE, {"dependency": dependency}))


def limits_now(tx: StoreTransaction, queues: Mapping[str, Sequence[str]]) -> list[LimitStatus]:
    """Return the limits in force, by service. ``queues`` has the queues of each service's handlers."""
    names = [row[0] for row in tx.fetch_all(_NAMES)]
    return [
        LimitStatus(*row) for name in names for row in tx.fetch_all(_SHOW, (list(queues.get(name, ())), name))
    ]


def take_tokens(tx: StoreTransaction, wanted: Mapping[str, int]) -> dict[str, tuple[int, float]]:
    """Take up to ``wanted`` tokens of each service; return how many it gave, and the seconds to another."""
    names = sorted(wanted)
    tx.write(_UNLOGGED)
    rows = tx.fetch_all(_TAKE, (names, [wanted[name] for name in names]))
    return {name: (granted, wait_s) for name, granted, wait_s in rows}


def take_key_tokens(
    tx: StoreTransaction, dependency: str, queue: str, keys: Mapping[str, str]
) -> dict[str, float]:
    """Take a token of its key for each message id in ``keys``; return the seconds until the slot of those
    over their key's share. The transaction must also put them off."""
    ids = list(keys)
    return dict(tx.fetch_all(_TAKE_KEYS, (dependency, queue, ids, [keys[each] for each in ids])))
