"""Passwords and keys: a value that never prints itself, and texts cleaned of them."""

import re
from collections.abc import Callable
from pathlib import Path

from ordermq.errors import ConfigError

HIDDEN = "***"

# Each part is bounded, so that hostile text cannot make the search quadratic.
_IN_URL = re.compile(r"""(://[^\s:/@"']{0,256}:)[^\s"'<>]{1,512}@""")
_AFTER_NAME = re.compile(
    r"""((?:password|passwd|passphrase|secret|token|api[_-]?key)["']?\s{0,8}[=:]\s{0,8})"""
    r"""('[^']{0,512}'|"[^"]{0,512}"|[^\s,;&'")}\]]{1,512})""",
    re.IGNORECASE,
)
_AUTHORIZATION = re.compile(r"\b([Bb]earer|[Bb]asic)\s{1,8}[A-Za-z0-9+/=._~-]{8,2048}")

# A shorter secret would be found inside ordinary words and take them along.
_SHORTEST_SEARCHED = 8
_MOST_REMEMBERED = 64
_revealed: tuple[str, ...] = ()  # replaced, never changed in place: read by every thread without a lock


class Secret:
    """A value that never prints itself.

    Holds a way to read it rather than the text, so that a password rotated in its
    file is the new one at the next connection.
    """

    def __init__(self, read: Callable[[], str] | str = "") -> None:
        self._read = read

    @classmethod
    def in_file(cls, path: Path) -> "Secret":
        """A secret read from ``path`` at each reveal; one line end after it is not part of it."""
        return cls(lambda: _read_file(path))

    def reveal(self) -> str:
        """Return the secret's present text. Raises ConfigError if its file is gone."""
        text = self._read if isinstance(self._read, str) else self._read()
        _remember(text)
        return text

    def __bool__(self) -> bool:
        return bool(self.reveal())

    def __repr__(self) -> str:
        return f"Secret({HIDDEN})"

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Secret) and self.reveal() == other.reveal()

    def __hash__(self) -> int:
        # Equal secrets may come to differ when a file is rotated: only the type is stable.
        return hash(Secret)


def redact(text: str) -> str:
    """Return ``text`` without credentials.

    Replaces what a URL carries before its ``@``, what follows ``password=`` and its
    kin, authorization headers, and every text of eight characters or more that a
    Secret of this process has revealed. A secret transformed in any other way
    (percent-encoded outside a URL, split over two texts) is not recognised.
    """
    for secret in _revealed:
        text = text.replace(secret, HIDDEN)
    if ":" in text or "=" in text:  # most texts of a log have neither, and this runs for each field
        text = _IN_URL.sub(rf"\1{HIDDEN}@", text)
        text = _AFTER_NAME.sub(rf"\1{HIDDEN}", text)
    return _AUTHORIZATION.sub(rf"\1 {HIDDEN}", text)


def _remember(text: str) -> None:
    global _revealed  # noqa: PLW0603  # any log line of the process may hold any secret
    if len(text) >= _SHORTEST_SEARCHED and text not in _revealed:
        _revealed = (*_revealed, text)[-_MOST_REMEMBERED:]


def _read_file(path: Path) -> str:
    try:
        text = path.read_bytes().decode()
    except OSError as exc:
        raise ConfigError(f"the secret in {path} cannot be read: {exc.strerror}") from exc
    except UnicodeDecodeError as exc:
        # The cause holds the file's bytes: a traceback printer might show them.
        raise ConfigError(f"the secret in {path} is not UTF-8 (byte {exc.start})") from None
    return text.removesuffix("\n").removesuffix("\r")
