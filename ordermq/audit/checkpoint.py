"""Checkpoints: the size and the root of a log, signed (c2sp.org/tlog-checkpoint). Pure."""

from collections.abc import Sequence
from dataclasses import dataclass

from ordermq.audit.merkle import HASH_BYTES
from ordermq.audit.notes import Note, check_name, decoded, encoded, number, parse_note
from ordermq.errors import BadInput


@dataclass(frozen=True)
class Checkpoint:
    """What a log says of itself: who it is, how many leaves it has, and their root."""

    origin: str
    size: int
    root: bytes
    extensions: Sequence[str] = ()

    def text(self) -> str:
        """Return the text that is signed."""
        return "".join(f"{each}\n" for each in (self.origin, self.size, encoded(self.root), *self.extensions))


@dataclass(frozen=True)
class SignedCheckpoint:
    """A checkpoint and the note it was read from."""

    checkpoint: Checkpoint
    note: Note


def parse_checkpoint(data: bytes, what: str = "the checkpoint") -> SignedCheckpoint:
    """Read a signed checkpoint; its signatures are not verified. Raises BadInput."""
    note = parse_note(data, what)
    lines = note.text[:-1].split("\n")
    if len(lines) < 3 or "" in lines:
        raise BadInput(f"{what} is no checkpoint: the lines origin, size and root are expected")
    origin, size, root, *extensions = lines
    hash_ = decoded(root, what)
    if len(hash_) != HASH_BYTES:
        raise BadInput(f"{what} is damaged: its root has {len(hash_)} bytes in the place of {HASH_BYTES}")
    return SignedCheckpoint(
        Checkpoint(check_name(origin), number(size, what), hash_, tuple(extensions)), note
    )
