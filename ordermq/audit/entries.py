"""What a leaf of the log says, and the proof for all entries of one subject. Pure.

A leaf is the source, the subject and the number of a record, each on a line, and then the record's content
as its source encodes it: ``shop.order_events``, ``A-1001``, ``3``, and the bytes of that event.
docs/audit.md has the encodings.
"""

import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from hashlib import sha256
from typing import Any, NamedTuple

from ordermq.audit.notes import decoded, encoded
from ordermq.audit.proof import LogProof, hashes_of
from ordermq.audit.tiles import MAX_ENTRY_BYTES
from ordermq.errors import BadInput


class RecordId(NamedTuple):
    """Which record a leaf is of: the table, what it is about, and its number there."""

    source: str
    subject: str
    number: int

    def __str__(self) -> str:
        return " ".join(each for each in (self.source, self.subject, str(self.number)) if each)


class ProvenEntry(NamedTuple):
    """A leaf, its position, and the hashes from it to the root of the checkpoint."""

    position: int
    entry: bytes
    hashes: Sequence[bytes]


@dataclass(frozen=True)
class SubjectProof:
    """The newest entry of a subject as a proof, and those before it inside its ``extra``."""

    entries: Sequence[ProvenEntry]  # the newest first
    checkpoint: bytes

    def encode(self) -> bytes:
        """Return a tlog-proof of the newest entry, which any tool for such proofs verifies."""
        newest, *others = self.entries
        extra = {
            "entry": encoded(newest.entry),
            "others": [
                {
                    "index": each.position,
                    "entry": encoded(each.entry),
                    "hashes": [encoded(h) for h in each.hashes],
                }
                for each in others
            ],
        }
        return LogProof(
            newest.position, newest.hashes, self.checkpoint, json.dumps(extra, separators=(",", ":")).encode()
        ).encode()


def entry_of(source: str, subject: str, number: int, content: bytes | memoryview) -> bytes:
    """Return the leaf of a record. The hash stands for a content that is too long for one."""
    head = f"{source}\n{subject}\n{number}\n".encode()
    if len(head) + len(content) > MAX_ENTRY_BYTES:
        content = f"sha256:{sha256(content).hexdigest()}".encode()
    return b"".join((head, content))


def record_id(entry: bytes, what: str) -> RecordId:
    """Return which record a leaf is of. Raises BadInput if it is none."""
    parts = entry.split(b"\n", 3)
    if len(parts) < 4 or not parts[2].isdigit():
        raise BadInput(
            f"{what} is not an entry of ordermq: source, subject and number are expected, each on a line"
        )
    source, subject = (each.decode("utf-8", "replace") for each in parts[:2])
    return RecordId(source, subject, int(parts[2]))


def with_entries(proof: LogProof, what: str) -> SubjectProof:
    """Return a proof with the entries in its ``extra``; nothing of it is verified.

    Raises BadInput if there are none.
    """
    try:
        extra = json.loads(proof.extra)
        newest = ProvenEntry(proof.index, decoded(extra["entry"], what), proof.hashes)
        others = list(_others(extra["others"], what))
    except (ValueError, KeyError, TypeError, AttributeError) as exc:
        raise BadInput(
            f"{what} does not hold the entry it proves; 'ordermq audit prove' writes it into the line 'extra'"
        ) from exc
    return SubjectProof([newest, *others], proof.checkpoint)


def _others(documents: Sequence[Any], what: str) -> Iterator[ProvenEntry]:
    for each in documents:
        yield ProvenEntry(int(each["index"]), decoded(each["entry"], what), hashes_of(each["hashes"], what))
