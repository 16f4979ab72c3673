"""All settings that there are: every setting of every section, with its names in each source."""

from collections.abc import Mapping
from dataclasses import fields, is_dataclass
from typing import Any, get_type_hints

from ordermq.config.declaration import TOP, Declared
from ordermq.config.settings import Secret, Settings

Sections = Mapping[str, type]
"""Section name -> the frozen dataclass whose fields are its settings."""

_KINDS: dict[Any, type] = {
    **{kind: kind for kind in (str, int, float, bool, Secret)},
    tuple[str, ...]: tuple,
}

FRAMEWORK: Sections = {
    name: kind
    for name, kind in get_type_hints(Settings).items()
    if isinstance(kind, type) and is_dataclass(kind)
}


def declared(sections: Sections) -> dict[str, Declared]:
    """Return every setting by its ``section.key``, in the order of writing; first those without a section."""
    found: dict[str, Declared] = {}
    for section, cls in {TOP: Settings, **sections}.items():
        types, defaults = get_type_hints(cls), cls()
        for item in (each for each in fields(cls) if "limits" in each.metadata):
            default = getattr(defaults, item.name)
            each = Declared(section, item.name, _kind(types[item.name]), item.metadata["limits"], default)
            found[each.name] = each
    return found


def _kind(annotation: Any) -> type:
    if annotation not in _KINDS:
        raise TypeError(f"a setting cannot be of type {annotation}")
    return _KINDS[annotation]
