"""A log as files below one folder, which any web server can serve: tiles, entries and the checkpoint.

Invariants
    FOL1  A file is whole or not there, also after a crash: it is written beside its place, synced and moved.
    FOL2  A tile or bundle that is there is never replaced by one of other bytes. Only the checkpoint is.
    FOL3  Tiles that are not full stay for as long as a checkpoint may need them: until the full one is there.
"""

import os
import shutil
from collections.abc import Iterable
from pathlib import Path

from ordermq.audit.tiles import Tile
from ordermq.errors import NotProven, UsageError

CHECKPOINT = "checkpoint"
_WRITTEN = ".being-written"


class LogFolder:
    """The folder of a log; ``what`` names it in errors."""

    def __init__(self, path: Path) -> None:
        self._path = path
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
        self._write(CHECKPOINT, note)

    def drop_partial(self, full: Iterable[Tile]) -> None:
        """Delete what is not needed any more now that the tiles ``full`` are there (FOL3)."""
        for tile in full:
            shutil.rmtree(self._path / f"{tile.path()}.p", ignore_errors=True)

    def _write(self, name: str, data: bytes) -> None:
        path = self._path / name
        beside = path.with_name(path.name + _WRITTEN)
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            with beside.open("wb") as file:
                file.write(data)
                file.flush()
                os.fsync(file.fileno())
            beside.replace(path)
        except OSError as exc:
            raise UsageError(
                f"cannot write {path}: {exc.strerror}; who runs this needs the right to write there"
            ) from exc
