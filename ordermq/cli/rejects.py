"""The file of the records that a bulk command refused, as JSON lines."""

import json
import os
import stat
import tempfile
from collections import Counter
from pathlib import Path

from ordermq.cli.output import note
from ordermq.cli.progress import Input
from ordermq.cli.records import Reject
from ordermq.errors import BadInput, UsageError

_MOST_REASONS = 20


class RejectsFile:
    """Writes {line, reason, record} of each reject; without a reject, no file appears.

    The records hold personal data, so they are written to a new file beside ``path`` that only
    its owner can read. ``close`` renames it into place. A file of an earlier run is replaced, and
    so is a link: what it leads to is left alone. ``reasons`` counts the rejects by the words
    before the first colon.
    """

    def __init__(self, path: Path, source: Input, *, id_name: str | None = None) -> None:
        """With ``id_name`` also the record's own id is written, under that name.

        Raises UsageError if ``path`` is the file that is read, or if it cannot be written. So
        that shows before the first record is used.
        """
        if source.is_file(path):
            raise UsageError(f"--rejects {path} is the file to be read; name another")
        self.path = path
        self.source = source
        self._id_name = id_name
        self.count = 0
        self.reasons: Counter[str] = Counter()
        try:
            _check_replaceable(path)
            descriptor, self._written = tempfile.mkstemp(prefix=f".{path.name}.", dir=path.parent)
        except OSError as exc:
            raise UsageError(f"cannot write rejects to {path}: {exc.strerror}; see --rejects") from exc
        self._file = os.fdopen(descriptor, "w", encoding="utf-8")

    def add(self, reject: Reject) -> None:
        """Write one reject. Raises UsageError if the file cannot be written."""
        self.count += 1
        reason = reject.reason.partition(":")[0]
        self.reasons[reason if reason in self.reasons or len(self.reasons) < _MOST_REASONS else "others"] += 1
        record_id = {self._id_name: reject.record_id} if self._id_name else {}
        record = {"line": reject.line, "reason": reject.reason, **record_id, "record": reject.record}
        try:
            self._file.write(json.dumps(record) + "\n")
        except OSError as exc:
            raise UsageError(f"cannot write rejects to {self._written}: {exc.strerror}") from exc

    def summary(self) -> list[str]:
        """Return lines for a person: how many of each reason, and where they are."""
        lines = [f"{count:8}  {reason}" for reason, count in self.reasons.most_common()]
        return [*lines, f"rejects: {self.path}"] if lines else []

    def close(self) -> None:
        """Rename the file into place, or remove it without a reject. Raises UsageError like ``add``."""
        try:
            self._file.close()
            if self.count:
                os.replace(self._written, self.path)
            else:
                os.unlink(self._written)
        except OSError as exc:
            raise UsageError(f"the rejects stay in {self._written} ({self.path}: {exc.strerror})") from exc


def refuse_empty(read: int, source: Input, *, strict: bool) -> None:
    """Say that nothing was in the file. Raises BadInput if that is an error."""
    if read == 0 and strict:
        raise BadInput(f"{source.name} holds no records")
    if read == 0:
        note(f"{source.name} holds no records; with --strict that is an error")


def _check_replaceable(path: Path) -> None:
    """Raise OSError if a file cannot be renamed to ``path``, or must not: a device, another user's file."""
    if path.parent.resolve() == Path("/dev"):
        raise OSError(0, "it is a device")
    try:
        present = path.lstat()
    except FileNotFoundError:
        return
    if not (stat.S_ISREG(present.st_mode) or stat.S_ISLNK(present.st_mode)):
        raise OSError(0, "it is there and not a file")
    folder = path.parent.stat()
    if folder.st_mode & stat.S_ISVTX and os.geteuid() not in (0, present.st_uid, folder.st_uid):
        raise OSError(0, "it is there and belongs to another user")
