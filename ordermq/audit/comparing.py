"""Compare the rows of a database with a log whose files were verified: what differs is named.

Invariants
    CMP1  Each entry of the log is compared with the row that has its position now, byte for byte. Each row
        that has no position and does not wait for one is found. Rows are compared by the bundle, as the
        database puts it together; where that is not the log's, one by one.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import closing

from ordermq.audit.archived import ArchivedEntries
from ordermq.audit.checking import Step, Tampering, check_files
from ordermq.audit.checkpoint import Checkpoint
from ordermq.audit.entries import RecordId, entry_of, record_id
from ordermq.audit.merkle import range_hash
from ordermq.audit.notes import VerifierKey
from ordermq.audit.signing import opened
from ordermq.audit.source import LogSource, read_tile
from ordermq.audit.tiles import TILE_WIDTH, TileTree, bundle
from ordermq.errors import BadInput, NotProven
from ordermq.store import Session
from ordermq.store.actions import RECORDS as ACTIONS
from ordermq.store.bundles import bundles_between
from ordermq.store.checkpoints import SignedRow, all_checkpoints
from ordermq.store.positions import (
    WHOLE_TABLE_S,
    ArchiveOfRecords,
    PositionedRecord,
    archives_of,
    count_positions,
    records_between,
    unpositioned,
)

BATCH = 4096  # rows that are read at once
MOST_INSERTED = 100  # rows without a position that are named for each source


class RowComparison:
    """Compares entries with rows; ``entries`` is called for one bundle after the other, in order.

    Until ``close`` the session is used by a thread of its own.
    """

    def __init__(
        self, session: Session, sources: Mapping[str, str], size: int, archived: Mapping[str, str]
    ) -> None:
        self._session = session
        self._sources = sources
        self._archived = archived
        self.in_archives = ArchivedEntries()
        self._size = size
        self._read_to = 0
        self._bundles: dict[int, bytes] = {}
        self._reader = ThreadPoolExecutor(1)  # reads the next rows while these are compared, on the session
        self._next: Future[dict[int, bytes]] | None = None

    def entries(self, first: int, entries: Sequence[bytes]) -> Iterator[Tampering]:
        """Yield what the rows say otherwise than the entries from position ``first`` on."""
        if first >= self._read_to:
            self._bundles = (self._next or self._reader.submit(self._read, first)).result()
            self._read_to = first + BATCH
            self._next = self._reader.submit(self._read, self._read_to)
        if entries and self._bundles.get(first) != bundle(entries):
            yield from self._one_by_one(first, entries)

    def _one_by_one(self, first: int, entries: Sequence[bytes]) -> Iterator[Tampering]:
        rows, archives = self._reader.submit(self._read_rows, first, first + len(entries)).result()
        for position, entry in enumerate(entries, first):
            row = rows.get(position)
            archive = archives.get((row.source, row.subject)) if row and row.content is None else None
            if row and archive and record_id(entry, f"position {position}") == RecordId(*row[1:4]):
                self.in_archives.add(archive, entry)
            elif row is None or row.content is None or entry != entry_of(*row[1:4], row.content):
                yield _difference(position, entry, row)

    def _read(self, first: int) -> dict[int, bytes]:
        end = min(first + BATCH, self._size)
        if first >= end:
            return {}
        with self._session.transaction() as tx:
            return bundles_between(tx, self._sources, first, end, TILE_WIDTH)

    def _read_rows(
        self, begin: int, end: int
    ) -> tuple[dict[int, PositionedRecord], dict[tuple[str, str], ArchiveOfRecords]]:
        archives: dict[tuple[str, str], ArchiveOfRecords] = {}
        with self._session.transaction() as tx:
            found = records_between(tx, self._sources, begin, end)
            for source, archived in self._archived.items():
                gone = {each.subject for each in found if each.source == source and each.content is None}
                if gone:
                    of_subjects = archives_of(tx, source, archived, gone)
                    archives |= {(source, subject): each for subject, each in of_subjects.items()}
        return {each.position: each for each in found}, archives

    def close(self) -> None:
        """Have the session to oneself again; ``entries`` is not called after it."""
        self._reader.shutdown(cancel_futures=True)

    def rows(self) -> Iterator[Tampering]:
        """Yield what is in the tables and not in the log. ``close`` comes before."""
        with self._session.transaction() as tx:
            total = count_positions(tx)
        if total < self._size:
            text = f"the last of {self._size} positions that were signed is {total - 1}"
            yield Tampering("truncated tail", "ordermq.positions", text)
        for source, select in self._sources.items():
            with self._session.transaction(statement_timeout_s=WHOLE_TABLE_S) as tx:
                found = unpositioned(tx, source, select, limit=MOST_INSERTED)
            for subject, number in found:
                where = str(RecordId(source, subject, number))
                text = "it has no position and does not wait for one: written while triggers were off"
                yield Tampering("inserted row", where, text)


def compare(
    session: Session, sources: Mapping[str, str], source: LogSource, checkpoint: Checkpoint, key: VerifierKey,
    *, archived: Mapping[str, str] | None = None, step: Step = lambda count: None,
    say: Callable[[str], None] = lambda line: None,
) -> Iterator[Tampering]:  # fmt: skip
    """Yield what is wrong with a log, and what the rows of the database say otherwise than it (CMP1, CMP2).

    ``archived`` are the queries of the records that are in files; ``say`` gets a line for each file.
    """
    rows = RowComparison(session, sources, checkpoint.size, archived or {})
    has_tiles = True
    with closing(rows):
        for each in check_files(source, checkpoint, step, rows.entries):
            has_tiles = has_tiles and each.kind != "replaced tile"
            yield each
    if has_tiles:  # else the earlier roots cannot be computed
        yield from _check_signed(session, source, checkpoint, key)
    yield from rows.rows()
    yield from rows.in_archives.differences()
    for line in rows.in_archives.lines():
        say(line)


def _check_signed(
    session: Session, source: LogSource, checkpoint: Checkpoint, key: VerifierKey
) -> Iterator[Tampering]:
    """Yield what the checkpoints that were signed say against the one in the folder."""
    with session.transaction() as tx:
        signed = all_checkpoints(tx)
    tree = TileTree(lambda tile: read_tile(source, tile), checkpoint.size)
    if checkpoint.size not in {each.size for each in signed}:
        text = f"it does not have the checkpoint of {checkpoint.size} entries that {source.what} has"
        yield Tampering("removed row", "ordermq.checkpoints", text)
    for each in signed:
        if each.size > checkpoint.size:
            text = f"it has {checkpoint.size} entries, and {each.size} were signed"
            yield Tampering("older checkpoint", f"{source.what}/checkpoint", text)
        elif not _is_signed(each, key):
            where = f"ordermq.checkpoints {each.size}"
            yield Tampering("swapped key", where, f"its note is not signed by {key.name}+{key.key_id.hex()}")
        elif range_hash(tree, 0, each.size) != each.root:
            text = f"the first {each.size} entries are not those of the checkpoint that was signed then"
            yield Tampering("forked history", source.what, text)


def _difference(position: int, entry: bytes, row: PositionedRecord | None) -> Tampering:
    logged = record_id(entry, f"position {position}")
    if row is None:
        return Tampering("removed row", f"ordermq.positions {position}", f"the log has {logged} there")
    found = RecordId(*row[1:4])
    if found != logged:
        return Tampering(
            "reordered row", f"ordermq.positions {position}", f"it is {found}, and the log has {logged}"
        )
    if row.content is None:
        return Tampering("removed row", str(logged), f"position {position} of the log has it")
    kind = "changed operator action" if found.source == ACTIONS.name else "edited row"
    return Tampering(kind, str(logged), f"it is not what position {position} of the log has")


def _is_signed(row: SignedRow, key: VerifierKey) -> bool:
    try:
        checkpoint = opened(row.note, key).checkpoint
    except (NotProven, BadInput):
        return False
    return (checkpoint.size, checkpoint.root) == (row.size, row.root)
