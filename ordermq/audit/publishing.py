"""Publish the log: records that got positions since the last checkpoint become leaves, and it is signed anew.

Invariants
    PBL1  A checkpoint is signed only if its tree continues what was signed before, as the database and the
        folder remember it.
    PBL2  Tiles are written first, then the checkpoint in the database, then that in the folder. After a crash
        between two of these the next run writes the same bytes again.
"""

import fcntl
import os
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from ordermq.audit.checking import Step
from ordermq.audit.checkpoint import Checkpoint
from ordermq.audit.entries import RecordId, entry_of
from ordermq.audit.folder import CHECKPOINT, LogFolder, make_folder
from ordermq.audit.growing import LogWriter
from ordermq.audit.merkle import EMPTY_ROOT
from ordermq.audit.signing import SigningKey, opened
from ordermq.errors import NotProven, UsageError
from ordermq.store import Session
from ordermq.store.checkpoints import SignedRow, add_checkpoint, last_checkpoint
from ordermq.store.positions import PositionedRecord, count_positions, records_between

BATCH = 4096  # records that are read at once


@dataclass(frozen=True)
class PublishedLog:
    """What a run published: the checkpoint, and how many entries are new in it."""

    checkpoint: Checkpoint
    added: int


@dataclass(frozen=True)
class LogPublisher:
    """Publishes into a folder what a database holds. ``sources`` are the queries of the records, by name."""

    session: Session
    sources: Mapping[str, str]
    path: Path
    key: SigningKey

    def publish(self, step: Step = lambda count: None) -> PublishedLog:
        """Publish what is new. Raises NotProven if it would not continue what was signed (PBL1)."""
        folder = LogFolder(self.path)
        with only_publisher(self.path):
            before = self._published(folder)
            with self.session.transaction() as tx:
                signed, total = last_checkpoint(tx), count_positions(tx)
            self._check_sizes(before, signed, total)
            writer = LogWriter(folder, before)
            if signed is not None and signed.size > before.size:
                self._append(writer, signed.size, step)
                before = self._agreed(writer, signed)
                folder.put_checkpoint(signed.note)
            if total == before.size and folder.read(CHECKPOINT) is not None:
                return PublishedLog(before, 0)
            self._append(writer, total, step)
            checkpoint = writer.finish(self.key.name)
            note = self.key.sign(checkpoint).encode()
            with self.session.transaction() as tx:
                add_checkpoint(tx, SignedRow(checkpoint.size, checkpoint.root, note))
            folder.put_checkpoint(note)
            return PublishedLog(checkpoint, checkpoint.size - before.size)

    def _published(self, folder: LogFolder) -> Checkpoint:
        """Return the checkpoint in the folder; that of an empty log if there is none."""
        data = folder.read(CHECKPOINT)
        if data is None:
            return Checkpoint(self.key.name, 0, EMPTY_ROOT)
        return opened(data, self.key.verifier, f"{self.path}/{CHECKPOINT}").checkpoint

    def _check_sizes(self, before: Checkpoint, signed: SignedRow | None, total: int) -> None:
        most = max(before.size, signed.size if signed else 0)
        if total < most:
            raise NotProven(
                f"the database has {total} positions, and {most} entries were signed: truncated tail;"
                " a database that was restored from a backup needs the rest, or a new log under another name"
            )
        if before.size > (signed.size if signed else 0):
            raise NotProven(
                f"{self.path} has a checkpoint of {before.size} entries that the database does not know:"
                " its row was removed, or the database is another one"
            )

    def _agreed(self, writer: LogWriter, signed: SignedRow) -> Checkpoint:
        """Return the checkpoint of what was written. Raises NotProven if it is not what was signed."""
        written = writer.finish(self.key.name)
        if written.root != signed.root:
            raise NotProven(
                f"the records at the first {signed.size} positions are not those that were signed:"
                " forked history; restore the folder, then 'ordermq audit verify --full' names the record"
            )
        return opened(signed.note, self.key.verifier, "the database's last checkpoint").checkpoint

    def _append(self, writer: LogWriter, end: int, step: Step) -> None:
        while writer.size < end:
            begin, until = writer.size, min(writer.size + BATCH, end)
            with self.session.transaction() as tx:
                found = records_between(tx, self.sources, begin, until)
            check_whole(found, begin, until)
            writer.append([entry_of(*each[1:4], each.content or b"") for each in found])
            step(until - begin)


def check_whole(found: Sequence[PositionedRecord], begin: int, end: int) -> None:
    """Raise NotProven unless each position has a record, and its row is there."""
    if [each.position for each in found] != list(range(begin, end)):
        missing = next(iter(set(range(begin, end)) - {each.position for each in found}))
        raise NotProven(
            f"position {missing} has no record: removed row of ordermq.positions, or a record of a module"
            " that is not in force here ('ordermq config show modules')"
        )
    for each in found:
        if each.content is None:
            where = f"{RecordId(*each[1:4])}, at position {each.position},"
            raise NotProven(
                f"removed row: {where} is not in its table; if it was archived, restore that archive first"
            )


@contextmanager
def only_publisher(path: Path, *, waits: bool = False) -> Iterator[None]:
    """Hold the lock of the folder. Raises UsageError if another process holds it, unless it ``waits``."""
    try:
        make_folder(path)
        lock = os.open(path / ".publishing", os.O_WRONLY | os.O_CREAT, 0o600)
    except OSError as exc:
        raise UsageError(f"cannot write into {path}: {exc.strerror}") from exc
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | (0 if waits else fcntl.LOCK_NB))
        yield
    except BlockingIOError as exc:
        raise UsageError(f"another process publishes into {path}; wait until it has ended") from exc
    finally:
        os.close(lock)
