"""The ``dead_letters`` table: messages given up, whole, until an operator decides.

A row is written in the transaction that settles the message. Replaying writes the
message to the outbox again, under its own message_id and to the queue it died in
only: other queues have handled it.
"""

from collections.abc import Sequence
from datetime import datetime
from typing import NamedTuple

from ordermq.errors import BadInput
from ordermq.message.envelope import Envelope
from ordermq.message.payload import MAX_BODY_BYTES
from ordermq.store.outgoing import OutboxRow
from ordermq.store.transaction import Transaction

_KEEP = """
    INSERT INTO ordermq.dead_letters (queue, message_id, replay_no, type, version, correlation_id,
        traceparent, occurred_at, attempt, hop, first_failed_at, body, reason)
    VALUES %s
    ON CONFLICT (queue, message_id, replay_no) DO NOTHING
"""

_COLUMNS = """dead_letter_id, queue, message_id, replay_no, type, version, correlation_id, traceparent,
    occurred_at, attempt, hop, first_failed_at, body, reason, died_at, replayed_at, replayed_by,
    replay_reason"""

_LIST = f"""
    SELECT {_COLUMNS} FROM ordermq.dead_letters
     WHERE (%(queue)s::text IS NULL OR queue = %(queue)s)
       AND (%(correlation_id)s::text IS NULL OR correlation_id = %(correlation_id)s)
       AND (%(replayed)s OR replayed_at IS NULL)
     ORDER BY dead_letter_id DESC LIMIT %(limit)s
"""  # noqa: S608 # _COLUMNS is a constant

_SHOW = f"SELECT {_COLUMNS} FROM ordermq.dead_letters WHERE dead_letter_id = %s"  # noqa: S608 # as above

_MARK_REPLAYED = """
    UPDATE ordermq.dead_letters SET replayed_at = now(), replayed_by = %s, replay_reason = %s
     WHERE dead_letter_id = %s AND replayed_at IS NULL
"""


class DeadLetter(NamedTuple):
    """A row of the table."""

    dead_letter_id: int
    queue: str
    message_id: str
    replay_no: int
    type: str
    version: int
    correlation_id: str
    traceparent: str
    occurred_at: datetime
    attempt: int
    hop: int
    first_failed_at: datetime | None
    body: bytes
    reason: str
    died_at: datetime
    replayed_at: datetime | None
    replayed_by: str | None
    replay_reason: str | None


def keep(tx: Transaction, queue: str, letters: Sequence[tuple[Envelope, bytes, str]]) -> None:
    """Store (envelope, body, reason) of messages given up. One already stored is left as it is."""
    rows = [
        (
            queue, e.message_id, e.replay_no, e.type, e.version, e.correlation_id, e.traceparent,
            e.occurred_at, e.attempt, e.hop, e.first_failed_at, body, reason,
        )
        for e, body, reason in letters
    ]  # fmt: skip
    tx.execute_values(_KEEP, rows)


def select(
    tx: Transaction,
    *,
    queue: str | None = None,
    correlation_id: str | None = None,
    replayed: bool = False,
    limit: int = 100,
) -> list[DeadLetter]:
    """Return dead letters, newest first; those replayed already only if asked."""
    params = {"queue": queue, "correlation_id": correlation_id, "replayed": replayed, "limit": limit}
    return [_letter(row) for row in tx.fetch_all(_LIST, params)]


def get(tx: Transaction, dead_letter_id: int) -> DeadLetter | None:
    """Return one dead letter, or None."""
    row = tx.fetch_one(_SHOW, (dead_letter_id,))
    return _letter(row) if row else None


def replay(tx: Transaction, letter: DeadLetter, *, by: str, reason: str) -> bool:
    """Send a dead letter to its queue again; False if somebody has replayed it already.

    The message keeps its message_id; attempts start at 1 and replay_no rises, so a
    second death is a dead letter of its own. It leaves with the caller's commit. Raises
    BadInput for one that no consumer will ever read: its envelope was broken (it is kept
    with version 0), or its body is over the limit.
    """
    if letter.version == 0 or len(letter.body) > MAX_BODY_BYTES:
        raise BadInput(
            f"dead letter {letter.dead_letter_id} can never be handled ({letter.reason}); "
            "send what it meant as a new message: ordermq-publish messages"
        )
    if tx.execute(_MARK_REPLAYED, (by, reason, letter.dead_letter_id)) == 0:
        return False
    envelope = Envelope(
        message_id=letter.message_id, type=letter.type, version=letter.version,
        correlation_id=letter.correlation_id, traceparent=letter.traceparent, occurred_at=letter.occurred_at,
        attempt=1, hop=letter.hop + 1, replay_no=letter.replay_no + 1,
    )  # fmt: skip
    tx.append([OutboxRow(letter.queue, envelope, letter.body)])
    return True


def _letter(row: Sequence[object]) -> DeadLetter:
    letter = DeadLetter(*row)  # type: ignore[arg-type] # the columns are the fields, in order
    return letter._replace(body=bytes(letter.body))
