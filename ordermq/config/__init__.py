"""Settings: declared once, read from file, credentials, environment and flags, checked at the start."""

from ordermq.config.loader import Loaded, load
from ordermq.config.reference import SettingRow, describe, example, reference
from ordermq.config.secret import Secret, redact
from ordermq.config.settings import Settings, Shape, setting

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
