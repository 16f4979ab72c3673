"""Settings: declared once, read from file, credentials, environment and flags, checked at the start.

The names of ``__all__`` are imported when they are first used: a list of commands needs no setting.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from ordermq.config.declaration import Shape, setting
    from ordermq.config.loader import Loaded, load
    from ordermq.config.manual import SettingRow, describe, example, reference
    from ordermq.config.secret import Secret, redact
    from ordermq.config.settings import Settings

__all__ = [
    "Loaded",
    "Secret",
    "SettingRow",
    "Settings",
    "Shape",
    "describe",
    "example",
    "load",
    "redact",
    "reference",
    "setting",
]

_PLACES = {
    "declaration": ("Shape", "setting"),
    "loader": ("Loaded", "load"),
    "manual": ("SettingRow", "describe", "example", "reference"),
    "secret": ("Secret", "redact"),
    "settings": ("Settings",),
}
_MODULE_OF = {name: module for module, names in _PLACES.items() for name in names}


if not TYPE_CHECKING:  # a type checker would take any name for one of this module then

    def __getattr__(name: str) -> Any:
        if name not in _MODULE_OF:
            raise AttributeError(f"module 'ordermq.config' has no attribute {name!r}")
        value = getattr(import_module(f"ordermq.config.{_MODULE_OF[name]}"), name)
        globals()[name] = value
        return value
