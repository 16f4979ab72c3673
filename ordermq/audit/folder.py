"""A log as files below one folder, which any web server can serve: tiles, entries and the checkpoint.

Invariants
    FOL1  A file is whole or not there, also after a crash: it is written beside its place, synced and moved.
        ``sync`` has what was moved survive a loss of power.
    FOL2  A tile or bundle that is there is never replaced by one of other bytes. Only the checkpoint is.
    FOL3  Tiles that are not full stay for as long as a checkpoint may need them: until the full one is there.
"""

import os
import shutil
from collections.abc import Sequence
from pathlib import Path

from ordermq.audit.tiles import Tile
from ordermq.errors import NotProven, UsageError

CHECKPOINT = "checkpoint"
_WRITTEN = ".being-written"


def make_folder(path: Path) -> None:
    """Make a folder and those above it, and have them stay after a loss of power. Raises OSError."""
    missing = [each for each in (path, *path.parents) if not each.exists()]
    path.mkdir(parents=True, exist_ok=True)
    for each in missing:
        sync_folder(each.parent)


def sync_folder(path: Path) -> None:
    """Have the names of the files in a folder stay after a loss of power. Raises OSError."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


class LogFolder:
    """The folder of a log; ``what`` names it in errors."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._moved_in: set[Path] = set()  # folders that are not synced since a file was moved there
        self.what = str(path)

    def read(self, name: str) -> bytes | None:
        """Return the bytes of a file of the log, None if there is none.

        Raises UsageError if it cannot be read.
        """
        try:
            return (self._path / name).read_bytes()
        except (FileNotFoundError, NotADirectoryError):
            return None
        except OSError as exc:
            raise UsageError(f"cannot read {self._path / name}: {exc.strerror}") from exc

    def add(self, tile: Tile, data: bytes) -> None:
        """Write a tile.

        Raises NotProven if another is there already (FOL2), UsageError if it cannot be written.
        """
        found = self.read(tile.path())
        if found is None:
            self._write(tile.path(), data)
        elif found != data:
            raise NotProven(
                f"{self._path / tile.path()} holds other hashes than the database gives: replaced tile,"
                " or events that were changed; 'ordermq audit verify --full' says which"
            )

    def put_checkpoint(self, note: bytes) -> None:
        """Replace the checkpoint. Raises UsageError if it cannot be written."""
        self.sync()
        self._write(CHECKPOINT, note)
        self.sync()

    def sync(self) -> None:
        """Have all that was written stay. Raises UsageError if the folder cannot be synced."""
        while self._moved_in:
            folder = self._moved_in.pop()
            try:
                sync_folder(folder)
            except OSError as exc:
                raise UsageError(f"cannot sync {folder}: {exc.strerror}; run this again") from exc

    def drop_partial(self, full: Sequence[Tile]) -> None:
        """Delete what is not needed any more now that the tiles ``full`` are there (FOL3)."""
        if full:
            self.sync()
        for tile in full:
            shutil.rmtree(self._path / f"{tile.path()}.p", ignore_errors=True)

    def _write(self, name: str, data: bytes) -> None:
        path = self._path / name
        beside = path.with_name(path.name + _WRITTEN)
        try:
            make_folder(path.parent)
            with beside.open("wb") as file:
                file.write(data)
                file.flush()
                os.fsync(file.fileno())
            beside.replace(path)
            self._moved_in.add(path.parent)
        except OSError as exc:
            is_forbidden = isinstance(exc, PermissionError)
            advice = "who runs this needs the right to write there" if is_forbidden else "then run this again"
            raise UsageError(f"cannot write {path}: {exc.strerror}; {advice}") from exc
