"""What is to be changed on this machine: each change can be shown as a diff, and made."""

import difflib
import grp
import os
import pwd
import shutil
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NamedTuple


class Change(NamedTuple):
    """One difference between the machine and what it should be. ``diff`` shows it line by line."""

    name: str
    make: Callable[[], None]
    diff: str = ""


def user(name: str) -> Iterator[Change]:
    """Have a system user ``name`` with a group of its own, which cannot log in."""
    try:
        pwd.getpwnam(name)
    except KeyError:
        command = ["useradd", "--system", "--user-group", "--home-dir", "/nonexistent", "--no-create-home",
                   "--shell", "/usr/sbin/nologin", name]  # fmt: skip
        yield Change(f"+ user {name}", lambda: run(command))


def folder(path: Path, mode: int, group: str = "root") -> Iterator[Change]:
    """Have a folder that belongs to root and ``group``."""
    if not path.is_dir() or _owner_of(path) != ("root", group, mode):
        yield Change(f"+ folder {path} ({mode:04o} root:{group})", lambda: _make_folder(path, mode, group))


def file(path: Path, content: bytes, mode: int, group: str = "root") -> Iterator[Change]:
    """Have a file with ``content``. Its diff is that of the lines, or of its owner and mode."""
    old = path.read_bytes() if path.is_file() else None
    if old != content:
        lines = difflib.unified_diff(
            _lines(old or b""), _lines(content), str(path) if old is not None else "/dev/null", str(path)
        )
        name = f"{'+' if old is None else '~'} file {path}"
        yield Change(name, lambda: _write(path, content, mode, group), "".join(lines).rstrip("\n"))
    elif _owner_of(path) != ("root", group, mode):
        yield Change(f"~ file {path} ({mode:04o} root:{group})", lambda: _own(path, mode, group))


def link(path: Path, target: str) -> Iterator[Change]:
    """Have a symbolic link. It is replaced in one step, so that no process sees it missing."""
    old = os.readlink(path) if path.is_symlink() else None
    if old != target:
        shown = f"- link {path} -> {old}\n" if old else ""
        yield Change(f"{shown}+ link {path} -> {target}", lambda: _replace_link(path, target))


def run(command: list[str]) -> None:
    """Run a program that must succeed. Raises CalledProcessError."""
    subprocess.run(command, check=True)


def _owner_of(path: Path) -> tuple[str, str, int]:
    found = path.stat()
    return _name(pwd.getpwuid, found.st_uid), _name(grp.getgrgid, found.st_gid), found.st_mode & 0o7777


def _name(database: Callable[[int], Any], number: int) -> str:
    try:
        return str(database(number)[0])
    except KeyError:
        return str(number)


def _lines(content: bytes) -> list[str]:
    return content.decode("utf-8", "replace").splitlines(keepends=True)


def _make_folder(path: Path, mode: int, group: str) -> None:
    path.mkdir(parents=True, exist_ok=True)
    _own(path, mode, group)


def _write(path: Path, content: bytes, mode: int, group: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    new = path.with_name(f".{path.name}.new")
    new.unlink(missing_ok=True)
    new.touch(mode=0o600)
    new.write_bytes(content)
    _own(new, mode, group)
    new.replace(path)


def _own(path: Path, mode: int, group: str) -> None:
    shutil.chown(path, "root", group)
    path.chmod(mode)


def _replace_link(path: Path, target: str) -> None:
    new = path.with_name(f".{path.name}.new")
    new.unlink(missing_ok=True)
    new.symlink_to(target)
    new.replace(path)
