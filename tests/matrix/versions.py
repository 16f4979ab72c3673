"""``python -m tests.matrix.versions``: the versions in force here, as a JSON object."""

import importlib.metadata
import json
import platform
from pathlib import Path

from ordermq.testing.stack.postgres_release import wanted_postgres
from ordermq.testing.stack.release import wanted_release


def versions() -> dict[str, str]:
    """Return Debian's, Python's, RabbitMQ's, PostgreSQL's and pika's."""
    release, postgres = wanted_release(), wanted_postgres()
    system = platform.freedesktop_os_release()
    debian = Path("/etc/debian_version").read_text().strip() if system["ID"] == "debian" else ""
    return {
        "system": f"Debian {debian}" if debian else system["PRETTY_NAME"],
        "Python": platform.python_version(),
        "RabbitMQ": release.version,
        "PostgreSQL": postgres.version or "?",
        "pika": importlib.metadata.version("pika"),
    }


if __name__ == "__main__":
    print(json.dumps(versions()))
