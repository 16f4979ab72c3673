"""Where settings come from: each source is read into the same list of given settings.

A name that no setting has is a problem; the report suggests the nearest name. The value
of an unknown name is never shown, because it may be a misspelt password.
"""

import difflib
import os
import re
import stat
import tomllib
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ordermq.config.declaration import PREFIX, TOP, Declared
from ordermq.config.environment import OTHER_NAMES, STACK_PREFIX, Environ
from ordermq.config.secret import Secret
from ordermq.config.values import from_text, from_value, toml
from ordermq.errors import ConfigError

_HEADER = re.compile(r"\s*\[\s*([A-Za-z0-9_-]+)\s*\]")
_KEY = re.compile(r"\s*([A-Za-z0-9_-]+)\s*=")
# What Kubernetes puts into each pod for a service whose name begins with ordermq, as NAME=VALUE.
_URL = r"(?:tcp|udp|sctp)://\S+:\d+"
_SERVICE_VARIABLE = re.compile(
    rf"""{PREFIX}(?:[A-Z0-9_]+_)? (?:
        SERVICE_HOST=[0-9a-fA-F.:]+ | SERVICE_PORT(?:_[A-Z0-9_]+)?=\d+
        | PORT(?:_\d+_(?:TCP|UDP|SCTP))?={_URL}
        | PORT_\d+_(?:TCP|UDP|SCTP)_(?:PROTO=(?:tcp|udp|sctp)|PORT=\d+|ADDR=[0-9a-fA-F.:]+)
    )""",
    re.VERBOSE,
)
_HANDLERS, _HANDLERS_VARIABLE = "consumer.handlers", "ORDERMQ_CONSUMER_HANDLERS"


@dataclass(frozen=True)
class Given:
    """A value that one source gives for one setting."""

    declared: Declared
    origin: str
    raw: Any  # shown in a problem, unless the setting is a secret
    read: Callable[[Declared, Any], Any] = from_value


@dataclass(frozen=True)
class Source:
    """All settings and problems of one source."""

    givens: list[Given]
    problems: list[str]


def from_file(path: Path, known: Mapping[str, Declared]) -> Source:
    """Read a TOML file. Raises ConfigError if it cannot be read at all."""
    text, mode = _file(path)
    try:
        document = tomllib.loads(text)
    except tomllib.TOMLDecodeError as exc:
        raise ConfigError(f"{path} is not TOML: {exc}") from exc
    found, lines = Source([], []), _lines(text)
    keys_of = _keys_by_section(known)
    for section, table in document.items():
        origin = _at(path, lines.get((TOP, section)) or lines.get((section, "")))
        if section in known:
            found.givens.append(Given(known[section], origin, table))
        elif not isinstance(table, dict):
            found.problems.append(f"{section} ({origin}): a setting must stand below its [section]")
        elif section not in keys_of:
            found.problems.append(_unknown(f"[{section}]", origin, "section", section, keys_of))
        else:
            for key, raw in table.items():
                origin = _at(path, lines.get((section, key)))
                if key in keys_of[section]:
                    found.givens.append(Given(known[f"{section}.{key}"], origin, raw))
                else:
                    found.problems.append(_unknown_key(section, key, raw, origin, known))
    if mode & stat.S_IROTH:
        found.problems.extend(
            _exposed(given) for given in found.givens if given.declared.is_secret and given.raw
        )
    return found


def from_credentials(folder: Path, known: Mapping[str, Declared]) -> Source:
    """Read the secrets that systemd put into $CREDENTIALS_DIRECTORY; other files there are ignored."""
    paths = [(each, folder / each.credential) for each in known.values() if each.is_secret]
    return Source([_secret_file(each, path, str(path)) for each, path in paths if path.exists()], [])


def from_environ(environ: Environ, known: Mapping[str, Declared]) -> Source:
    """Read ORDERMQ_<SECTION>_<KEY>, and for a secret ORDERMQ_<SECTION>_<KEY>_FILE.

    The variables that Kubernetes makes of its services are no settings and no problems, even
    where a service has the name of a setting: ``ORDERMQ_DATABASE_PORT=tcp://10.0.0.7:5432``.
    """
    values = {each.variable: each for each in known.values()}
    files = {each.variable + "_FILE": each for each in known.values() if each.is_secret}
    found = Source([], [])
    for variable, text in environ.items():
        if variable in values and not (values[variable].kind is int and re.fullmatch(_URL, text)):
            found.givens.append(Given(values[variable], variable, text, from_text))
        elif variable in files:
            secret = files[variable]
            found.givens.append(_secret_file(secret, Path(text), f"{variable}: {text}"))
            if secret.variable in environ:
                found.problems.append(
                    f"{secret.name} ({variable}): {secret.variable} sets it too; remove one of them"
                )
        elif variable == _HANDLERS_VARIABLE:
            found.problems.append(_moved(variable, "environment", text.split(",")))
        elif _is_misspelt(variable) and not _SERVICE_VARIABLE.fullmatch(f"{variable}={text}"):
            names = [*values, *files, *OTHER_NAMES]
            found.problems.append(_unknown(variable, "environment", "variable", variable, names))
    return found


