"""Where a log is read from: a folder or a web server.

Nothing that comes from there is trusted before it is verified.
"""

import http.client
import ssl
from contextlib import closing
from pathlib import Path
from typing import Protocol
from urllib.parse import urlsplit

from ordermq.audit.checkpoint import SignedCheckpoint
from ordermq.audit.folder import CHECKPOINT, LogFolder
from ordermq.audit.merkle import HASH_BYTES
from ordermq.audit.notes import VerifierKey
from ordermq.audit.signing import opened
from ordermq.audit.tiles import Tile
from ordermq.errors import BadInput, LogUnreachable, NotProven, UsageError

_TIMEOUT_S = 20.0
_MAX_BYTES = 32 * 1024 * 1024  # a bundle of the largest entries has 16 MiB


class LogSource(Protocol):
    """Reads files of a log by their paths; None for one that is not there."""

    what: str

    def read(self, name: str) -> bytes | None: ...


class WebLog:
    """A log that a web server serves. No proxy is asked, and no redirect is followed."""

    def __init__(self, url: str) -> None:
        self.what = url.rstrip("/")

    def read(self, name: str) -> bytes | None:
        """Return the body of a file, None if there is none.

        Raises LogUnreachable, and BadInput for another answer.
        """
        status, body = ask("GET", f"{self.what}/{name}")
        if status in (404, 410):
            return None
        if status != 200:
            raise BadInput(f"{self.what}/{name} answers with {status}, and 200 or 404 is expected")
        return body


def source_of(place: str) -> LogSource:
    """Return the log at a URL or in a folder. Raises UsageError if there is no such folder."""
    if place.startswith(("http://", "https://")):
        return WebLog(place)
    if not Path(place).is_dir():
        raise UsageError(f"there is no folder {place}; 'ordermq audit publish' makes one, or name a URL")
    return LogFolder(Path(place))


def ask(method: str, url: str, body: bytes | None = None) -> tuple[int, bytes]:
    """Send one request; return status and body of the answer.

    Raises LogUnreachable, and UsageError for a URL that is none.
    """
    parts = urlsplit(url)
    if not parts.hostname or parts.scheme not in ("http", "https"):
        raise UsageError(f"{url!r} is not a URL; write http://HOST[:PORT]/PATH")
    if "@" in parts.netloc:  # it would stand in errors, and in the list of processes
        raise UsageError(f"the URL of {parts.hostname} has a user in it: a log is public, leave that out")
    connection = (
        http.client.HTTPSConnection(parts.netloc, timeout=_TIMEOUT_S, context=ssl.create_default_context())
        if parts.scheme == "https"
        else http.client.HTTPConnection(parts.netloc, timeout=_TIMEOUT_S)
    )
    try:
        with closing(connection):
            connection.request(method, parts.path or "/", body)
            answer = connection.getresponse()
            return answer.status, answer.read(_MAX_BYTES)
    except (OSError, http.client.HTTPException) as exc:
        raise LogUnreachable(f"{url} does not answer: {exc}; is it served there?") from exc


def read_checkpoint(source: LogSource, key: VerifierKey) -> SignedCheckpoint:
    """Return the log's checkpoint, which ``key`` has signed.

    Raises NotProven, and BadInput if there is none.
    """
    data = source.read(CHECKPOINT)
    if data is None:
        raise BadInput(f"there is no checkpoint in {source.what}; 'ordermq audit publish' writes one")
    return opened(data, key, f"{source.what}/{CHECKPOINT}")


def read_tile(source: LogSource, tile: Tile) -> bytes:
    """Return the bytes of a tile or bundle, from the full one if it has become full since.

    Raises NotProven if it is missing.
    """
    data = source.read(tile.path())
    if data is None:
        full = source.read(Tile(tile.level, tile.index).path())
        if full is None:
            raise NotProven(f"{source.what}/{tile.path()} is missing: removed tile")
        data = _beginning(full, tile) if tile.level is not None else full
    if tile.level is not None and len(data) != tile.width * HASH_BYTES:
        raise NotProven(
            f"{source.what}/{tile.path()} has {len(data)} bytes in the place of {tile.width * HASH_BYTES}:"
            " replaced tile"
        )
    return data


def _beginning(hashes: bytes, tile: Tile) -> bytes:
    return hashes[: tile.width * HASH_BYTES]
