"""All settings that there are: every setting of every section, with its names in each source."""

from collections.abc import Mapping
from dataclasses import dataclass, fields, is_dataclass
from typing import Any, get_type_hints

from ordermq.config.settings import Limits, Secret, Settings

PREFIX = "ORDERMQ_"

Sections = Mapping[str, type]
"""Section name -> the frozen dataclass whose fields are its settings."""

_KINDS: dict[Any, type] = {
    **{kind: kind for kind in (str, int, float, bool, Secret)},
    tuple[str, ...]: tuple,
}

TOP = ""  # the section of settings above the first [section] of the file

FRAMEWORK: Sections = {
    name: kind
    for name, kind in get_type_hints(Settings).items()
    if isinstance(kind, type) and is_dataclass(kind)
}


@dataclass(frozen=True)
class Declared:
    """One setting as declared by ``setting()`` in a section's dataclass."""

    section: str
    key: str
    kind: type  # str, int, float, bool, tuple or Secret
    limits: Limits
    default: Any

    @property
    def name(self) -> str:
        return f"{self.section}.{self.key}" if self.section else self.key

    @property
    def variable(self) -> str:
        return PREFIX + self.name.replace(".", "_").upper()

    @property
    def credential(self) -> str:
        """Name of its file in systemd's credentials directory; only secrets have one."""
        return f"{self.section}_{self.key}"

    @property
    def unit(self) -> str:
        return "s" if self.key.endswith("_s") else ""

    @property
    def is_secret(self) -> bool:
        return self.kind is Secret


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
