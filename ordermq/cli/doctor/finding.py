"""One line of ``ordermq doctor``, and how numbers become one."""

from dataclasses import dataclass
from enum import StrEnum


class Level(StrEnum):
    """How a finding is; UNKNOWN means that it could not be learnt."""

    OK = "ok"
    WARN = "warn"
    FAIL = "fail"
    UNKNOWN = "unknown"


@dataclass(frozen=True)
class Finding:
    """What was looked at, what was found, and what to do about it; nothing to do if it is well."""

    area: str
    check: str
    level: Level
    text: str
    todo: str = ""


def ok(area: str, check: str, text: str) -> Finding:
    """Return a finding that is well."""
    return Finding(area, check, Level.OK, text)


def unknown(area: str, check: str, text: str, todo: str = "") -> Finding:
    """Return what could not be learnt, and why."""
    return Finding(area, check, Level.UNKNOWN, text, todo)


def judged(
    area: str, check: str, text: str, todo: str, *, fails: bool = False, warns: bool = False
) -> Finding:
    """Return a finding that fails, warns, or is well."""
    if fails:
        return Finding(area, check, Level.FAIL, text, todo)
    return Finding(area, check, Level.WARN, text, todo) if warns else ok(area, check, text)
