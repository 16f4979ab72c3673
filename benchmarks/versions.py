"""What was measured: the versions of everything that takes part."""

import platform
from importlib.metadata import PackageNotFoundError, version

from ordermq.testing.stack.release import wanted_release

_PACKAGES = (
    "pika",
    "psycopg2-binary",
    "celery",
    "dramatiq",
    "dbos",
    "procrastinate",
    "pgmq",
    "eventsourcing",
)


def versions() -> str:
    """Return one line of names and versions."""
    found = [f"Python {platform.python_version()}", f"RabbitMQ {wanted_release().version}"]
    for package in _PACKAGES:
        try:
            found.append(f"{package} {version(package)}")
        except PackageNotFoundError:
            found.append(f"{package} missing")
    return ", ".join(found)
