"""The modules in force. A list of commands needs these, so nothing here needs the settings."""

from collections.abc import Mapping
from typing import Any

from ordermq.config.peek import peek_modules
from ordermq.module import Module, load_modules

#: The modules of a process whose settings name none.
DEFAULTS: Mapping[str, Any] = {"modules": ("ordermq.shop",)}


def modules_of(path: str | None, flags: Mapping[str, Any] | None = None) -> tuple[Module, ...]:
    """Return the modules that file, environment and flags name. Raises ConfigError."""
    names, origin = peek_modules(path, flags=flags, defaults=DEFAULTS)
    return load_modules(names, origin)


def modules_for_help(path: str | None) -> tuple[Module, ...]:
    """Return the modules for a list of commands; the default ones if the settings cannot be read.

    Raises nothing: the command that is run next reports what is wrong with the settings.
    """
    try:
        return modules_of(path)
    except Exception:  # a fault in a module must not hide the help
        return load_modules(DEFAULTS["modules"])
