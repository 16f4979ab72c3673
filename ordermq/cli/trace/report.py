"""All that is known of one correlation id, merged: a timeline, and what it waits for."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

from ordermq.cli.program import Program
from ordermq.cli.status.snapshot import Snapshot
from ordermq.cli.trace.waiting import PendingMessage, WaitingMessage, find_out
from ordermq.module import ModuleTrace, TraceEntry
from ordermq.store import StoreTransaction, timeline
from ordermq.store.timeline import DeathRow, HandledRow, PausedRow, SentRow

_SNAPSHOT = "SET TRANSACTION ISOLATION LEVEL REPEATABLE READ, READ ONLY"

_OVER = ("done", "dead")


@dataclass(frozen=True)
class TraceData:
    """What database and modules know of a correlation id. Empty if they know nothing."""

    traces: Sequence[ModuleTrace] = ()
    entries: Sequence[TraceEntry] = ()
    pending: Sequence[PendingMessage] = ()

    @property
    def is_empty(self) -> bool:
        return not (self.traces or self.entries or self.pending)


@dataclass(frozen=True)
class TraceReport:
    """What ``ordermq trace`` tells. ``entries`` are in order of time, with seconds since the one before."""

    correlation_id: str
    subjects: Sequence[str]
    entries: Sequence[tuple[TraceEntry, float]]
    waiting: Sequence[WaitingMessage]
    waits_for: str
    notes: Sequence[str] = field(default_factory=list)

    def document(self) -> dict[str, Any]:
        """Return what ``--json`` prints."""
        return {
            "correlation_id": self.correlation_id,
            "subjects": list(self.subjects),
            "entries": [
                {"at": each.at, "after_s": after_s, "kind": each.kind, "text": each.text, **each.values}
                for each, after_s in self.entries
            ],
            "waiting": [vars(each) for each in self.waiting],
            "waits_for": self.waits_for,
            "notes": list(self.notes),
        }


def collect(program: Program, tx: StoreTransaction, correlation_id: str) -> TraceData:
    """Return what there is, all of one moment. The transaction must be new, and takes no writes after it."""
    tx.execute(_SNAPSHOT)
    found = [each(tx, program.loaded, correlation_id) for each in program.traces]
    traces = [each for each in found if each is not None]
    sent = timeline.sent(tx, correlation_id)
    deaths = timeline.deaths(tx, correlation_id)
    ids = [key for each in traces for key in each.messages]
    ids += [(row.queue, row.message_id) for row in sent]
    ids += [(letter.queue, letter.message_id) for letter in deaths]
    handled = timeline.handled(tx, ids)
    entries = [
        *(entry for each in traces for entry in each.entries),
        *_settled(handled, sent),
        *(entry for each in deaths for entry in _death(each)),
        *_acted(tx, traces, deaths),
    ]
    if entries:
        queues = {each.queue for each in handled if each.outcome or each.owner} | {
            each.queue for each in sent
        }
        since = min(each.at for each in entries)
        entries += [
            entry for each in timeline.paused_since(tx, sorted(queues), since) for entry in _paused(each)
        ]
    return TraceData(traces, entries, list(_pending(traces, sent, deaths, handled)))


def report_on(correlation_id: str, known: TraceData, snapshot: Snapshot) -> TraceReport:
    """Put it in order, and say what it waits for."""
    waiting = [find_out(each, snapshot) for each in known.pending]
    ordered = sorted(known.entries, key=lambda each: each.at)
    before = [each.at for each in ordered[:1] + ordered[:-1]]
    after = [(each.at - at).total_seconds() for each, at in zip(ordered, before, strict=True)]
    return TraceReport(
        correlation_id,
        [each.subject for each in known.traces],
        list(zip(ordered, after, strict=True)),
        waiting,
        _sentence(known.traces, waiting),
        snapshot.notes,
    )


def _sentence(traces: Sequence[ModuleTrace], waiting: Sequence[WaitingMessage]) -> str:
    words = [each for trace in traces for each in trace.waits_for]
    for each in waiting:
        lost = next((trace.if_lost for trace in traces if trace.if_lost), "") if each.place == "lost" else ""
        words.append(f"{each.what or each.message_id}: {each.waits_for}" + (f" ({lost})" if lost else ""))
    return "It waits for " + "; ".join(words) + "." if words else "It waits for nothing."


def _settled(handled: Sequence[HandledRow], sent: Sequence[SentRow]) -> Iterator[TraceEntry]:
    errors = {(each.queue, each.message_id): each.last_error for each in sent}
    for row in handled:
        if row.settled_at is not None and row.hop is not None:
            error = errors.get((row.queue, row.message_id)) if row.outcome not in _OVER else None
            again = f" at delivery {row.hop + 1}" if row.hop else ""
            text = f"{row.queue}: {row.outcome}{again}" + (f", {error}" if error else "")
            values = {
                "queue": row.queue,
                "message_id": row.message_id,
                "outcome": row.outcome,
                "hop": row.hop,
            }
            yield TraceEntry(row.settled_at, "message", text, values)
        if row.starts and row.started_at is not None:
            text = f"{row.queue}: begun, {row.starts} times without an end"
            yield TraceEntry(row.started_at, "message", text, {"queue": row.queue, "starts": row.starts})


def _death(letter: DeathRow) -> Iterator[TraceEntry]:
    number = letter.dead_letter_id
    values = {"dead_letter_id": number, "queue": letter.queue, "message_id": letter.message_id}
    yield TraceEntry(letter.died_at, "dead letter", f"{number} {letter.queue}: {letter.reason}", values)
    for at, what, by, why in (
        (letter.replayed_at, "replayed", letter.replayed_by, letter.replay_reason),
        (letter.discarded_at, "discarded", letter.discarded_by, letter.discard_reason),
    ):
        if at is not None:
            yield TraceEntry(at, "dead letter", f"{number} {what} by {by}: {why}", values)


def _acted(
    tx: StoreTransaction, traces: Sequence[ModuleTrace], deaths: Sequence[DeathRow]
) -> Iterator[TraceEntry]:
    """Yield what people did, but to a dead letter: that stands in the letter's own entries."""
    subjects = [each for trace in traces for each in trace.action_subjects]
    letters = {f"dead_letter {each.dead_letter_id}" for each in deaths}
    for each in timeline.acted(tx, [*subjects, *letters]):
        if each.subject not in letters or each.action not in ("dead.replay", "dead.discard"):
            text = f"{each.action} by {each.actor}: {each.reason}"
            yield TraceEntry(each.acted_at, "action", text, {"action": each.action, "actor": each.actor})


