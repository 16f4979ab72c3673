"""Messages that came back: one of them may be what ended the process before.

Every kind of queue of every broker sets the redelivered flag, and none says more. After each
lost connection it is set on hundreds of messages that did nothing. So the database counts starts:

    came back, never begun since      begun together with the others, after a committed start
    came back, begun without an end   begun alone in its process, after a committed start
    begun three times without an end  a dead letter
    begun six times                   decoding it or its on_dead ends the process: a dead letter,
                                      kept without decoding it
    begun nine times                  an on_unreadable ends the process: a dead letter, and no
                                      on_unreadable is called

A start is forgotten by the transaction that settles the message.

Invariants
    STA1  A start is committed before anything of the message but its properties is read.
    STA2  While a message runs alone, no other runs in this process: so if the process dies, that
        message is the cause.
"""

import logging
import threading
from collections.abc import Callable, Iterable, Sequence
from typing import NamedTuple

from ordermq.config.settings import DatabaseSettings
from ordermq.consumer.received import Message, Received, Unreadable, decode, unreadable
from ordermq.consumer.running import HandlerRun
from ordermq.errors import OrderMQError
from ordermq.log_events import CONSUMER_STARTS_UNWRITTEN
from ordermq.store import Session, StoreTransaction, starts
from ordermq.store.runs import OVERDUE, note_run
from ordermq.store.starts import MAX_STARTS, Started
from ordermq.task.registry import Registry

log = logging.getLogger(__name__)

NOTE_S = 3.0


class Suspect(NamedTuple):
    """A message that is to run alone; ``before`` is what is known of its earlier starts."""

    message: Received
    before: Started


def begin_together(session: Session, queue: str, messages: Sequence[Received]) -> list[Suspect]:
    """Commit a start of each message; return those begun before, whose start is not counted yet."""
    with session.transaction() as tx:
        return begin(tx, queue, messages)


def begin(tx: StoreTransaction, queue: str, messages: Sequence[Received]) -> list[Suspect]:
    """Do what ``begin_together`` does in the caller's transaction."""
    before = starts.begin(tx, queue, [each.message_id for each in messages])
    return [Suspect(each, before[each.message_id]) for each in messages if each.message_id in before]


def begin_alone(session: Session, queue: str, suspect: Suspect) -> None:
    """Commit one more start of a message that runs alone. May be called again with the same value."""
    message, before = suspect
    with session.transaction() as tx:
        starts.put(tx, queue, {message.message_id: before._replace(starts=before.starts + 1)})


def decode_suspect(suspect: Suspect, queue: str, registry: Registry) -> Message:
    """Decode a message that runs alone, unless decoding it may be what ends the process."""
    message, before = suspect
    if before.starts < 2 * MAX_STARTS or (isinstance(message, Unreadable) and not message.asks_modules):
        return decode(message, queue, registry)
    return unreadable(
        message,
        f"{_reason(before)}, and so does reading it or what follows from its death",
        asks_modules=before.starts < 3 * MAX_STARTS,
    )


def dead_reason(before: Started) -> str:
    """Return why a message with these starts is dead although it can be read; "" if it may run."""
    return _reason(before) if before.starts >= MAX_STARTS else ""


def forget(tx: StoreTransaction, queue: str, messages: Iterable[Received]) -> None:
    """Forget the starts of the suspects among ``messages``: they ended, so they end no process."""
    starts.end(tx, queue, [each.message_id for each in messages if each.is_suspect])


def forget_settled(tx: StoreTransaction, queue: str, messages: Iterable[Received]) -> None:
    """Forget the starts of messages that were settled before; another delivery may have left some."""
    starts.end(tx, queue, [each.message_id for each in messages])


def put_back(tx: StoreTransaction, queue: str, suspects: Iterable[Suspect]) -> None:
    """Uncount the last start of these messages: it was committed, but they were not run."""
    starts.put(tx, queue, {message.message_id: before for message, before in suspects})


def note_overdue(database: DatabaseSettings, runs: Sequence[HandlerRun]) -> None:
    """Write down that these handlers ran past their deadline, as the process ends for it.

    Best effort: blocks for at most NOTE_S seconds, and never raises.
    """
    _note(database, starts.mark_overdue, [(run.queue, run.messages) for run in runs], counts=True)


def note_left_running(database: DatabaseSettings, runs: Sequence[HandlerRun]) -> None:
    """Forget the starts of what a drain leaves running: a deploy in between is not their fault.

    Best effort, like ``note_overdue``.
    """
    suspects = [(run.queue, [each for each in run.messages if each.is_suspect]) for run in runs]
    if any(messages for _, messages in suspects):
        _note(database, starts.end, suspects)


def _note(
    database: DatabaseSettings,
    write: Callable[[StoreTransaction, str, Sequence[str]], None],
    messages: Sequence[tuple[str, Sequence[Received]]],
    *,
    counts: bool = False,
) -> None:
    ids: dict[str, list[str]] = {}
    for queue, some in messages:
        ids.setdefault(queue, []).extend(each.message_id for each in some)

    def main() -> None:
        session = Session(database, name="ordermq-consumer last note")
        try:
            with session.transaction() as tx:
                for queue, message_ids in ids.items():
                    write(tx, queue, message_ids)
            if counts:  # apart: its table is for metrics only
                with session.transaction() as tx:
                    for queue in sorted(ids):
                        note_run(tx, OVERDUE, queue)
        except OrderMQError as exc:
            log.warning(
                "could not write down what was left running: %s", exc, extra=CONSUMER_STARTS_UNWRITTEN
            )
        finally:
            session.close()

    thread = threading.Thread(target=main, name="ordermq-note", daemon=True)
    thread.start()
    thread.join(NOTE_S)


def _reason(before: Started) -> str:
    if before.overdue:
        return f"started {before.starts} times and never ended: it ran past its deadline"
    return f"started {before.starts} times and never ended: it kills the process"
