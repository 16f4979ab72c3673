"""Virtual environments of cells: another Python, or other versions of what ordermq needs."""

import configparser
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

from tests.matrix.cell import ROOT, WORK, Place, Unavailable

EDITABLE = f"{ROOT}[audit,otel]"
TOOLS = ("pytest", "pytest-timeout", "pytest-xdist", "hypothesis", "pyyaml", "setuptools", "wheel", "build")


def requirements(end: str = "") -> list[str]:
    """Return what ordermq and the tests need; the ``lowest`` version of each is exactly that."""
    setup = configparser.ConfigParser()
    setup.read(ROOT / "setup.cfg")
    needed = setup["options"]["install_requires"].split()
    if end != "lowest":
        return [*needed, *TOOLS]
    lowest = [re.sub(r">=([^,]+).*", r"==\1", each) for each in needed]
    return [*lowest, *TOOLS]


def python_named(version: str) -> str:
    """Return a Python of that version of this machine. Raises Unavailable."""
    if f"{sys.version_info.major}.{sys.version_info.minor}" == version:
        return sys.executable
    of_pyenv = sorted(Path(os.path.expanduser("~/.pyenv/versions")).glob(f"{version}.*/bin/python"))
    found = str(of_pyenv[-1]) if of_pyenv else shutil.which(f"python{version}")
    if not found:
        raise Unavailable(f"there is no Python {version} here: neither of pyenv nor as python{version}")
    return found


def environment(name: str, python: str, packages: Sequence[str], *, changes: Sequence[str] = ()) -> Place:
    """Return a virtual environment with these packages, made once; ``changes`` are installed over them."""
    folder = WORK / f"venv-{name}"
    mark, wanted = folder / ".ready", "\n".join([python, EDITABLE, *packages, *changes])
    if not mark.exists() or mark.read_text() != wanted:
        shutil.rmtree(folder, ignore_errors=True)
        run([python, "-m", "venv", "--without-pip", str(folder)])
        pip = [sys.executable, "-m", "pip", "--python", str(folder / "bin/python"), "install", "--quiet"]
        run([*pip, "--no-compile", "--editable", EDITABLE, *packages])
        if changes:
            run([*pip, "--no-compile", "--upgrade", "--pre", *changes])
        mark.write_text(wanted)
    return Place((str(folder / "bin/python"),))


def run(argv: Sequence[str], **options: object) -> None:
    """Run a program that prepares a cell. Raises Unavailable with the end of what it said."""
    done = subprocess.run(argv, capture_output=True, text=True, check=False, **options)  # type: ignore[call-overload] # of subprocess
    if done.returncode:
        said = [each for each in (done.stdout + done.stderr).splitlines() if each.strip()]
        raise Unavailable(f"{Path(argv[0]).name} failed: {' / '.join(said[-3:])[:300]}")
