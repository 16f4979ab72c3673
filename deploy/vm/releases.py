"""A release: ordermq's wheel, the packages it needs by their hashes, and the wheels of your own projects.

It is installed into a folder of its own below /opt/ordermq, named by its version and by the hash of all
that is in it. So a folder never changes once it is complete, and the one in use is a symbolic link.
"""

import errno
import hashlib
import os
import re
import shutil
import subprocess
import sys
import zipfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import extras
from failure import CANNOT_WRITE, MISMATCH, USAGE, InstallFailure

HOME = Path("/opt/ordermq")
CURRENT = HOME / "current"
PREVIOUS = HOME / "previous"
SHARE = "share/ordermq"

_COMPLETE = ".complete"
_NEEDED_BYTES = 400_000_000
_WHEEL = re.compile(r"(?P<name>[A-Za-z0-9_.]+)-(?P<version>[A-Za-z0-9_.!+]+)-[^-]+-[^-]+-[^-]+\.whl")


@dataclass(frozen=True)
class Release:
    """What is to be installed: ordermq's wheel, then others; ``pins`` are the packages it needs."""

    wheels: tuple[Path, ...]
    pins: str
    index: tuple[str, ...]  # pip's arguments that say where packages are
    extras: tuple[str, ...] = ()

    @property
    def requirements(self) -> str:
        """The text of pip's requirements file: every package with its hash."""
        own = [f"{path.resolve().as_uri()} --hash=sha256:{_sha256(path)}" for path in self.wheels]
        return "\n".join([self.pins.rstrip(), *own, ""])

    @property
    def folder(self) -> Path:
        """Where it is installed: one folder for each version and each choice of packages."""
        match = _WHEEL.fullmatch(self.wheels[0].name)
        version = match["version"] if match else "0"
        content = "\n".join([self.pins, *sorted(_sha256(path) for path in self.wheels)])
        return HOME / f"{version}-{hashlib.sha256(content.encode()).hexdigest()[:8]}"

    @property
    def name(self) -> str:
        """What it is, for the person at the keyboard."""
        wheels = ", ".join(each.name for each in self.wheels)
        chosen = f"with {', '.join(self.extras)}, " if self.extras else ""
        return f"release {self.folder} ({wheels} {chosen}and what it needs)"

    def share(self) -> dict[str, bytes]:
        """Return the files that ordermq's wheel has for this machine, by their paths in ``share/ordermq``."""
        found = {}
        with zipfile.ZipFile(self.wheels[0]) as wheel:
            for name in wheel.namelist():
                _, has_it, path = name.partition(f".data/data/{SHARE}/")
                if has_it and path and not path.endswith("/"):
                    found[path] = wheel.read(name)
        if "ordermq.toml" not in found:
            raise InstallFailure(
                USAGE, f"{self.wheels[0]} is no wheel of ordermq: it has no {SHARE}/ordermq.toml"
            )
        return found


def share_of(folder: Path) -> dict[str, bytes]:
    """Return the same of a release that is installed."""
    share = folder / SHARE
    return {str(path.relative_to(share)): path.read_bytes() for path in share.rglob("*") if path.is_file()}


def find_release(
    dist: Path, wheels: Path | None, index: str | None, own: Sequence[Path], wanted: set[str] | None
) -> Release:
    """Return the release in ``dist`` with the extras ``wanted``; None stands for those of the current one.

    Raises InstallFailure for what is missing.
    """
    pins = dist / "constraints.txt"
    if not pins.is_file():
        raise InstallFailure(USAGE, f"{pins} is missing: 'make dist' writes it, or name its folder by --dist")
    found = sorted(dist.glob("ordermq-*.whl"))
    if len(found) != 1:
        names = ", ".join(each.name for each in found) or "none"
        raise InstallFailure(USAGE, f"{dist} must hold one wheel of ordermq, and holds {names}")
    _check_sums(dist / "SHA256SUMS", [pins, *found])
    for path in own:
        if not path.is_file() or not _WHEEL.fullmatch(path.name):
            raise InstallFailure(USAGE, f"{path} is no wheel; build one: python3 -m build --wheel")
    if wheels is not None and not wheels.is_dir():
        raise InstallFailure(
            USAGE, f"{wheels} is no folder; --wheels names the folder of the packages' wheels"
        )
    where = ["--no-index", f"--find-links={wheels.resolve()}"] if wheels else []
    where += [f"--index-url={index}"] if index else []
    text = pins.read_text()
    wanted = extras.installed(CURRENT, text) if wanted is None else wanted
    return Release((found[0], *own), extras.chosen(text, wanted), tuple(where), tuple(sorted(wanted)))


def _check_sums(sums: Path, files: Sequence[Path]) -> None:
    """Compare files with those that ``make dist`` has written sums of, where they came along."""
    lines = sums.read_text().splitlines() if sums.is_file() else []
    known = {name: digest for digest, name in (line.split(maxsplit=1) for line in lines)}
    for path in files:
        if known and known.get(path.name) != _sha256(path):
            raise InstallFailure(
                MISMATCH, f"{path} is not the file that {sums} is of: copy the release again"
            )


def is_complete(folder: Path) -> bool:
    """Whether a release was installed there to its end."""
    return (folder / _COMPLETE).is_file()


def build(release: Release) -> None:
    """Install ``release`` into its folder. Raises InstallFailure; the next run then begins anew."""
    folder = release.folder
    shutil.rmtree(folder, ignore_errors=True)  # of a run that was interrupted
    free = shutil.disk_usage(HOME).free
    if free < _NEEDED_BYTES:
        raise InstallFailure(
            CANNOT_WRITE, f"{HOME} has {free / 1e6:.0f} MB of free space, and a release takes up to"
            f" {_NEEDED_BYTES / 1e6:.0f} MB: remove an old one, see 'ls {HOME}'"
        )  # fmt: skip
    try:
        _fill(folder, release)
    except BaseException:  # also Ctrl-C: half a release must not keep a disk full
        shutil.rmtree(folder, ignore_errors=True)
        raise


def _fill(folder: Path, release: Release) -> None:
    subprocess.run([sys.executable, "-I", "-m", "venv", str(folder)], check=True, umask=0o022)
    requirements = folder / "requirements.txt"
    requirements.write_text(release.requirements)
    command = [
        str(folder / "bin/python"), "-I", "-m", "pip", "install", "--quiet", "--no-input",
        "--disable-pip-version-check", "--no-cache-dir", "--only-binary=:all:", "--require-hashes",
        *release.index, "--requirement", str(requirements),
    ]  # fmt: skip
    done = subprocess.run(command, stderr=subprocess.PIPE, text=True, umask=0o022, check=False)
    if done.returncode:
        is_full = os.strerror(errno.ENOSPC) in done.stderr
        raise InstallFailure(
            CANNOT_WRITE if is_full else MISMATCH,
            f"pip could not install {folder.name}; nothing else was changed:\n{done.stderr.strip()}",
        )
    checked = subprocess.run(
        [str(folder / "bin/ordermq"), "--version"], capture_output=True, text=True, check=False
    )
    if checked.returncode:
        raise InstallFailure(MISMATCH, f"{folder}/bin/ordermq does not start:\n{checked.stderr.strip()}")
    os.sync()  # else half a release may pass for a whole one after a power cut
    (folder / _COMPLETE).write_text(f"{checked.stdout.strip()}\n")


def _sha256(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()
