"""The file of the keys that sign messages: ``message.signing_keys_file``.

One key a line, its id and at least 32 random bytes in base64. The first key signs, all are accepted.
An old key may say until when:

    2026-12  mJ3n...Q=
    2026-06  0kf9...M=  until=2027-01-15T00:00:00Z

The file is read again when it has changed, so a rotation needs no restart.

Invariants
    KEY1  A file that cannot be used changes nothing: the keys that were read before stay in force.
    KEY2  No error, no log line and no repr shows a key; they name the line and the key's id.
"""

import base64
import binascii
import logging
import re
import threading
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path

from ordermq.clock import monotonic_s
from ordermq.errors import ConfigError
from ordermq.log_events import SIGNING_KEYS_READ, SIGNING_KEYS_UNREADABLE

log = logging.getLogger(__name__)

LEAST_KEY_BYTES = 32
LOOK_EVERY_S = 5.0
_MOST_BYTES = 64 * 1024
_KEY_ID = re.compile(r"[A-Za-z0-9._-]{1,40}")
_UNTIL = "until="


@dataclass(frozen=True)
class MessageKey:
    """One key. ``until`` is the last instant at which it is accepted; None: for as long as it is listed."""

    key_id: str
    secret: bytes = field(repr=False)
    until: datetime | None = None


@dataclass(frozen=True)
class KeyRing:
    """The keys of one state of the file."""

    signing: MessageKey
    by_id: Mapping[str, MessageKey] = field(repr=False)

    def __str__(self) -> str:
        others = ", ".join(key_id for key_id in self.by_id if key_id != self.signing.key_id)
        return f"{self.signing.key_id} signs; also accepted: {others or 'none'}"


def parse_signing_keys(text: str) -> KeyRing:
    """Return the keys that ``text`` lists. Raises ConfigError naming the line, never what stands in it."""
    keys: dict[str, MessageKey] = {}
    for number, line in enumerate(text.splitlines(), 1):
        words = line.split()
        if not words or words[0].startswith("#"):
            continue
        try:
            key = _key(words, is_first=not keys)
        except ValueError as exc:
            raise ConfigError(f"line {number}: {exc}") from None  # the cause may hold the key
        if key.key_id in keys:
            raise ConfigError(f"line {number}: the key id {key.key_id} stands twice")
        keys[key.key_id] = key
    if not keys:
        raise ConfigError("it lists no key; a line is: KEY_ID BASE64 [until=2027-01-31T00:00:00Z]")
    return KeyRing(next(iter(keys.values())), keys)


class SigningKeys:
    """The keys of a file, as it is now. Thread-safe. Raises ConfigError if it cannot be used at the start."""

    def __init__(self, path: str) -> None:
        self._path = Path(path)
        self._reading = threading.Lock()
        self._stamp = _stamp(self._path)
        self._looked_s = monotonic_s()
        self._ring = self._read()

    def current(self) -> KeyRing:
        """Return the keys; looks at the file every LOOK_EVERY_S."""
        if monotonic_s() - self._looked_s >= LOOK_EVERY_S:
            return self.latest()
        return self._ring

    def latest(self) -> KeyRing:
        """Return the keys after a look at the file, as for a key id that is not known yet."""
        with self._reading:
            self._looked_s = monotonic_s()
            stamp = _stamp(self._path)
            if stamp != self._stamp:
                self._stamp = stamp
                self._read_again()
        return self._ring

    def _read_again(self) -> None:
        try:
            self._ring = self._read()
        except ConfigError as exc:
            log.error(
                "the signing keys cannot be read again, and those of before stay in force: %s", exc,
                extra=SIGNING_KEYS_UNREADABLE,
            )  # fmt: skip
        else:
            log.warning("signing keys were read again: %s", self._ring, extra=SIGNING_KEYS_READ)

    def _read(self) -> KeyRing:
        try:
            if self._path.stat().st_mode & 0o004:
                raise ConfigError("every user of this machine can read it; chmod 640 and chgrp ordermq")
            data = self._path.read_bytes()
            if len(data) > _MOST_BYTES:
                raise ConfigError(f"it has more than {_MOST_BYTES} bytes")
            return parse_signing_keys(data.decode())
        except OSError as exc:
            raise ConfigError(f"message.signing_keys_file {self._path}: {exc.strerror}") from exc
        except UnicodeDecodeError:
            raise ConfigError(f"message.signing_keys_file {self._path}: it is not UTF-8") from None
        except ConfigError as exc:
            raise ConfigError(f"message.signing_keys_file {self._path}: {exc}") from None


def _key(words: list[str], *, is_first: bool) -> MessageKey:
    key_id, *rest = words
    if not _KEY_ID.fullmatch(key_id):
        raise ValueError("a key id is 1 to 40 letters, digits, dots, dashes and underscores")
    if len(rest) not in (1, 2) or (len(rest) == 2 and not rest[1].startswith(_UNTIL)):
        raise ValueError(f"key {key_id}: a line is KEY_ID BASE64 [until=2027-01-31T00:00:00Z]")
    try:
        secret = base64.b64decode(rest[0], validate=True)
    except (binascii.Error, ValueError):
        raise ValueError(f"key {key_id} is not base64") from None
    if len(secret) < LEAST_KEY_BYTES:
        raise ValueError(f"key {key_id} has {len(secret)} bytes, and {LEAST_KEY_BYTES} are the least")
    until = _instant(key_id, rest[1].removeprefix(_UNTIL)) if len(rest) == 2 else None
    if is_first and until is not None:
        raise ValueError(f"key {key_id} signs, because it is the first: it can have no until=")
    return MessageKey(key_id, secret, until)


def _instant(key_id: str, text: str) -> datetime:
    try:
        instant = datetime.fromisoformat(text)
        if instant.tzinfo is not None:
            return instant.astimezone(UTC)
    except (ValueError, OverflowError):
        pass
    raise ValueError(f"key {key_id}: until= is no instant with a time zone, such as 2027-01-31T00:00:00Z")


def _stamp(path: Path) -> tuple[int, ...]:
    """Return what changes with the file; nothing if it is not there."""
    try:
        found = path.stat()
    except OSError:
        return ()
    return found.st_ino, found.st_size, found.st_mtime_ns, found.st_mode
