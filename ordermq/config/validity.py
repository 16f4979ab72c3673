"""From when until when the certificates and revocation lists of a PEM file are valid. Pure.

Python's ssl says it of a server's certificate, and of no file. So the two times are read from DER: the
layout is that of RFC 5280, sections 4.1 and 5.1. Signatures are not looked at; the connection does that.
"""

import base64
import re
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import NamedTuple

_BLOCK = re.compile(
    rb"-----BEGIN (CERTIFICATE|TRUSTED CERTIFICATE|X509 CRL)-----\s(.*?)-----END \1-----", re.DOTALL
)
_INTEGER, _SEQUENCE, _VERSION = 0x02, 0x30, 0xA0
_UTC_TIME, _GENERALIZED_TIME = 0x17, 0x18
_MONTH = timedelta(days=30)
_WEEK = timedelta(days=7)


class Validity(NamedTuple):
    """When something begins and ends to be valid. ``issuer`` is the DER of the authority's name."""

    begins: datetime
    ends: datetime
    issuer: bytes = b""

    def is_due(self, now: datetime) -> bool:
        """Whether it should be renewed: a month before its end, or in the last quarter of a short life."""
        return self.ends - now < min(_MONTH, (self.ends - self.begins) / 4)

    def is_urgent(self, now: datetime) -> bool:
        """Whether it has nearly run out: a week before its end, or the last twelfth of a short life."""
        return self.ends - now < min(_WEEK, (self.ends - self.begins) / 12)


def certificates_in(pem: bytes) -> list[Validity]:
    """Return each certificate of a file, in its order. Raises ValueError if one cannot be read."""
    return [_certificate(each) for is_list, each in _blocks(pem) if not is_list]


def revocations_in(pem: bytes) -> list[Validity]:
    """Return the newest list of each authority. Raises ValueError if one cannot be read."""
    newest: dict[bytes, Validity] = {}
    for is_list, each in _blocks(pem):
        if is_list and (found := _revocations(each)) is not None:
            before = newest.get(found.issuer)
            newest[found.issuer] = found if before is None or before.ends < found.ends else before
    return list(newest.values())


def _blocks(pem: bytes) -> Iterator[tuple[bool, bytes]]:
    for kind, text in _BLOCK.findall(pem):
        yield kind == b"X509 CRL", base64.b64decode(b"".join(text.split()), validate=True)


def _certificate(der: bytes) -> Validity:
    inner = _inner(der)
    if inner.tag == _VERSION:
        inner.skip()
    inner.skip(_INTEGER)  # the serial number
    inner.skip(_SEQUENCE)  # the algorithm
    issuer = inner.skip(_SEQUENCE)
    times = _Reader(inner.skip(_SEQUENCE))
    return Validity(times.time(), times.time(), issuer)


def _revocations(der: bytes) -> Validity | None:
    """Return the times of a list; None if it does not say when the next one comes."""
    inner = _inner(der)
    if inner.tag == _INTEGER:
        inner.skip()  # the version
    inner.skip(_SEQUENCE)  # the algorithm
    issuer = inner.skip(_SEQUENCE)
    begins = inner.time()
    return Validity(begins, inner.time(), issuer) if inner.tag in (_UTC_TIME, _GENERALIZED_TIME) else None


def _inner(der: bytes) -> "_Reader":
    """Return a reader of what is signed: the first part of the outer sequence."""
    return _Reader(_Reader(_Reader(der).skip(_SEQUENCE)).skip(_SEQUENCE))


class _Reader:
    """Reads the values of a sequence in DER, one after the other."""

    def __init__(self, data: bytes) -> None:
        self._data = data
        self._at = 0

    @property
    def tag(self) -> int | None:
        """What comes next; None at the end."""
        return self._data[self._at] if self._at < len(self._data) else None

    def skip(self, wanted: int | None = None) -> bytes:
        """Go past the next value and return its content. Raises ValueError if it is not as wanted."""
        if self.tag is None or wanted not in (None, self.tag):
            raise ValueError("it is no certificate or revocation list in DER")
        begin, length = self._length()
        self._at = begin + length
        if self._at > len(self._data):
            raise ValueError("it ends too early")
        return self._data[begin : self._at]

    def time(self) -> datetime:
        """Go past a time and return it."""
        tag = self.tag
        text = self.skip().decode("ascii", "replace")
        if tag not in (_UTC_TIME, _GENERALIZED_TIME):
            raise ValueError("it has no time where one belongs")
        if tag == _UTC_TIME:  # of two digits of a year those from 50 on are of the last century
            text = ("19" if text[:2] >= "50" else "20") + text
        return datetime.strptime(text, "%Y%m%d%H%M%SZ").replace(tzinfo=UTC)

    def _length(self) -> tuple[int, int]:
        """Return where the content of the next value begins, and how long it is."""
        head = self._data[self._at + 1 : self._at + 2]
        if not head or head[0] in (0x80, 0xFF):
            raise ValueError("it has a value without a length")
        begin = self._at + 2
        if head[0] < 0x80:
            return begin, head[0]
        end = begin + (head[0] & 0x7F)
        return end, int.from_bytes(self._data[begin:end])
