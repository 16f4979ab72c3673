"""Where PostgreSQL's programs are. ``release`` knows where those of RabbitMQ are."""

import shutil
import subprocess
from pathlib import Path

from ordermq.testing.stack.errors import ProgramMissing

#: The PATH of every server, because the caller's PATH may lead anywhere.
PATH = "/usr/local/bin:/usr/bin:/bin:/usr/sbin:/sbin"


def postgres_bin() -> Path:
    """Folder of ``initdb`` and ``postgres``, the newest version's. Raises ProgramMissing."""
    versions = [path for path in Path("/usr/lib/postgresql").glob("*/bin") if _is_server(path)]
    if versions:
        return max(versions, key=lambda path: _version(path.parent.name))
    if shutil.which("pg_config"):
        said = subprocess.run(["pg_config", "--bindir"], capture_output=True, text=True, check=False)
        if _is_server(Path(said.stdout.strip())):
            return Path(said.stdout.strip())
    found = shutil.which("initdb")
    if found and _is_server(Path(found).resolve().parent):
        return Path(found).resolve().parent
    raise ProgramMissing.of("PostgreSQL's server", "postgresql")


def psql() -> str:
    """Path of psql. Raises ProgramMissing."""
    beside = postgres_bin() / "psql"
    found = str(beside) if beside.exists() else shutil.which("psql")
    if found is None:
        raise ProgramMissing.of("psql", "postgresql-client")
    return found


def _is_server(folder: Path) -> bool:
    return (folder / "initdb").exists() and (folder / "postgres").exists()


def _version(name: str) -> tuple[int, ...]:
    return tuple(int(part) for part in name.split(".") if part.isdigit())
