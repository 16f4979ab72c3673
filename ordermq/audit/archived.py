"""Records that left their table for a file; their entries stay in the log.

Invariants
    CMP2  Of the entries whose rows are in an archive the hashes are summed up in the order of the log, and
        compared with the sum that was written down when they were archived.
"""

from collections.abc import Iterator
from dataclasses import dataclass, field
from hashlib import sha256
from typing import Any

from ordermq.audit.checking import Tampering
from ordermq.audit.merkle import leaf_hash
from ordermq.store.positions import ArchiveOfRecords


@dataclass
class _Sum:
    archive: ArchiveOfRecords
    records: int = 0
    hashes: Any = field(default_factory=sha256)


class ArchivedEntries:
    """Sums up entries by archive; ``add`` is called in the order of the log."""

    def __init__(self) -> None:
        self._sums: dict[tuple[str, int], _Sum] = {}

    def add(self, archive: ArchiveOfRecords, entry: bytes) -> None:
        """Add an entry whose row is in ``archive``."""
        found = self._sums.setdefault((archive.source, archive.number), _Sum(archive))
        found.records += 1
        found.hashes.update(leaf_hash(entry))

    def differences(self) -> Iterator[Tampering]:
        """Yield the archives that have other records than the log."""
        for each in self._sums.values():
            if (each.records, each.hashes.digest()) != (each.archive.records, each.archive.leaves):
                text = (
                    f"its {each.archive.records} records are not the {each.records} that the log has of them"
                )
                yield Tampering("removed row", f"archive {each.archive.number}, {each.archive.file}", text)

    def lines(self) -> Iterator[str]:
        """Yield a line for each archive: where its records are."""
        for each in self._sums.values():
            yield f"{each.records} records are archived in {each.archive.file}"
