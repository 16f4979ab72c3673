"""The modules that the settings name, before all settings can be read: modules have sections of their own."""

import os
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from ordermq.config.declaration import MODULES, Declared
from ordermq.config.environment import Environ
from ordermq.config.sources import Source, from_credentials, from_environ, from_file, from_flags
from ordermq.config.values import NotAllowed

DEFAULT_PATH = Path("/etc/ordermq/ordermq.toml")
DEFAULT_ORIGIN = "default"


def peek_modules(
    path: str | os.PathLike[str] | None = None,
    *,
    environ: Environ = os.environ,
    flags: Mapping[str, Any] | None = None,
    defaults: Mapping[str, Any] | None = None,
) -> tuple[Any, str]:
    """Return the setting ``modules`` and its origin.

    ``load`` reports what is wrong with it or with others. Raises ConfigError if the
    file cannot be read at all.
    """
    value, origin = (defaults or {}).get(MODULES.name, MODULES.default), DEFAULT_ORIGIN
    for source in sources_of(file_of(path, environ), environ, flags or {}, {MODULES.name: MODULES}):
        for given in source.givens:
            try:
                value, origin = given.read(given.declared, given.raw), given.origin
            except NotAllowed:
                continue
    return value, origin


def file_of(path: str | os.PathLike[str] | None, environ: Environ) -> Path | None:
    """Return the file to read, or None. Only the default file may be missing."""
    if path is not None:
        return Path(path)
    if "ORDERMQ_CONFIG" in environ:
        return Path(environ["ORDERMQ_CONFIG"]) if environ["ORDERMQ_CONFIG"] else None
    return DEFAULT_PATH if DEFAULT_PATH.exists() else None


def sources_of(
    path: Path | None, environ: Environ, flags: Mapping[str, Any], known: Mapping[str, Declared]
) -> Iterable[Source]:
    """Yield the sources, weakest first."""
    if path is not None:
        yield from_file(path, known)
    if folder := environ.get("CREDENTIALS_DIRECTORY"):
        yield from_credentials(Path(folder), known)
    yield from_environ(environ, known)
    yield from_flags(flags, known)
