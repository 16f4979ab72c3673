"""What the tables hold of one correlation id and its messages, for ``ordermq trace``. Only reads.

The inbox keeps the last outcome of a message and when it was settled; the reason of a retry stands in its
row of the outbox, and that of a death in the dead letter. The outbox has no index by correlation
id, so its rows are read once.
"""

from collections.abc import Sequence
from datetime import datetime
from typing import NamedTuple

from ordermq.store.transaction import StoreTransaction

MOST = 1000
"""Rows of one kind: more are not read of one correlation id."""

_SENT = """
    SELECT routing_key, message_id, type, attempt, hop, available_at, available_at <= now(), last_error,
           refusals, refused_reason
      FROM ordermq.outbox WHERE correlation_id = %s ORDER BY available_at, outbox_id LIMIT %s
"""

_DEAD = """
    SELECT dead_letter_id, queue, message_id, type, attempt, reason, died_at, replayed_at, replayed_by,
           replay_reason, discarded_at, discarded_by, discard_reason
      FROM ordermq.dead_letters WHERE correlation_id = %s ORDER BY dead_letter_id LIMIT %s
"""

_HANDLED = """
    SELECT w.queue, w.message_id, i.outcome, i.hop, i.settled_at, l.owner, l.lease_until,
           coalesce(s.starts, 0), s.started_at, t.slot_at
      FROM (VALUES %s) AS w (queue, message_id)
      LEFT JOIN ordermq.inbox AS i USING (queue, message_id)
      LEFT JOIN ordermq.leases AS l
        ON l.queue = w.queue AND l.message_id = w.message_id AND l.lease_until > now()
      LEFT JOIN ordermq.starts AS s ON s.queue = w.queue AND s.message_id = w.message_id
      LEFT JOIN ordermq.slots AS t ON t.queue = w.queue AND t.message_id = w.message_id
"""

_ACTIONS = """
    SELECT acted_at, actor, action, subject, reason FROM ordermq.actions
     WHERE subject = ANY(%s) ORDER BY action_id LIMIT %s
"""

_PAUSES = """
    SELECT queue, paused_at, paused_by, pause_reason, resumed_at, resumed_by, resume_reason
      FROM ordermq.pauses
     WHERE queue = ANY(%s) AND coalesce(resumed_at, now()) >= %s ORDER BY pause_id LIMIT %s
"""


class SentRow(NamedTuple):
    """A message that waits in the outbox. ``is_due``: the relay may take it."""

    queue: str
    message_id: str
    type: str
    attempt: int
    hop: int
    available_at: datetime
    is_due: bool
    last_error: str | None
    refusals: int
    refused_reason: str | None


class DeathRow(NamedTuple):
    """A dead letter without its body."""

    dead_letter_id: int
    queue: str
    message_id: str
    type: str
    attempt: int
    reason: str
    died_at: datetime
    replayed_at: datetime | None
    replayed_by: str | None
    replay_reason: str | None
    discarded_at: datetime | None
    discarded_by: str | None
    discard_reason: str | None

    @property
    def is_open(self) -> bool:
        return self.replayed_at is None and self.discarded_at is None


class HandledRow(NamedTuple):
    """What consumers have written of a message; None where they have written nothing.

    ``owner`` has the lease of a call that may be under way. ``starts`` are those that did not end.
    """

    queue: str
    message_id: str
    outcome: str | None
    hop: int | None
    settled_at: datetime | None
    owner: str | None
    lease_until: datetime | None
    starts: int
    started_at: datetime | None
    slot_at: datetime | None


class ActedRow(NamedTuple):
    """What a person did."""

    acted_at: datetime
    actor: str
    action: str
    subject: str
    reason: str


class PausedRow(NamedTuple):
    """A time in which a queue was paused; None at its end while it lasts."""

    queue: str
    paused_at: datetime
    paused_by: str
    pause_reason: str
    resumed_at: datetime | None
    resumed_by: str | None
    resume_reason: str | None


def sent(tx: StoreTransaction, correlation_id: str) -> list[SentRow]:
    """Return the messages of a correlation id that wait in the outbox."""
    return [SentRow(*row) for row in tx.fetch_all(_SENT, (correlation_id, MOST))]


def deaths(tx: StoreTransaction, correlation_id: str) -> list[DeathRow]:
    """Return the dead letters of a correlation id, oldest first, those that are closed too."""
    return [DeathRow(*row) for row in tx.fetch_all(_DEAD, (correlation_id, MOST))]


def handled(tx: StoreTransaction, messages: Sequence[tuple[str, str]]) -> list[HandledRow]:
    """Return what consumers have written of each ``(queue, message_id)``."""
    return [HandledRow(*row) for row in tx.fetch_values(_HANDLED, sorted(set(messages)))]


def acted(tx: StoreTransaction, subjects: Sequence[str]) -> list[ActedRow]:
    """Return what people did to these subjects, in order."""
    return [ActedRow(*row) for row in tx.fetch_all(_ACTIONS, (list(subjects), MOST))]


def paused_since(tx: StoreTransaction, queues: Sequence[str], since: datetime) -> list[PausedRow]:
    """Return the times in which these queues were paused and that ended after ``since``, or last."""
    return [PausedRow(*row) for row in tx.fetch_all(_PAUSES, (list(queues), since, MOST))]
