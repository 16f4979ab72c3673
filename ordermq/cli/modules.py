"""The modules in force, and the settings with the modules' sections. Nothing here needs a driver."""

from collections.abc import Mapping
from typing import Any

from ordermq.config.loader import Loaded, load, peek
from ordermq.config.schema import FRAMEWORK
from ordermq.errors import ConfigError
from ordermq.module import Module, load_modules

#: The modules of a process whose settings name none.
DEFAULTS: Mapping[str, Any] = {"modules": ("ordermq.shop",)}


def modules_of(path: str | None, flags: Mapping[str, Any] | None = None) -> tuple[Module, ...]:
    """Return the modules that file, environment and flags name. Raises ConfigError."""
    names, origin = peek("modules", path, flags=flags, defaults=DEFAULTS)
    return load_modules(names, origin)


def modules_for_help(path: str | None) -> tuple[Module, ...]:
    """Return the modules for a list of commands; the default ones if the settings cannot be read.

    Raises nothing: the command that is run next reports what is wrong with the settings.
    """
    try:
        return modules_of(path)
    except Exception:  # a fault in a module must not hide the help
        return load_modules(DEFAULTS["modules"])


def load_settings(
    path: str | None, flags: Mapping[str, Any] | None = None
) -> tuple[Loaded, tuple[Module, ...]]:
    """Read all settings, those of the modules too. Raises ConfigError naming every problem."""
    modules = modules_of(path, flags)
    sections: dict[str, type] = {}
    for module in modules:
        if module.settings is None:
            continue
        if module.name in FRAMEWORK:
            raise ConfigError(
                f"module {module.name!r}: [{module.name}] is the framework's; rename the module"
            )
        sections[module.name] = module.load("settings")
    return load(path, flags=flags, extra_sections=sections, defaults=DEFAULTS), modules
