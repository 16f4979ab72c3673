"""Where a message is on its way, as the tables show it."""

from collections.abc import Sequence
from datetime import datetime
from typing import NamedTuple

from ordermq.message.envelope import next_hop
from ordermq.store.transaction import StoreTransaction

# One statement reads one snapshot: a message that moves from the inbox to the outbox is seen in one of them.
_FIND = """
    WITH wanted (queue, message_id) AS (VALUES %s)
    SELECT w.queue, w.message_id, i.outcome, i.hop, o.available_at, d.open_letter, d.replays, d.hop
      FROM wanted AS w
      LEFT JOIN ordermq.inbox AS i USING (queue, message_id)
      LEFT JOIN (SELECT routing_key, message_id, min(available_at) AS available_at FROM ordermq.outbox
                  WHERE message_id IN (SELECT message_id FROM wanted) GROUP BY routing_key, message_id) AS o
        ON o.routing_key = w.queue AND o.message_id = w.message_id
      LEFT JOIN LATERAL (
           SELECT min(dead_letter_id) FILTER (WHERE replayed_at IS NULL AND discarded_at IS NULL
                                                AND version > 0) AS open_letter,
                  max(replay_no) + 1 AS replays, max(hop) AS hop
             FROM ordermq.dead_letters AS l
            WHERE l.queue = w.queue AND l.message_id = w.message_id) AS d ON true
"""


class MessageLocation(NamedTuple):
    """What the tables hold of one message; None where a table has no row of it.

    ``outcome`` and ``hop`` say how the inbox saw its last hop settled. It waits in the
    outbox until ``available_at``. ``open_letter`` is the number of its open dead letter, unless that
    can never be replayed.
    ``replays`` is the replay_no that its next death must have.
    """

    outcome: str | None
    hop: int | None
    available_at: datetime | None
    open_letter: int | None
    replays: int
    dead_hop: int | None

    @property
    def next_hop(self) -> int:
        """The first hop that no consumer has settled; MAX_HOP if there is none."""
        seen = [hop for hop in (self.hop, self.dead_hop) if hop is not None]
        return next_hop(max(seen)) if seen else 0


def find(tx: StoreTransaction, messages: Sequence[tuple[str, str]]) -> dict[tuple[str, str], MessageLocation]:
    """Return the location of each ``(queue, message_id)``. Locks nothing."""
    rows = tx.fetch_values(_FIND, sorted(set(messages)), template="(%s, %s)")
    return {
        (queue, message_id): MessageLocation(outcome, hop, available_at, letter, replays or 0, dead_hop)
        for queue, message_id, outcome, hop, available_at, letter, replays, dead_hop in rows
    }
