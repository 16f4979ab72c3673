"""What a message waits for, in words, by where it is. Pure.

the tables say              the message waits for
a dead letter is open       a person
outbox, refused             the broker to take it
outbox, for later           its time: of the next attempt, or of its slot under a limit
outbox, due                 the relay
a lease                     the answer to a call
none of these               its turn in its queue, if that is there, not paused, and holds messages
"""

from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum

from ordermq.cli.output import seconds
from ordermq.cli.status.snapshot import QueueStatus, Snapshot
from ordermq.store.timeline import DeathRow, HandledRow, SentRow


class MessagePlace(StrEnum):
    """Where a message is."""

    DEAD = "dead"
    OUTBOX = "outbox"
    LEASED = "leased"
    QUEUE = "queue"
    UNACKED = "unacked"
    LOST = "lost"
    UNKNOWN = "unknown"


@dataclass(frozen=True)
class WaitingMessage:
    """A message that is not done: what it is for, where it is, and what it waits for."""

    queue: str
    message_id: str
    what: str
    place: MessagePlace
    waits_for: str


@dataclass(frozen=True)
class PendingMessage:
    """What the tables hold of a message that is not done."""

    queue: str
    message_id: str
    what: str
    sent: SentRow | None = None
    death: DeathRow | None = None
    handled: HandledRow | None = None


def find_out(message: PendingMessage, snapshot: Snapshot) -> WaitingMessage:
    """Return where a message is and what it waits for."""
    place, waits_for = _place_of(message, snapshot)
    return WaitingMessage(message.queue, message.message_id, message.what, place, waits_for)


def _place_of(message: PendingMessage, snapshot: Snapshot) -> tuple[MessagePlace, str]:
    if message.sent is not None:
        return MessagePlace.OUTBOX, _in_outbox(message.sent, message.handled, snapshot)
    if message.death is not None and message.death.is_open:
        number, why = message.death.dead_letter_id, message.death.reason
        return MessagePlace.DEAD, f"a person: dead letter {number} ({why}); ordermq dead show {number}"
    if message.handled is not None and message.handled.owner is not None:
        until = _clock(message.handled.lease_until)
        return (
            MessagePlace.LEASED,
            f"the answer to a call by {message.handled.owner}, whose lease ends at {until}",
        )
    queue = next((each for each in snapshot.queues if each.queue == message.queue), None)
    if queue is None:
        return MessagePlace.UNKNOWN, f"queue {message.queue}, which no handler and no setting names"
    return _in_queue(queue, snapshot)


def _in_outbox(row: SentRow, handled: HandledRow | None, snapshot: Snapshot) -> str:
    at = _clock(row.available_at)
    if row.refusals:
        return f"the broker, which refused it ({row.refused_reason}); the next try is at {at}"
    if not row.is_due:
        if handled is not None and handled.slot_at is not None:
            return f"its slot at {at}, because its key is over its share of a limit"
        if row.last_error:
            return f"attempt {row.attempt} at {at}, after: {row.last_error}"
        return f"its time, {at}"
    return "the relay" if _has_relay(snapshot) else "the relay, and NONE IS ACTIVE"


def _in_queue(queue: QueueStatus, snapshot: Snapshot) -> tuple[MessagePlace, str]:
    name = queue.queue
    if queue.is_missing:
        return MessagePlace.LOST, f"queue {name}, which is MISSING: ordermq topology apply, and send it again"
    if queue.ready is None:
        return MessagePlace.UNKNOWN, f"queue {name}, of which the broker says nothing now"
    if not queue.ready and not queue.unacked:
        return MessagePlace.LOST, (
            f"queue {name}, which is empty: look again in 10 s, and if this stays so the message is lost"
        )
    return (MessagePlace.QUEUE if queue.ready else MessagePlace.UNACKED), _in_line(queue, snapshot)


def _in_line(queue: QueueStatus, snapshot: Snapshot) -> str:
    name, held = queue.queue, f"{queue.ready} ready, {queue.unacked} being handled"
    if pause := next((each for each in snapshot.paused if each.queue == name), None):
        since = f"since {seconds(pause.paused_at)} by {pause.paused_by}: {pause.pause_reason}"
        return f"queue {name} ({held}), which is PAUSED {since}"
    if not queue.consumers:
        return f"queue {name} ({held}), and NO CONSUMER runs"
    if queue.ready:
        return f"its turn in queue {name} ({held}){_held_up(name, snapshot)}"
    return f"a consumer of queue {name} ({held}){_held_up(name, snapshot)}"


def _held_up(queue: str, snapshot: Snapshot) -> str:
    """Say why consumers of the queue stand still, if one says so."""
    reasons = {each.reason for each in snapshot.processes if each.queue == queue and not each.is_lost} - {""}
    return f"; its consumers say: {', '.join(sorted(reasons))}" if reasons else ""


def _has_relay(snapshot: Snapshot) -> bool:
    return any(
        each.role == "relay" and each.state == "active" and not each.is_lost for each in snapshot.processes
    )


def _clock(at: datetime | None) -> str:
    return seconds(at)
