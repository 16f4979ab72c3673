"""Which checkout of ordermq a sample runs: this one, or another beside it."""

import os
import sys
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent


@dataclass(frozen=True)
class Checkout:
    """A folder with ordermq's sources, and the environment that runs them."""

    root: Path
    bin: Path

    @property
    def python(self) -> str:
        """Path of its Python."""
        return str(self.bin / "python")

    def program(self, name: str) -> str:
        """Path of one of its commands."""
        return str(self.bin / name)


HERE = Checkout(ROOT, Path(sys.executable).parent)


def other() -> Checkout:
    """The checkout that ``BENCH_OTHER`` names, in which ``make setup`` was run; without it this one."""
    if not (folder := os.environ.get("BENCH_OTHER")):
        return HERE
    root = Path(folder).resolve()
    return Checkout(root, root / ".venv" / "bin")
