"""The wheel of this checkout, as a user gets it."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[2]
SOURCES = ("ordermq", "config", "deploy")
BUILT_AT = 1_767_225_600  # every file in the wheel bears this time
FILES = ("setup.cfg", "setup.py", "pyproject.toml", "MANIFEST.in", "README.md", "LICENSE")


def build_wheel(source, folder):
    """Build the wheel in ``folder`` from a copy in ``source``: a build leaves files beside its sources."""
    for name in SOURCES:
        shutil.copytree(ROOT / name, source / name, ignore=shutil.ignore_patterns("__pycache__"))
    for name in FILES:
        shutil.copy(ROOT / name, source)
    argv = [sys.executable, "-m", "build", "--wheel", "--no-isolation", "--outdir", str(folder), str(source)]
    env = {**os.environ, "SOURCE_DATE_EPOCH": str(BUILT_AT)}
    built = subprocess.run(argv, capture_output=True, text=True, check=False, env=env)
    assert built.returncode == 0, built.stdout + built.stderr
    return next(folder.glob("*.whl"))
