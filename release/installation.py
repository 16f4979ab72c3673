"""An empty environment with what dist/ says, as a machine that runs ordermq gets it."""

import sys
from pathlib import Path

from release.failure import run


def make(folder: Path, constraints: Path, wheel: Path) -> Path:
    """Install into a new environment, start ordermq there, and return its Python."""
    run([sys.executable, "-m", "venv", "--without-pip", folder])
    python = folder / "bin/python"
    pip = [sys.executable, "-m", "pip", "--python", python, "install", "--quiet", "--no-compile"]
    run([*pip, "--require-hashes", "--only-binary", ":all:", "--requirement", constraints])
    run([*pip, "--no-deps", "--no-index", wheel])
    run([folder / "bin/ordermq", "--help"])
    return python