def _paused(pause: PausedRow) -> Iterator[TraceEntry]:
    values = {"queue": pause.queue}
    text = f"{pause.queue} paused by {pause.paused_by}: {pause.pause_reason}"
    yield TraceEntry(pause.paused_at, "queue", text, values)
    if pause.resumed_at is not None:
        text = f"{pause.queue} resumed by {pause.resumed_by}: {pause.resume_reason}"
        yield TraceEntry(pause.resumed_at, "queue", text, values)


def _pending(
    traces: Sequence[ModuleTrace],
    sent: Sequence[SentRow],
    deaths: Sequence[DeathRow],
    handled: Sequence[HandledRow],
) -> Iterator[PendingMessage]:
    """Yield the messages that are not done: those a module waits for, and those the tables show to be."""
    what = {key: each for trace in traces for key, each in trace.pending.items()}
    sent_of = {(each.queue, each.message_id): each for each in reversed(sent)}
    death_of = {(each.queue, each.message_id): each for each in deaths if each.is_open}
    handled_of = {(each.queue, each.message_id): each for each in handled}
    called = [key for key, each in handled_of.items() if each.owner is not None]
    begun = [key for key, each in handled_of.items() if each.outcome and each.outcome not in _OVER]
    for key in dict.fromkeys([*what, *sent_of, *death_of, *called, *begun]):
        yield PendingMessage(
            *key, what.get(key, ""), sent_of.get(key), death_of.get(key), handled_of.get(key)
        )
