"""Texts about the settings for operators: the values in force, the manual page, the example file."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from textwrap import wrap
from typing import Any

from ordermq.config.declaration import TOP, Declared
from ordermq.config.environment import OTHER_NAMES
from ordermq.config.loader import Loaded
from ordermq.config.schema import FRAMEWORK, Sections, declared
from ordermq.config.values import allowed, shown, toml

_INTRODUCTION = """\
# Configuration

Generated from the declarations of the settings; `ordermq config show` prints the values in force.

A value comes from the last of these sources that gives one:

1. the default below;
2. the TOML file: `--config FILE`, else `$ORDERMQ_CONFIG`, else `/etc/ordermq/ordermq.toml` if it exists;
3. for a secret, the file `<section>_<key>` in `$CREDENTIALS_DIRECTORY` (systemd's `LoadCredential=`);
4. the environment: `ORDERMQ_<SECTION>_<KEY>` (`ORDERMQ_MODULES`), lists with commas; for a secret also
   `ORDERMQ_<SECTION>_<KEY>_FILE`, the path of a file that holds it;
5. a command's flags.

A secret in a file is read again at every connection, so a changed password needs no restart. A secret in the
TOML file itself is refused if every user of the machine can read that file. An unknown section, key or
`ORDERMQ_` variable, a wrong type and a value outside its limits are errors. A command reports all of them at
once and exits with 78. The variables that Kubernetes makes of a service named ordermq-..., such as
`ORDERMQ_RELAY_PORT=tcp://10.0.0.7:80`, are ignored.

Durations are in seconds, sizes in bytes. With the defaults a broken connection is noticed within 10 s
(`tcp_user_timeout_s` while data is under way, keepalive while it is idle), and a broker that hangs within
30 s, which is pika's 2 x (heartbeat + 5 s).
"""


@dataclass(frozen=True)
class SettingRow:
    """One setting in force, as an operator may see it."""

    key: str
    value: str
    unit: str
    origin: str
    doc: str


def describe(loaded: Loaded) -> list[SettingRow]:
    """Return every setting in force, in order. Secrets are hidden, an unset one is empty."""
    sections = {**FRAMEWORK, **{name: type(section) for name, section in loaded.extra.items()}}
    return [
        SettingRow(name, _effective(loaded, each), each.unit, loaded.origins[name], each.limits.doc)
        for name, each in declared(sections).items()
    ]


def reference(extra_sections: Sections | None = None, defaults: Mapping[str, Any] | None = None) -> str:
    """Return docs/configuration.md: every setting with its type, limits and default.

    The arguments are those of ``load``.
    """
    lines = [_INTRODUCTION]
    for section, settings in _by_section(extra_sections, defaults):
        heading = "Above the first section" if section == TOP else f"[{section}]"
        lines += [f"## {heading}", "", "| key | default | what it is | allowed |", "|---|---|---|---|"]
        lines += [
            f"| `{each.key}` | {_default(each)} | {each.limits.doc} | {allowed(each)} |" for each in settings
        ]
        lines.append("")
    lines += ["## Other variables", "", "| variable | what it is |", "|---|---|"]
    lines += [f"| `{name}` | {doc} |" for name, doc in OTHER_NAMES.items()]
    return "\n".join(lines) + "\n"


def example(extra_sections: Sections | None = None, defaults: Mapping[str, Any] | None = None) -> str:
    """Return config/ordermq.toml: every setting, its default commented out. Arguments as for ``load``."""
    lines = [
        "# Settings of ordermq. Each line that is commented out shows a default.",
        "# docs/configuration.md explains where values come from.",
        "",
    ]
    for section, settings in _by_section(extra_sections, defaults):
        if section != TOP:
            lines.append(f"[{section}]")
        for each in settings:
            lines += wrap(
                f"{each.limits.doc} ({_hint(each)})", 108, initial_indent="# ", subsequent_indent="# "
            )
            lines += [f"#{each.key} = {toml('' if each.is_secret else each.default)}", ""]
    return "\n".join(lines)


def _by_section(
    extra: Sections | None, defaults: Mapping[str, Any] | None
) -> list[tuple[str, list[Declared]]]:
    sections = {**FRAMEWORK, **(extra or {})}
    given = defaults or {}
    settings = [
        replace(each, default=given.get(name, each.default)) for name, each in declared(sections).items()
    ]
    return [(section, [each for each in settings if each.section == section]) for section in (TOP, *sections)]


def _effective(loaded: Loaded, setting: Declared) -> str:
    value = getattr(loaded.section(setting.section), setting.key)
    return "" if setting.is_secret and not value else shown(setting, value)


def _default(setting: Declared) -> str:
    return "none" if setting.is_secret else f"`{toml(setting.default)}`"


def _hint(setting: Declared) -> str:
    if setting.is_secret:
        return (
            f"better in a file that {setting.variable}_FILE names, or in the credential {setting.credential}"
        )
    return allowed(setting)
