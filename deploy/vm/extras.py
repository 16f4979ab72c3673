"""The extras of ordermq, such as audit and kafka: what a release offers, and what this machine has.

In constraints.txt a line ``# extra: audit, kafka`` stands above each package that only these extras need.
"""

import re
from collections.abc import Iterable, Iterator
from pathlib import Path

from failure import USAGE, InstallFailure

# Units that cannot work without an extra.
NEEDED_BY = {"ordermq-audit.timer": "audit", "ordermq-forward.service": "kafka"}

_MARK = re.compile(r"# extra: (.*)")
_HEAD = re.compile(r"# extras of ordermq: (.*)")
_PACKAGE = re.compile(r"[A-Za-z0-9_.-]+==[^\s;]+")


def chosen(pins: str, wanted: Iterable[str]) -> str:
    """Return ``pins`` with the packages of the extras ``wanted`` and of no other extra."""
    names = set(wanted)
    if unknown := names - offered(pins):
        has = ", ".join(sorted(offered(pins))) or "none"
        raise InstallFailure(USAGE, f"the release has no extra {', '.join(sorted(unknown))}; it has {has}")
    kept = [block for block, extras in _blocks(pins) if not extras or extras & names]
    return "\n".join([f"# extras of ordermq: {', '.join(sorted(names)) or 'none'}", *kept, ""])


def offered(pins: str) -> set[str]:
    """Return the extras that a release has."""
    return {name for _, extras in _blocks(pins) for name in extras}


def installed(release: Path, pins: str) -> set[str]:
    """Return the extras of an installed release, as far as the one with ``pins`` still has them.

    One that was installed before there was a choice has those whose packages are all there.
    """
    path = release / "requirements.txt"
    text = path.read_text() if path.is_file() else ""
    if head := _HEAD.search(text):
        return {name.strip() for name in head[1].split(",")} & offered(pins)
    has = {_name(each) for each in packages(text)}
    needs: dict[str, set[str]] = {}
    for block, extras in _blocks(pins):
        for extra in extras:
            needs.setdefault(extra, set()).update(map(_name, packages(block)))
    return {extra for extra, names in needs.items() if names <= has}


def packages(pins: str) -> list[str]:
    """Return the packages of a requirements file as ``name==version``."""
    found = (_PACKAGE.match(line) for line in pins.splitlines())
    return [match[0] for match in found if match]


def _name(package: str) -> str:
    return package.partition("==")[0]


def _blocks(pins: str) -> Iterator[tuple[str, set[str]]]:
    """Yield each requirement with its hashes, or each comment, and the extras it is for; none means all."""
    extras: set[str] = set()
    for block in re.split(r"\n(?=\S)", pins.strip()):
        if mark := _MARK.fullmatch(block.strip()):
            extras = {name.strip() for name in mark[1].split(",")}
            continue
        yield block, extras
        extras = set()