def from_flags(flags: Mapping[str, Any], known: Mapping[str, Declared]) -> Source:
    """Read the flags of a command line by ``section.key``; None means that a flag was not given."""
    found = Source([], [])
    for name, raw in flags.items():
        if raw is None:
            continue
        setting = known.get(name)
        if setting is None:
            found.problems.append(_unknown(name, "flag", "setting", name, known))
        elif setting.is_secret:
            found.problems.append(
                f"{name} (flag): every user of the machine can read a command line; {_better(setting)}"
            )
        else:
            read = from_text if isinstance(raw, str) else from_value
            found.givens.append(Given(setting, "flag", raw, read))
    return found


def _file(path: Path) -> tuple[str, int]:
    try:
        with path.open("rb") as file:
            mode = os.fstat(file.fileno()).st_mode
            return file.read().decode(), mode
    except OSError as exc:
        raise ConfigError(f"the configuration file {path} cannot be read: {exc.strerror}") from exc
    except UnicodeDecodeError as exc:
        raise ConfigError(
            f"the configuration file {path} is not UTF-8: {exc.reason} at byte {exc.start}"
        ) from exc


def _lines(text: str) -> dict[tuple[str, str], int]:
    """Return the line of each ``[section]`` and key, for messages; unusual spellings have none."""
    lines: dict[tuple[str, str], int] = {}
    section = ""
    for number, line in enumerate(text.splitlines(), start=1):
        if header := _HEADER.match(line):
            section = header[1]
            lines.setdefault((section, ""), number)
        elif key := _KEY.match(line):
            lines.setdefault((section, key[1]), number)
    return lines


def _unknown_key(section: str, key: str, raw: Any, origin: str, known: Mapping[str, Declared]) -> str:
    name = f"{section}.{key}"
    if key in known:
        return f"{name} ({origin}): {key} must stand above the first [section]"
    if name == _HANDLERS:
        return _moved(name, origin, raw)
    return _unknown(name, origin, "setting", key, _keys_by_section(known)[section])


def _moved(name: str, origin: str, raw: Any) -> str:
    """Say what to write in place of the setting that once named Python modules with handlers."""
    named = [str(each).strip().removesuffix(".handlers") for each in raw] if isinstance(raw, list) else []
    modules = named or ["myshop.gifts"]
    if name == _HANDLERS_VARIABLE:
        line = f"ORDERMQ_MODULES={','.join(modules)}"
    else:
        line = f"above the first [section]: modules = {toml(modules)}"
    return (
        f"{name} ({origin}): there is no such setting; handlers come from modules, each of which holds"
        f" module = Module(...). Write {line}"
    )


def _keys_by_section(known: Mapping[str, Declared]) -> dict[str, list[str]]:
    keys: dict[str, list[str]] = {}
    for each in known.values():
        keys.setdefault(each.section, []).append(each.key)
    return keys


def _at(path: Path, line: int | None) -> str:
    return f"{path}:{line}" if line else str(path)


def _exposed(given: Given) -> str:
    return (
        f"{given.declared.name} ({given.origin}): every user of the machine can read this file; "
        f"chmod 640 it, or {_better(given.declared)}"
    )


def _secret_file(declared: Declared, path: Path, origin: str) -> Given:
    # The mode is not checked: Docker and Kubernetes mount secrets readable for all by default.
    return Given(declared, origin, Secret.in_file(path), lambda _, secret: _readable(secret))


def _readable(secret: Secret) -> Secret:
    secret.reveal()
    return secret


def _better(declared: Declared) -> str:
    return f"name a file in {declared.variable}_FILE, or use the credential {declared.credential}"


def _is_misspelt(variable: str) -> bool:
    ours = variable.startswith(PREFIX)
    return ours and variable not in OTHER_NAMES and not variable.startswith(STACK_PREFIX)


def _unknown(shown: str, origin: str, noun: str, name: str, names: Iterable[str]) -> str:
    nearest = difflib.get_close_matches(name, list(names), n=1)
    hint = f"; did you mean {nearest[0]}?" if nearest else ""
    return f"{shown} ({origin}): there is no such {noun}{hint}"
