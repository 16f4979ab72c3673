"""The settings with the sections of the modules in force. Nothing here needs a driver."""

from collections.abc import Mapping
from typing import Any

from ordermq.cli.modules import DEFAULTS, modules_of
from ordermq.config.loader import Loaded, load
from ordermq.config.schema import FRAMEWORK
from ordermq.errors import ConfigError
from ordermq.module import Module


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
