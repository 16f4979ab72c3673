"""Put the sources together: defaults < file < credentials < environment < flags.

All problems of all sources are reported at once, also those of a value that a later
source replaces: the problem would return when the later source is removed.
"""

import os
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, fields
from typing import Any

from ordermq.config.checks import clashes
from ordermq.config.declaration import TOP, Declared
from ordermq.config.environment import Environ
from ordermq.config.peek import DEFAULT_ORIGIN, file_of, sources_of
from ordermq.config.schema import FRAMEWORK, Sections, declared
from ordermq.config.settings import Settings
from ordermq.config.values import NotAllowed, shown
from ordermq.errors import ConfigError


@dataclass(frozen=True)
class Loaded:
    """The settings in force, and the source of each."""

    settings: Settings
    extra: Mapping[str, Any]
    origins: Mapping[str, str]  # section.key -> file:line, credential file, variable, "flag" or "default"

    def section(self, name: str) -> Any:
        """Return a section of the framework or of a module: an instance of its dataclass."""
        if name == TOP:
            return self.settings
        return self.extra[name] if name in self.extra else getattr(self.settings, name)

    def differences(self, other: "Loaded") -> list[str]:
        """Return the names, as ``section.key``, of the settings whose values differ in ``other``."""
        return [name for name in self.origins if self._value(name) != other._value(name)]

    def _value(self, name: str) -> Any:
        section, _, key = name.rpartition(".")
        return getattr(self.section(section), key, None)


def load(
    path: str | os.PathLike[str] | None = None,
    *,
    environ: Environ = os.environ,
    flags: Mapping[str, Any] | None = None,
    extra_sections: Sections | None = None,
    defaults: Mapping[str, Any] | None = None,
) -> Loaded:
    """Read and check all settings.

    The file is ``path``, else $ORDERMQ_CONFIG, else /etc/ordermq/ordermq.toml if it
    exists. ``flags`` are by ``section.key``; None means that a flag was not given. ``extra_sections``
    are a program's own dataclasses of ``setting()`` fields, by section name; ``defaults``
    are a program's own in place of the declared ones, by ``section.key``.
    Raises ConfigError naming every problem, never a secret's value.
    """
    sections = {**FRAMEWORK, **(extra_sections or {})}
    known = declared(sections)
    sources = list(sources_of(file_of(path, environ), environ, flags or {}, known))
    problems = [problem for source in sources for problem in source.problems]
    values: dict[str, Any] = {name: each.default for name, each in known.items()} | {**(defaults or {})}
    origins = dict.fromkeys(known, DEFAULT_ORIGIN)
    refused: set[str] = set()
    for given in (given for source in sources for given in source.givens):
        name = given.declared.name
        try:
            values[name] = given.read(given.declared, given.raw)
            origins[name] = given.origin
        except (NotAllowed, ConfigError) as exc:
            refused.add(name)
            problems.append(f"{name} = {shown(given.declared, given.raw)} ({given.origin}): {exc}")
    built = {section: _build(section, kind, values) for section, kind in sections.items()}
    top = {each.key: values[each.name] for each in known.values() if each.section == TOP}
    settings = Settings(**top, **{section: built[section] for section in FRAMEWORK})
    problems += _clashes(settings, values, origins, known, refused)
    if problems:
        raise ConfigError("\n".join(problems))
    return Loaded(settings, {name: built[name] for name in extra_sections or {}}, origins)


def _build(section: str, kind: type, values: Mapping[str, Any]) -> Any:
    return kind(**{item.name: values[f"{section}.{item.name}"] for item in fields(kind)})


def _clashes(
    settings: Settings,
    values: Mapping[str, Any],
    origins: Mapping[str, str],
    known: Mapping[str, Declared],
    refused: set[str],
) -> Iterable[str]:
    """Describe the clashes of settings that could all be read; the others were reported before."""
    for clash in clashes(settings):
        if refused.isdisjoint(clash.names):
            parts = (f"{name} = {shown(known[name], values[name])} ({origins[name]})" for name in clash.names)
            yield f"{', '.join(parts)}: {clash.why}"
