"""Which PostgreSQL a private server runs: the installed one, or a newer one from a folder of its own.

Debian 12 has PostgreSQL 15. 17 and 18 need a newer C library; they lie where ``bin/postgres VERSION``
extracted them, and are run with that folder's /usr in the place of the machine's (``Enclosure``).
"""

import os
import subprocess
from dataclasses import dataclass
from pathlib import Path

from ordermq.config import environment
from ordermq.testing.stack import programs
from ordermq.testing.stack.account import server_account
from ordermq.testing.stack.enclosure import Enclosure
from ordermq.testing.stack.errors import StackError
from ordermq.testing.stack.release import INSTALLED

NEWER_POSTGRES = ("17", "18")


@dataclass(frozen=True)
class PostgresRelease:
    """A PostgreSQL. ``usr`` is None for the installed one."""

    name: str
    usr: Path | None = None

    @property
    def version(self) -> str:
        """Such as ``17.6``. Raises ProgramMissing or StackError."""
        argv = [str(self.bin_folder() / "postgres"), "--version"]
        argv = self.enclosure.command(argv, server_account()) if self.enclosure.is_entered else argv
        said = subprocess.run(argv, capture_output=True, text=True, check=True).stdout
        return said.split()[2]

    @property
    def enclosure(self) -> Enclosure:
        """What its programs are run in."""
        return Enclosure(self.usr)

    def bin_folder(self) -> Path:
        """Folder of ``initdb`` and ``postgres`` inside. Raises ProgramMissing or StackError."""
        if self.usr is None:
            return programs.postgres_bin()
        inside = Path("lib/postgresql") / self.name / "bin"
        if not (self.usr / inside / "postgres").exists():
            raise StackError(
                f"{self.usr / inside / 'postgres'} does not exist; bin/postgres {self.name} of ordermq's"
                " sources fetches it"
            )
        if os.geteuid() != 0:
            raise StackError(
                f"PostgreSQL {self.name} runs in a mount namespace of its own, which only root can make"
            )
        return Path("/usr") / inside


def postgres_named(name: str) -> PostgresRelease:
    """Return the release of that name, there or not. Raises StackError for an unknown one."""
    if name == INSTALLED:
        return PostgresRelease(name)
    if name in NEWER_POSTGRES:
        folder = Path(environment.cache_home()) / "ordermq" / f"postgres-{name}" / "usr"
        return PostgresRelease(name, folder)
    known = ", ".join((INSTALLED, *NEWER_POSTGRES))
    raise StackError(f"{environment.STACK_POSTGRES} is {name!r}; known are {known}")


def wanted_postgres() -> PostgresRelease:
    """Return what the environment asks for; the installed one if it says nothing."""
    return postgres_named(environment.stack_postgres() or INSTALLED)
