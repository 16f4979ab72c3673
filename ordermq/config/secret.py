"""Passwords and keys: a value that never prints itself, and a function that removes secrets from texts."""

import re
from collections.abc import Callable
from pathlib import Path

from ordermq.errors import ConfigError

HIDDEN = "***"

# Each part is bounded, so that no text can make the search take quadratic time.
_IN_URL = re.compile(r"""(://[^\s:/@"']{0,256}:)[^\s"'<>]{1,512}@""")
_AFTER_NAME = re.compile(
    r"""((?:password|passwd|passphrase|secret|token|api[_-]?key)["']?\s{0,8}[=:]\s{0,8})"""
    r"""('[^']{0,512}'|"[^"]{0,512}"|[^\s,;&'")}\]]{1,512})""",
    re.IGNORECASE,
)
_AUTHORIZATION = re.compile(r"\b([Bb]earer|[Bb]asic)\s{1,8}[A-Za-z0-9+/=._~-]{8,2048}")

# A shorter secret would be found inside ordinary words, which would be hidden too.
_SHORTEST_SEARCHED = 8
_MOST_REMEMBERED = 64
_revealed: tuple[str, ...] = ()  # a new tuple each time, because every thread reads it without a lock


class Secret:
    """A value that never prints itself.

    It may hold a function that reads the text. A password that was changed in its file is
    then used at the next connection.
    """

    def __init__(self, read: Callable[[], str] | str = "") -> None:
        self._read = read

    @classmethod
    def in_file(cls, path: Path) -> "Secret":
        """Return a secret that ``reveal`` reads from ``path`` each time, without one line end after it."""
        return cls(lambda: _read_file(path))

    def reveal(self) -> str:
        """Return the text of the secret. Raises ConfigError if its file cannot be read."""
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
        # Equal secrets may differ after a file has changed; only the type is stable.
        return hash(Secret)


def redact(text: str) -> str:
    """Return ``text`` without credentials.

    Replaces the password before the ``@`` of a URL, the value after ``password=`` and similar
    names, authorization headers, and every secret of eight characters or more that this
    process has revealed. A secret in another form (percent-encoded outside a URL, split
    over two texts) is not recognised.
    """
    for secret in _revealed:
        text = text.replace(secret, HIDDEN)
    if ":" in text or "=" in text:  # most texts of a log have neither, and this runs for every field
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
        # The cause holds the bytes of the file, and a traceback could show them.
        raise ConfigError(f"the secret in {path} is not UTF-8 (byte {exc.start})") from None
    return text.removesuffix("\n").removesuffix("\r")
