"""Failures by their cause, as metrics: the same fingerprint that ``ordermq dead group`` shows."""

import re
import threading
from hashlib import md5

from ordermq.observe import metrics

OTHER = "other"

# As the column of dead_letters: parts of a reason that differ between messages do not count.
_QUOTED = re.compile(r"'[^']*'|\"[^\"]*\"")
# A handler's reason may be of any length, and may hold half of a surrogate pair.
_LONGEST = 2000
_NUMBER = re.compile(r"[0-9a-fA-F-]*[0-9][0-9a-fA-F-]*")

_known: set[str] = set()
_lock = threading.Lock()


def fingerprint(queue: str, message_type: str, reason: str) -> str:
    """Return what messages that failed of one cause have in common."""
    text = _NUMBER.sub("#", _QUOTED.sub("?", reason[:_LONGEST]))
    return md5(
        f"{queue} {message_type} {text}".encode("utf-8", "replace"), usedforsecurity=False
    ).hexdigest()[:12]


def count_failure(queue: str, message_type: str, outcome: str, reason: str) -> None:
    """Count a retry or a death. Causes past MOST_FINGERPRINTS of a process are one."""
    found = fingerprint(queue, message_type, reason)
    with _lock:
        if found not in _known:
            if len(_known) >= metrics.MOST_FINGERPRINTS:
                found = OTHER
            else:
                _known.add(found)
    metrics.failures.labels(queue=queue, outcome=outcome, fingerprint=found).inc()
