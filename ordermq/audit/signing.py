"""Ed25519 for signed notes and cosignatures: make keys, sign, verify. Needs the extra ``ordermq[audit]``.

Invariants
    SGN1  A note is refused if a key that is known signed it wrongly, even if another signed it well.
    SGN2  A private key leaves this module only as the text for its file.
"""

import struct
from collections.abc import Iterable
from dataclasses import dataclass

from ordermq.audit.checkpoint import Checkpoint, SignedCheckpoint, parse_checkpoint
from ordermq.audit.notes import (
    COSIGNATURE,
    ED25519,
    KEY_BYTES,
    Note,
    NoteSignature,
    VerifierKey,
    check_name,
    decoded,
    encoded,
)
from ordermq.errors import BadInput, ConfigError, NotProven

try:
    from cryptography.exceptions import InvalidSignature
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey
except ImportError as exc:
    raise ConfigError(
        "the audit log needs the package cryptography for its signatures: pip install 'ordermq[audit]'"
    ) from exc

_PRIVATE = "PRIVATE+KEY+"
_TIMESTAMP = struct.Struct(">Q")


@dataclass(frozen=True, repr=False)
class SigningKey:
    """A private key and the name it signs as."""

    name: str
    private_key: Ed25519PrivateKey

    @property
    def verifier(self) -> VerifierKey:
        """The public key of it."""
        return VerifierKey(self.name, ED25519, self.private_key.public_key().public_bytes_raw())

    def sign(self, checkpoint: Checkpoint) -> Note:
        """Return the checkpoint as a note with one signature."""
        text = checkpoint.text()
        signature = NoteSignature(self.name, self.verifier.key_id, self.private_key.sign(text.encode()))
        return Note(text, [signature])

    def file_text(self) -> str:
        """Return the line that a key file holds, ``PRIVATE+KEY+name+id+key``. It is a secret."""
        data = bytes([ED25519]) + self.private_key.private_bytes_raw()
        return f"{_PRIVATE}{self.name}+{self.verifier.key_id.hex()}+{encoded(data)}\n"


@dataclass(frozen=True)
class Cosigned:
    """A witness that has seen the checkpoint, and when, in seconds since 1970 by its own clock."""

    name: str
    at_s: int


def new_key(name: str) -> SigningKey:
    """Return a new random key. Raises BadInput for a name that no key may have."""
    return SigningKey(check_name(name), Ed25519PrivateKey.generate())


def read_key(text: str, what: str) -> SigningKey:
    """Return the key of a key file's text. Raises BadInput, which does not show the text."""
    parts = text.strip().removeprefix(_PRIVATE).split("+", 2)
    if not text.startswith(_PRIVATE) or len(parts) != 3:
        raise BadInput(f"{what} holds no private key; 'ordermq audit keygen' writes one")
    try:
        data = decoded(parts[2], what)
    except BadInput:
        data = b""
    if len(data) != KEY_BYTES + 1 or data[0] != ED25519:
        raise BadInput(f"{what} holds a private key that is damaged, or not of Ed25519") from None
    key = SigningKey(check_name(parts[0]), Ed25519PrivateKey.from_private_bytes(data[1:]))
    if parts[1] != key.verifier.key_id.hex():
        raise BadInput(f"{what} holds a private key whose id is not that of its name and key")
    return key


def opened(data: bytes, key: VerifierKey, what: str = "the checkpoint") -> SignedCheckpoint:
    """Return the checkpoint if ``key`` signed it. Raises BadInput if it is none, else NotProven (SGN1)."""
    signed = parse_checkpoint(data, what)
    mine = _of(signed.note, key)
    if not mine:
        names = ", ".join(sorted({f"{each.name}+{each.key_id.hex()}" for each in signed.note.signatures}))
        raise NotProven(
            f"{what} is not signed by {key.name}+{key.key_id.hex()} but by {names}:"
            " swapped key, or another log"
        )
    message = signed.note.text.encode()
    if not all(_holds(key, each.signature, message) for each in mine):
        raise NotProven(
            f"{what} has a signature of {key.name} that does not hold: it was changed after signing"
        )
    return signed


def cosigned(
    signed: SignedCheckpoint, witnesses: Iterable[VerifierKey], what: str = "the checkpoint"
) -> list[Cosigned]:
    """Return which of ``witnesses`` cosigned.

    Raises NotProven if a cosignature of one does not hold (SGN1).
    """
    found = []
    for key in witnesses:
        for each in _of(signed.note, key):
            if len(each.signature) <= _TIMESTAMP.size:
                raise NotProven(f"{what} has a cosignature of {key.name} that is too short")
            (at_s,) = _TIMESTAMP.unpack_from(each.signature)
            message = f"cosignature/v1\ntime {at_s}\n{signed.note.text}".encode()
            if key.algorithm != COSIGNATURE or not _holds(key, each.signature[_TIMESTAMP.size :], message):
                raise NotProven(f"{what} has a cosignature of {key.name} that does not hold")
            found.append(Cosigned(key.name, at_s))
    return found


def _of(note: Note, key: VerifierKey) -> list[NoteSignature]:
    return [each for each in note.signatures if (each.name, each.key_id) == (key.name, key.key_id)]


def _holds(key: VerifierKey, signature: bytes, message: bytes) -> bool:
    try:
        Ed25519PublicKey.from_public_bytes(key.public_key).verify(signature, message)
    except InvalidSignature:
        return False
    return True
