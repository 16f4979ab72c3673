"""How a setting is declared. A list of commands needs this and no other setting than ``modules``."""

from dataclasses import dataclass, field
from typing import Any

from ordermq.config.secret import Secret

PREFIX = "ORDERMQ_"
TOP = ""  # the section of settings above the first [section] of the file


@dataclass(frozen=True)
class Shape:
    """How a text, or each item of a list, must look."""

    words: str
    pattern: str  # of the whole text


@dataclass(frozen=True)
class Limits:
    """The values that a setting may have, and the text that an operator reads about it."""

    doc: str
    ge: float | None = None
    gt: float | None = None
    le: float | None = None
    choices: tuple[str, ...] = ()
    shape: Shape | None = None


def setting(
    default: Any,
    doc: str,
    *,
    ge: float | None = None,
    gt: float | None = None,
    le: float | None = None,
    choices: tuple[str, ...] = (),
    shape: Shape | None = None,
) -> Any:
    """Declare one setting; its type is the field's annotation. A name that ends in ``_s`` is in seconds.

    The types are str, int, float, bool, ``tuple[str, ...]`` and Secret; a secret's
    default is the class, which means empty.
    """
    limits = Limits(doc, ge, gt, le, choices, shape)
    if default is Secret:
        return field(default_factory=Secret, metadata={"limits": limits})
    return field(default=default, metadata={"limits": limits})


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


MODULES = Declared(
    TOP,
    "modules",
    tuple,
    Limits(
        "Python modules that each hold a Module: handlers, tables, settings, commands",
        shape=Shape("a dotted module name", r"[A-Za-z_]\w*(\.[A-Za-z_]\w*)*"),
    ),
    default=(),
)
