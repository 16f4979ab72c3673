"""What the tables know of messages: where each was last seen on its way."""

from collections.abc import Sequence
from datetime import datetime
from typing import NamedTuple

from ordermq.store.transaction import StoreTransaction

# One statement, so that a message on its way from the inbox's retry to the outbox is seen in one of them.
_FIND = """
    WITH wanted (queue, message_id) AS (VALUES %s)
    SELECT w.queue, w.message_id, i.outcome, i.hop, o.available_at, d.open_letter, d.replays, d.hop
      FROM wanted AS w
      LEFT JOIN ordermq.inbox AS i USING (queue, message_id)
      LEFT JOIN (SELECT routing_key, message_id, min(available_at) AS available_at FROM ordermq.outbox
                  WHERE message_id IN (SELECT message_id FROM wanted) GROUP BY routing_key, message_id) AS o
        ON o.routing_key = w.queue AND o.message_id = w.message_id
      LEFT JOIN LATERAL (
           SELECT min(dead_letter_id) FILTER (WHERE replayed_at IS NULL AND discarded_at IS NULL)
                  AS open_letter, max(replay_no) + 1 AS replays, max(hop) AS hop
             FROM ordermq.dead_letters AS l
            WHERE l.queue = w.queue AND l.message_id = w.message_id) AS d ON true
"""


class MessageLocation(NamedTuple):
    """What is known of one message; None where a table has nothing.

    ``outcome`` and ``hop`` are the inbox's: how the last hop it saw was settled.
    ``available_at``: it waits in the outbox until then. ``open_letter``: the dead letter
    to be decided about. ``replays``: the replay_no that a next death has to have.
    """

    outcome: str | None
    hop: int | None
    available_at: datetime | None
    open_letter: int | None
    replays: int
    dead_hop: int | None

    @property
    def next_hop(self) -> int:
        """The hop that no consumer has settled yet."""
        seen = [hop for hop in (self.hop, self.dead_hop) if hop is not None]
        return max(seen) + 1 if seen else 0


def find(tx: StoreTransaction, messages: Sequence[tuple[str, str]]) -> dict[tuple[str, str], MessageLocation]:
    """Return the locations of each ``(queue, message_id)``, without a lock."""
    rows = tx.fetch_values(_FIND, sorted(set(messages)), template="(%s, %s)")
    return {
        (queue, message_id): MessageLocation(outcome, hop, available_at, letter, replays or 0, dead_hop)
        for queue, message_id, outcome, hop, available_at, letter, replays, dead_hop in rows
    }
