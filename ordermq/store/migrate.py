"""Numbered SQL files, applied once each, in order, by one process at a time.

A scope is a folder of files ``0001_name.sql`` that belongs to one owner: the framework's is
``ordermq``, and each module has its own. Each file runs in one transaction together with the
row that records it. Its first line says whether it is safe while old code runs.
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from importlib import resources

from ordermq.errors import ConfigError, SchemaOutdated, StoreError
from ordermq.store.session import Session
from ordermq.store.transaction import StoreTransaction

_LOCK = 0x6F72646572_4D49  # held by the one process that migrates
_FILE = re.compile(r"(\d{4})_([a-z0-9_]+)\.sql")
_SAFE = re.compile(r"-- safe while old code runs: (yes|no)\b")

_SCHEMA = """
    CREATE SCHEMA IF NOT EXISTS ordermq;
    CREATE TABLE IF NOT EXISTS ordermq.migrations (
        scope       text        NOT NULL,
        number      integer     NOT NULL,
        name        text        NOT NULL,
        applied_at  timestamptz NOT NULL DEFAULT now(),
        PRIMARY KEY (scope, number)
    )
"""


@dataclass(frozen=True)
class Migration:
    """One file of a scope."""

    scope: str
    number: int
    name: str
    sql: str
    is_safe_online: bool


@dataclass(frozen=True)
class MigrationStatus:
    """A migration and whether the database has it."""

    migration: Migration
    is_applied: bool


def migrations_of(scope: str, package: str) -> list[Migration]:
    """Read the SQL files of ``package`` (an importable folder).

    Raises ConfigError for a package that is missing or has no such file, and for a bad file.
    """
    found = []
    for name, text in _files(package):
        match = _FILE.fullmatch(name)
        if match is None:
            raise ConfigError(
                f"{name} in {package} is not named as a migration is: 0001_{scope}.sql, in small letters"
            )
        safe = _SAFE.match(text)
        if safe is None:
            raise ConfigError(
                f"{name} in {package}: its first line must be '-- safe while old code runs: yes', or no"
            )
        found.append(Migration(scope, int(match[1]), match[2], text, safe[1] == "yes"))
    found.sort(key=lambda each: each.number)
    if [each.number for each in found] != list(range(1, len(found) + 1)):
        raise ConfigError(f"migrations in {package} are not numbered 1 to {len(found)} without a gap")
    return found


def _files(package: str) -> list[tuple[str, str]]:
    try:
        folder = resources.files(package)
    except ImportError as exc:
        raise ConfigError(
            f"migrations: cannot find the package {package!r}: {exc}; it is a folder with an __init__.py and"
            " files such as 0001_name.sql"
        ) from exc
    files = [each for each in folder.iterdir() if each.name.endswith(".sql")]
    if not files:
        raise ConfigError(f"migrations: the package {package!r} has no file such as 0001_name.sql")
    return [(each.name, each.read_text(encoding="utf-8")) for each in files]


FRAMEWORK = ("ordermq", "ordermq.store.migrations")


def migrate(session: Session, migrations: Sequence[Migration]) -> list[Migration]:
    """Apply the missing migrations and return them. Blocks while another process migrates.

    Raises SchemaOutdated if the database has a migration that this code does not know.
    """
    applied = []
    with session.transaction() as tx:
        tx.execute("SELECT pg_advisory_xact_lock(%s)", (_LOCK,))
        tx.execute(_SCHEMA)
    for migration in migrations:
        with session.transaction() as tx:
            tx.execute("SELECT pg_advisory_xact_lock(%s)", (_LOCK,))
            if (migration.scope, migration.number) in _applied(tx):
                continue
            try:
                tx.execute(migration.sql)
            except StoreError as exc:
                raise type(exc)(
                    f"migration {migration.scope} {migration.number:04} {migration.name}: {exc};"
                    " nothing of it was applied",
                    exc.sqlstate,
                ) from exc
            tx.execute(
                "INSERT INTO ordermq.migrations (scope, number, name) VALUES (%s, %s, %s)",
                (migration.scope, migration.number, migration.name),
            )
            applied.append(migration)
    check(session, migrations)
    return applied


def status(session: Session, migrations: Sequence[Migration]) -> list[MigrationStatus]:
    """Return for each of ``migrations`` whether the database has it."""
    with session.transaction() as tx:
        applied = _applied(tx)
    return [MigrationStatus(each, (each.scope, each.number) in applied) for each in migrations]


def check(session: Session, migrations: Sequence[Migration]) -> None:
    """Raise SchemaOutdated unless the database has all of ``migrations`` and no newer one of their scopes."""
    with session.transaction() as tx:
        applied = _applied(tx)
    known = {(each.scope, each.number) for each in migrations}
    scopes = {each.scope for each in migrations}
    missing = sorted(known - applied)
    if missing:
        scope, number = missing[0]
        raise SchemaOutdated(f"migration {scope} {number:04} is missing; run: ordermq db migrate")
    newer = sorted(each for each in applied - known if each[0] in scopes)
    if newer:
        scope, number = newer[-1]
        raise SchemaOutdated(f"the database has migration {scope} {number:04}, newer than this code")


def _applied(tx: StoreTransaction) -> set[tuple[str, int]]:
    exists = tx.fetch_one("SELECT to_regclass('ordermq.migrations') IS NOT NULL")
    if not exists or not exists[0]:
        return set()
    return {(row[0], row[1]) for row in tx.fetch_all("SELECT scope, number FROM ordermq.migrations")}
