"""Signed notes and their keys, as c2sp.org/signed-note has them. Pure; ``signing`` makes the signatures.

text, its last line ended too
(an empty line)
— key.name/one base64(key id, signature)
"""

import base64
import binascii
import hashlib
import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

from ordermq.errors import BadInput

ED25519 = 1
COSIGNATURE = 4  # Ed25519 too, over the checkpoint and the time: c2sp.org/tlog-cosignature
KEY_BYTES = 32

MAX_NOTE_BYTES = 1_000_000
MOST_SIGNATURES = 100

_LINE = re.compile(r"— ([^\s+]+) ([A-Za-z0-9+/]+=*)")
_CONTROL = re.compile(r"[\x00-\x09\x0b-\x1f]")
_NAME = re.compile(r"[^\s+]+")


class NoteSignature(NamedTuple):
    """A signature line: the key's name, its id, and the bytes after the id."""

    name: str
    key_id: bytes
    signature: bytes

    def line(self) -> str:
        """Return the line, ended."""
        return f"— {self.name} {encoded(self.key_id + self.signature)}\n"


@dataclass(frozen=True)
class Note:
    """A text that ends in a newline, and its signatures, of which none was verified."""

    text: str
    signatures: Sequence[NoteSignature]

    def encode(self) -> bytes:
        """Return the bytes of the note."""
        return (self.text + "\n" + "".join(each.line() for each in self.signatures)).encode()


@dataclass(frozen=True)
class VerifierKey:
    """A public key: what it signs as, and how.

    ``str()`` is its vkey, which every tool for signed notes takes.
    """

    name: str
    algorithm: int
    public_key: bytes

    @property
    def key_id(self) -> bytes:
        """The first four bytes of a hash of name, algorithm and key.

        Two keys may have the same by bad luck.
        """
        return key_id(self.name, self.algorithm, self.public_key)

    def __str__(self) -> str:
        return f"{self.name}+{self.key_id.hex()}+{encoded(bytes([self.algorithm]) + self.public_key)}"


def key_id(name: str, algorithm: int, public_key: bytes) -> bytes:
    """Return the id under which a key signs notes."""
    return hashlib.sha256(name.encode() + b"\n" + bytes([algorithm]) + public_key).digest()[:4]


def check_name(name: str) -> str:
    """Return ``name`` if a key or a log may have it. Raises BadInput."""
    if _NAME.fullmatch(name) is None or _CONTROL.search(name):
        raise BadInput(
            f"{name!r} cannot name a key: write one word without blanks and '+', like audit.example.com/shop"
        )
    return name


def parse_note(data: bytes, what: str = "the note") -> Note:
    """Read a note. Raises BadInput, which says ``what`` is not one."""
    if len(data) > MAX_NOTE_BYTES:
        raise BadInput(f"{what} is too large for a signed note: {len(data)} bytes")
    try:
        text = data.decode()
    except UnicodeDecodeError as exc:
        raise BadInput(f"{what} is no signed note: it is not UTF-8") from exc
    body, separator, lines = text.rpartition("\n\n")
    if _CONTROL.search(text) or not separator or not lines.endswith("\n"):
        raise BadInput(f"{what} is no signed note: a text, an empty line and signatures are expected")
    signatures = [_signature(line, what) for line in lines[:-1].split("\n")]
    if len(signatures) > MOST_SIGNATURES:
        raise BadInput(f"{what} has {len(signatures)} signatures, more than {MOST_SIGNATURES}")
    return Note(body + "\n", signatures)


def parse_signatures(data: bytes, what: str) -> list[NoteSignature]:
    """Read signature lines alone, as a witness answers with. Raises BadInput."""
    return list(parse_note(b"-\n\n" + data, what).signatures)


def parse_key(vkey: str, what: str = "the key") -> VerifierKey:
    """Read a vkey, ``name+id+key``. Raises BadInput."""
    name, *rest = vkey.strip().split("+", 2)
    if len(rest) != 2:
        raise BadInput(
            f"{what} is no verifier key: NAME+ID+KEY is expected, as 'ordermq audit keygen' prints it"
        )
    data = decoded(rest[1], what)
    key = VerifierKey(check_name(name), data[0] if data else 0, data[1:])
    if key.algorithm not in (ED25519, COSIGNATURE) or len(key.public_key) != KEY_BYTES:
        raise BadInput(f"{what} is of a type other than Ed25519; only that one can be verified here")
    if rest[0] != key.key_id.hex():
        raise BadInput(
            f"{what} is damaged: its id {rest[0]} is not that of its name and key, {key.key_id.hex()}"
        )
    return key


def encoded(data: bytes) -> str:
    """Return base64 as all of these formats have it."""
    return base64.b64encode(data).decode()


def decoded(text: str, what: str) -> bytes:
    """Return the bytes of base64 that is written in the one right way. Raises BadInput."""
    try:
        data = base64.b64decode(text, validate=True)
    except (binascii.Error, ValueError) as exc:
        raise BadInput(f"{what} is damaged: {text[:80]!r} is not base64") from exc
    if encoded(data) != text:
        raise BadInput(f"{what} is damaged: {text[:80]!r} is not the canonical base64 of its bytes")
    return data


def number(text: str, what: str) -> int:
    """Return a decimal number without a leading zero. Raises BadInput."""
    if not (text.isascii() and text.isdigit()) or (text != "0" and text.startswith("0")) or len(text) > 20:
        raise BadInput(f"{what} is damaged: {text[:80]!r} is not a number")
    return int(text)


def _signature(line: str, what: str) -> NoteSignature:
    matched = _LINE.fullmatch(line)
    data = decoded(matched[2], what) if matched else b""
    if matched is None or len(data) <= 4:
        raise BadInput(f"{what} is no signed note: {line[:80]!r} is not a signature line")
    return NoteSignature(matched[1], data[:4], data[4:])
