"""Putting the events of an archive back, and where those of an order are.

Invariants
    ARC3  Events are put back only from the very file that was archived, by its SHA-256, and only if they
        are as many as the archive has and each order still waits in it. Else nothing is.
    ARC4  Events that are put back keep their positions: they get no second leaf in the audit log.
"""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from datetime import date, datetime
from pathlib import Path

from ordermq.errors import BadInput, OrderArchived, OrderConflict
from ordermq.shop.archives.lines import ArchivedEvent, ArchiveReader, file_sha256
from ordermq.shop.events import RECORDS
from ordermq.store import Session, StoreTransaction, actions
from ordermq.store.arrays import arrays_of
from ordermq.store.positions import WHOLE_TABLE_S
from ordermq.task import Transaction

BATCH = 2000  # events in one statement

_FIND = """
    SELECT a.archive_id, a.month, a.file, a.orders, a.events, encode(a.sha256, 'hex'),
           encode(a.leaves, 'hex'), a.archived_at, a.archived_by, r.restored_at
      FROM shop.archives AS a LEFT JOIN shop.restored_archives AS r USING (archive_id)
"""

_BY_HASH = f"{_FIND} WHERE a.sha256 = %s ORDER BY a.archive_id DESC LIMIT 1"  # a constant

_ALL = f"{_FIND} ORDER BY a.archive_id"  # a constant

_OF_ORDER = f"""
    {_FIND} JOIN shop.orders AS o USING (archive_id) WHERE o.order_id = %s
"""  # a constant

_LOCK = """
    SELECT order_id, archived_version FROM shop.orders WHERE archive_id = %s
     ORDER BY order_id COLLATE "C" FOR NO KEY UPDATE
"""

_ADD = """
    INSERT INTO shop.order_events (order_id, version, type, step, occurred_at, body)
    SELECT order_id, version, type, step, occurred_at, convert_to(body, 'UTF8')
      FROM unnest(%s::text[], %s::integer[], %s::text[], %s::text[], %s::timestamptz[], %s::text[])
        AS v (order_id, version, type, step, occurred_at, body)
"""

# What the trigger noted for them in this transaction: they have their positions (ARC4).
_HAVE_POSITIONS = """
    DELETE FROM ordermq.unnumbered WHERE xmin = pg_current_xact_id()::xid AND source = %s
"""

_UNMARK = """
    UPDATE shop.orders SET archive_id = NULL, archived_version = NULL WHERE archive_id = %s
"""

Step = Callable[[int], None]


@dataclass(frozen=True, slots=True)
class Archive:
    """A row of ``shop.archives``; ``restored_at`` is None while the events are in the file alone."""

    archive_id: int
    month: date
    file: str
    orders: int
    events: int
    sha256: str
    leaves: str
    archived_at: datetime
    archived_by: str
    restored_at: datetime | None


@dataclass(frozen=True)
class Restored:
    """What was put back."""

    archive: Archive
    orders: int
    events: int


def archives(tx: Transaction) -> list[Archive]:
    """Return all archives, the oldest first."""
    return [Archive(*row) for row in tx.fetch_all(_ALL)]


def archive_of(order_id: str, tx: Transaction) -> Archive | None:
    """Return the archive that has the events of an order; None if the table has them."""
    row = tx.fetch_one(_OF_ORDER, (order_id,))
    return None if row is None else Archive(*row)


def why_archived(order_id: str, tx: Transaction) -> OrderArchived | None:
    """Return an error that names the file with the events of an order; None if the table has them."""
    found = archive_of(order_id, tx)
    if found is None:
        return None
    return OrderArchived(
        f"order {order_id}: its events are archived in {found.file};"
        f" ordermq archive restore {found.file} --reason ..."
    )


def refuse_archived(order_id: str, tx: Transaction) -> None:
    """Raise OrderArchived if the events of an order are in a file."""
    if (why := why_archived(order_id, tx)) is not None:
        raise why


def restore(
    path: Path,
    session: Session,
    *,
    by: str,
    reason: str,
    dry_run: bool = False,
    step: Step = lambda count: None,
) -> Restored:
    """Put the events of an archive back into the table, all or none (ARC3).

    ``step`` is called with the number of events. Raises UsageError, BadInput for a file that is no archive
    of this database, and OrderConflict if it was restored before.
    """
    sha256 = file_sha256(path)
    with session.transaction(dry_run=dry_run, statement_timeout_s=WHOLE_TABLE_S) as tx:
        archive = _registered(path, sha256, tx)
        waiting: dict[str, int] = dict(tx.fetch_all(_LOCK, (archive.archive_id,)))
        if not waiting:
            raise OrderConflict(f"no order waits for {path}: it was restored meanwhile")
        reader, added = ArchiveReader(path), 0
        batch: list[ArchivedEvent] = []
        for event in reader.events():
            batch.append(event)
            if len(batch) == BATCH:
                added += _add(batch, tx)
                step(len(batch))
                batch = []
        added += _add(batch, tx)
        step(len(batch))
        if reader.totals.leaves.hex() != archive.leaves:
            raise BadInput(f"{path} changed while it was read: nothing was restored")
        if reader.totals.versions != waiting or added != archive.events:
            raise OrderConflict(
                f"{path} has {len(reader.totals.versions)} orders with {added} events, and {len(waiting)}"
                f" orders with {sum(waiting.values())} wait for it: nothing was restored;"
                " see 'ordermq reconcile'"
            )
        tx.execute(_HAVE_POSITIONS, (RECORDS.name,))
        tx.execute(_UNMARK, (archive.archive_id,))
        tx.execute(
            "INSERT INTO shop.restored_archives (archive_id, restored_by) VALUES (%s, %s)",
            (archive.archive_id, by),
        )
        actions.record(tx, by, "archive.restore", [f"archive {archive.archive_id}"], f"{path}: {reason}")
    return Restored(archive, len(waiting), added)


def _registered(path: Path, sha256: bytes, tx: StoreTransaction) -> Archive:
    row = tx.fetch_one(_BY_HASH, (sha256,))
    if row is None:
        raise BadInput(
            f"{path} is not a file that was archived here: its SHA-256 {sha256.hex()} is in no row of"
            " shop.archives. Edited archive, or one of another database; see 'ordermq archive list'"
        )
    archive = Archive(*row)
    if archive.restored_at is not None:
        raise OrderConflict(f"{path} was restored at {archive.restored_at:%Y-%m-%d %H:%M:%S} UTC before")
    return archive


def _add(events: Sequence[ArchivedEvent], tx: StoreTransaction) -> int:
    if not events:
        return 0
    columns: Iterable[object] = arrays_of([each[1:] for each in events])
    return tx.execute(_ADD, tuple(columns))
