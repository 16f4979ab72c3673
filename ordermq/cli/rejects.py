"""The records that could not be taken, as JSON lines next to the work."""

import json
import os
from collections import Counter
from pathlib import Path
from typing import TextIO

from ordermq.cli.progress import Input
from ordermq.errors import UsageError
from ordermq.shop.intake import Reject

_MOST_REASONS = 20


class RejectsFile:
    """Writes {line, reason, order_id, record} for each reject; without one, no file appears.

    A file of an earlier run is replaced. Only its owner can read it: records hold
    personal data. ``reasons`` counts them by the words before the first colon.
    """

    def __init__(self, path: Path, source: Input) -> None:
        """Raises UsageError if ``path`` is the file that is read: the first reject would empty it."""
        if source.is_file(path):
            raise UsageError(f"--rejects {path} is the file to be read; name another")
        self.path = path
        self.count = 0
        self.reasons: Counter[str] = Counter()
        self._file: TextIO | None = None

    def add(self, reject: Reject) -> None:
        """Write one reject. Raises UsageError if the file cannot be written."""
        self.count += 1
        reason = reject.reason.partition(":")[0]
        self.reasons[reason if reason in self.reasons or len(self.reasons) < _MOST_REASONS else "others"] += 1
        record = {
            "line": reject.line,
            "reason": reject.reason,
            "order_id": reject.order_id,
            "record": reject.record,
        }
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
