"""The records of a third party in a file, one JSON document a line, for its next start."""

import os
from collections.abc import Iterator
from pathlib import Path
from typing import Generic, TypeVar

import msgspec

Record = TypeVar("Record", bound=msgspec.Struct)


class RecordJournal(Generic[Record]):
    """An append-only file. A record is with the kernel when ``append`` returns, so it survives SIGKILL.

    Not for several threads at once: its user's lock covers deciding, appending and applying.
    """

    def __init__(self, path: Path, kind: type[Record]) -> None:
        self._path = path
        self._decoder = msgspec.json.Decoder(kind)
        self._encoder = msgspec.json.Encoder()
        self._file = os.open(path, os.O_RDWR | os.O_CREAT | os.O_APPEND, 0o600)

    def replay(self) -> Iterator[Record]:
        """Yield every record from the beginning; a last line that a kill left unfinished is cut off."""
        whole_bytes = 0
        with self._path.open("rb") as lines:
            for line in lines:
                if not line.endswith(b"\n"):
                    break
                whole_bytes += len(line)
                yield self._decoder.decode(line)
        os.ftruncate(self._file, whole_bytes)

    def append(self, record: Record) -> None:
        """Write one record."""
        os.write(self._file, self._encoder.encode(record) + b"\n")
