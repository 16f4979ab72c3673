"""The file of the records that a bulk command refused, as JSON lines."""

import json
import os
from collections import Counter
from pathlib import Path
from typing import TextIO

from ordermq.cli.progress import Input
from ordermq.cli.records import Reject
from ordermq.errors import UsageError

_MOST_REASONS = 20


class RejectsFile:
    """Writes {line, reason, record} of each reject; without a reject, no file appears.

    A file of an earlier run is replaced. Only its owner can read it, because records hold
    personal data. ``reasons`` counts the rejects by the words before the first colon.
    """

    def __init__(self, path: Path, source: Input, *, id_name: str | None = None) -> None:
        """With ``id_name`` also the record's own id is written, under that name.

        Raises UsageError if ``path`` is the file that is read: the first reject would empty it.
        """
        if source.is_file(path):
            raise UsageError(f"--rejects {path} is the file to be read; name another")
        self.path = path
        self._id_name = id_name
        self.count = 0
        self.reasons: Counter[str] = Counter()
        self._file: TextIO | None = None

    def add(self, reject: Reject) -> None:
        """Write one reject. Raises UsageError if the file cannot be written."""
        self.count += 1
        reason = reject.reason.partition(":")[0]
        self.reasons[reason if reason in self.reasons or len(self.reasons) < _MOST_REASONS else "others"] += 1
        record_id = {self._id_name: reject.record_id} if self._id_name else {}
        record = {"line": reject.line, "reason": reject.reason, **record_id, "record": reject.record}
        try:
            if self._file is None:
                self._file = self._open()
            self._file.write(json.dumps(record) + "\n")
        except OSError as exc:
            raise UsageError(f"cannot write rejects to {self.path}: {exc.strerror}; see --rejects") from exc

    def summary(self) -> list[str]:
        """Return lines for a person: how many of each reason, and where they are."""
        lines = [f"{count:8}  {reason}" for reason, count in self.reasons.most_common()]
        return [*lines, f"rejects: {self.path}"] if lines else []

    def close(self) -> None:
        """Write out what is buffered. Raises UsageError like ``add``."""
        if self._file is not None:
            try:
                self._file.close()
            except OSError as exc:
                raise UsageError(f"cannot write rejects to {self.path}: {exc.strerror}") from exc

    def _open(self) -> TextIO:
        descriptor = os.open(self.path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o600)
        return os.fdopen(descriptor, "w", encoding="utf-8")
