"""A proof that an entry is in a log, in one file (c2sp.org/tlog-proof). Pure."""

from collections.abc import Sequence
from dataclasses import dataclass

from ordermq.audit.merkle import HASH_BYTES
from ordermq.audit.notes import decoded, encoded, number
from ordermq.errors import BadInput

HEADER = "c2sp.org/tlog-proof@v1"
MOST_HASHES = 63


@dataclass(frozen=True)
class LogProof:
    """The index of an entry, the hashes from it to the root, and the signed checkpoint.

    ``extra`` is proven by nothing.
    """

    index: int
    hashes: Sequence[bytes]
    checkpoint: bytes
    extra: bytes = b""

    def encode(self) -> bytes:
        """Return the bytes of the file."""
        lines = [HEADER]
        if self.extra:
            lines.append(f"extra {encoded(self.extra)}")
        lines += [f"index {self.index}", *map(encoded, self.hashes), ""]
        return "".join(f"{each}\n" for each in lines).encode() + self.checkpoint


def parse_proof(data: bytes, what: str = "the proof") -> LogProof:
    """Read a proof; nothing in it is verified. Raises BadInput."""
    head, separator, checkpoint = data.partition(b"\n\n")
    try:
        lines = head.decode("ascii").split("\n")
    except UnicodeDecodeError as exc:
        raise BadInput(f"{what} is no tlog-proof: its first lines are not ASCII") from exc
    if lines.pop(0) != HEADER or not separator:
        raise BadInput(f"{what} is no tlog-proof: its first line must be {HEADER}")
    extra = b""
    if lines and lines[0].startswith("extra "):
        extra = decoded(lines.pop(0).removeprefix("extra "), what)
    if not lines or not lines[0].startswith("index "):
        raise BadInput(f"{what} is damaged: it names no index")
    index = number(lines.pop(0).removeprefix("index "), what)
    return LogProof(index, hashes_of(lines, what), checkpoint, extra)


def hashes_of(lines: Sequence[str], what: str) -> list[bytes]:
    """Return the hashes of lines of base64.

    Raises BadInput for one that is none, and for more than a proof may have.
    """
    hashes = [decoded(each, what) for each in lines]
    if len(hashes) > MOST_HASHES or any(len(each) != HASH_BYTES for each in hashes):
        raise BadInput(f"{what} is damaged: {MOST_HASHES} hashes of {HASH_BYTES} bytes at most are expected")
    return hashes
