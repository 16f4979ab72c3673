"""Archiving a month: the events of its orders at rest go into a file, and leave the table.

Invariants
    ARC1  Events leave the table only when the file that has them is on the disk, was read back, and says the
        same as the table. The archive's row, the mark of its orders and the removal are one transaction.
    ARC2  An order is archived as it was read: one that has changed until its row is locked stops the run,
        and nothing is archived. An archived order gets no event, by a constraint of the table.
    ARC5  A file gets its name while the rows of all its orders are locked, and keeps it: no run deletes a
        file that another may have registered. Until then it is the run's own, under a name of chance.
"""

import os
import secrets
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import NamedTuple

from ordermq.audit.folder import make_folder, sync_folder
from ordermq.errors import OrderConflict, UsageError
from ordermq.shop.archives.choosing import Chosen, Month, RefusedOrder, changed_since, choose_orders
from ordermq.shop.archives.lines import ArchiveReader, ArchiveWriter, Totals, event_of_content, file_sha256
from ordermq.shop.events import RECORDS
from ordermq.store import Session, StoreTransaction, actions
from ordermq.store.positions import records_between

BATCH = 4096  # positions, or orders, in one statement

_SNAPSHOT = "SET TRANSACTION ISOLATION LEVEL REPEATABLE READ, READ ONLY"

_ADD = """
    INSERT INTO shop.archives (month, file, sha256, orders, events, leaves, archived_by)
    VALUES (%s, %s, %s, %s, %s, %s, %s) RETURNING archive_id
"""

_MARK = """
    UPDATE shop.orders SET archive_id = %s, archived_version = version WHERE order_id = ANY(%s)
"""

_REMOVE = "DELETE FROM shop.order_events WHERE order_id = ANY(%s)"

Step = Callable[[int], None]


class Written(NamedTuple):
    """The file that was written and read back, and the path that it gets once its orders are locked."""

    unfinished: Path
    path: Path
    sha256: bytes
    totals: Totals


@dataclass(frozen=True)
class ArchivedMonth:
    """What became of a month's orders: in = archived + refused. ``file`` is None if none was archived."""

    month: str
    file: Path | None = None
    archive_id: int | None = None
    orders: int = 0
    events: int = 0
    refused: list[RefusedOrder] = field(default_factory=list)


def plan_archive(session: Session, month: Month) -> ArchivedMonth:
    """Return what ``archive_month`` would do. Writes nothing."""
    with session.transaction() as tx:
        tx.execute(_SNAPSHOT)
        chosen = choose_orders(month, tx)
    events = sum(chosen.orders.values())
    return ArchivedMonth(month.name, orders=len(chosen.orders), events=events, refused=chosen.refused)


def archive_month(
    session: Session, month: Month, folder: Path, *, by: str, reason: str, step: Step = lambda count: None
) -> ArchivedMonth:
    """Write the file and remove the events (ARC1). ``step`` is called with the number of events written.

    Raises UsageError if the file cannot be written, OrderConflict if an order has changed meanwhile.
    """
    folder = folder.absolute()
    unfinished = folder / f".{month.name}-{secrets.token_hex(8)}.unfinished"
    try:
        written, refused = _write(session, month, unfinished, step)
        if written is None:
            return ArchivedMonth(month.name, refused=refused)
        with session.transaction() as tx:
            archive_id = _remove(written, month, tx, by=by)
            actions.record(tx, by, "archive.create", [f"archive {archive_id}"], f"{written.path}: {reason}")
    finally:
        with suppress(OSError):
            unfinished.unlink(missing_ok=True)
    totals = written.totals
    return ArchivedMonth(month.name, written.path, archive_id, len(totals.versions), totals.events, refused)


def _write(
    session: Session, month: Month, unfinished: Path, step: Step
) -> tuple[Written | None, list[RefusedOrder]]:
    with session.transaction() as tx:
        tx.execute(_SNAPSHOT)
        chosen = choose_orders(month, tx)
        if not chosen.orders:
            return None, chosen.refused
        written = _put(unfinished, partial(_fill, tx, chosen, step), month.name)
    _check_same(written, chosen)
    return written, chosen.refused


def _put(unfinished: Path, fill: Callable[[ArchiveWriter], None], month: str) -> Written:
    """Write a file to the disk. The name that it will get has its SHA-256: it is that of no other content."""
    folder = unfinished.parent
    try:
        make_folder(folder)
        with unfinished.open("xb") as file:
            writer = ArchiveWriter(file, month)
            fill(writer)
            writer.finish()
            file.flush()
            os.fsync(file.fileno())
    except OSError as exc:
        raise _not_written(folder, exc) from exc
    sha256 = file_sha256(unfinished)
    return Written(unfinished, folder / f"{month}-{sha256.hex()[:12]}.jsonl.gz", sha256, writer.totals)


def _name(written: Written) -> None:
    """Give the file its name, on the disk (ARC5)."""
    try:
        written.unfinished.rename(written.path)
        sync_folder(written.path.parent)
    except OSError as exc:
        raise _not_written(written.path.parent, exc) from exc


def _not_written(folder: Path, error: OSError) -> UsageError:
    return UsageError(f"cannot write into {folder}: {error.strerror or error}; nothing was archived")


def _fill(tx: StoreTransaction, chosen: Chosen, step: Step, writer: ArchiveWriter) -> None:
    sources = {RECORDS.name: RECORDS.select}
    for begin in range(chosen.begin or 0, chosen.end, BATCH):
        count = 0
        for each in records_between(tx, sources, begin, min(begin + BATCH, chosen.end)):
            if each.subject in chosen.orders and each.content is not None:
                writer.add(event_of_content(each.position, each.subject, each.number, bytes(each.content)))
                count += 1
        step(count)


def _check_same(written: Written, chosen: Chosen) -> None:
    """Read the file back (ARC1). Raises OrderConflict if it does not have all events of the orders."""
    totals, reader = written.totals, ArchiveReader(written.unfinished)
    for _ in reader.events():
        pass
    if reader.totals.document != totals.document or totals.versions != chosen.orders:
        wrong = {each for each, version in chosen.orders.items() if totals.versions.get(each) != version}
        raise OrderConflict(
            f"the file does not have all events of {len(wrong)} orders, such as {min(wrong, default='')}:"
            " nothing was archived; see 'ordermq reconcile'"
        )


def _remove(written: Written, month: Month, tx: StoreTransaction, *, by: str) -> int:
    """Register the archive, mark its orders and remove their events; return the archive's number."""
    versions = written.totals.versions
    if changed := changed_since(versions, tx):
        raise OrderConflict(
            f"{len(changed)} orders have changed while the file was written, such as {changed[0].order_id}"
            f" ({changed[0].why}): nothing was archived, try again"
        )
    [(archive_id,)] = tx.fetch_all(
        _ADD,
        (
            month.begin.date(), str(written.path), written.sha256, len(versions), written.totals.events,
            written.totals.leaves, by,
        ),
    )  # fmt: skip
    order_ids, removed = sorted(versions), 0
    for begin in range(0, len(order_ids), BATCH):
        batch = order_ids[begin : begin + BATCH]
        tx.execute(_MARK, (archive_id, batch))
        removed += tx.execute(_REMOVE, (batch,))
    if removed != written.totals.events:
        raise OrderConflict(
            f"the table has {removed} events of these orders and the file {written.totals.events}:"
            " nothing was archived; see 'ordermq reconcile'"
        )
    _name(written)
    return int(archive_id)
