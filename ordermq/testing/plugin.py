"""Pytest fixtures: a private stack for the run, a vhost and a database for each test.

Comes with the package as a pytest plugin. Nothing is started before a test asks for
it; then the stack takes about 7 s once a run, and 0.2 s a test.

The ini option ``ordermq_modules`` names the modules whose tables the database of a test has. A project
that needs more in it overrides ``database_template`` in its conftest.py: create a database on
``ordermq_stack.postgres``, fill it, close every connection to it and return its name.
"""

import os
import secrets
from collections.abc import Iterator
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path

import pytest

from ordermq.cli.program import migrations_for
from ordermq.config.settings import BrokerSettings, DatabaseSettings
from ordermq.module import load_modules
from ordermq.store import Session, migrate
from ordermq.testing.stack.broker import PrivateBroker
from ordermq.testing.stack.database import PrivatePostgres
from ordermq.testing.stack.errors import ProgramMissing, StackError
from ordermq.testing.stack.private import PrivateStack, existing_stack, temporary_stack
from ordermq.testing.stack.release import wanted_release


@dataclass(frozen=True)
class Vhost:
    """A virtual host of one test."""

    broker: PrivateBroker
    name: str

    @property
    def settings(self) -> BrokerSettings:
        """How to connect to it; ``dataclasses.replace`` changes single settings."""
        return self.broker.settings(self.name)


@dataclass(frozen=True)
class Database:
    """A database of one test."""

    postgres: PrivatePostgres
    name: str

    @property
    def settings(self) -> DatabaseSettings:
        """How to connect to it; ``dataclasses.replace`` changes single settings."""
        return self.postgres.settings(self.name)

    def sql(self, statement: str) -> str:
        """Run SQL in it through psql: rows as lines, ``|`` between columns."""
        return self.postgres.sql(statement, database=self.name)


def pytest_addoption(parser: pytest.Parser) -> None:
    """Add ``--ordermq-stack`` and the ini option ``ordermq_modules``."""
    parser.addini(
        "ordermq_modules", "Modules whose tables the database of each test has.", type="args", default=[]
    )
    parser.addoption(
        "--ordermq-stack",
        metavar="FOLDER",
        help="Use the running stack of 'ordermq devstack --state FOLDER up' instead of starting one.",
    )


def pytest_report_header(config: pytest.Config) -> str:
    """Say which RabbitMQ the tests run on."""
    folder = config.getoption("--ordermq-stack")
    release = existing_stack(Path(folder)).broker.release if folder else wanted_release()
    return f"ordermq: RabbitMQ {release.version or 'is not installed'} ({release.name})"


@pytest.fixture(scope="session")
def ordermq_stack(pytestconfig: pytest.Config) -> Iterator[PrivateStack]:
    """RabbitMQ and PostgreSQL, running, for the whole run.

    Without the server programs the test is skipped, and fails where ``CI`` is set.
    """
    folder = pytestconfig.getoption("--ordermq-stack")
    if folder:
        stack = existing_stack(Path(folder))
        if any(row.state != "up" for row in stack.status()):
            raise StackError(
                f"the stack in {folder} is not up; 'ordermq devstack --state {folder} up' starts it"
            )
        yield stack
        return
    try:
        with temporary_stack() as stack:
            yield stack
    except ProgramMissing as exc:
        if os.environ.get("CI"):
            raise
        pytest.skip(str(exc))  # says which server program is missing


@pytest.fixture
def vhost(ordermq_stack: PrivateStack) -> Iterator[Vhost]:
    """An empty virtual host; deleted afterwards, with every connection to it."""
    name = f"test-{secrets.token_hex(6)}"
    ordermq_stack.broker.add_vhost(name)
    yield Vhost(ordermq_stack.broker, name)
    ordermq_stack.broker.delete_vhost(name)


@pytest.fixture
def broker_settings(vhost: Vhost) -> BrokerSettings:
    """How to connect to the test's ``vhost``."""
    return vhost.settings


@pytest.fixture(scope="session")
def database_template(ordermq_stack: PrivateStack, pytestconfig: pytest.Config) -> Iterator[str]:
    """The database that ``database`` copies, with the tables of ``ordermq_modules``; made once a run."""
    names = pytestconfig.getini("ordermq_modules")
    if not names:
        yield "template1"
        return
    migrations = migrations_for(load_modules(names, "ordermq_modules"))
    name = f"template_{secrets.token_hex(6)}"
    ordermq_stack.postgres.create_database(name)
    with closing(Session(ordermq_stack.postgres.settings(name), name="pytest")) as session:
        migrate.migrate(session, migrations)
    yield name
    ordermq_stack.postgres.drop_database(name)


@pytest.fixture
def database(ordermq_stack: PrivateStack, database_template: str) -> Iterator[Database]:
    """A copy of ``database_template``; dropped afterwards, with every connection to it."""
    name = f"test_{secrets.token_hex(6)}"
    ordermq_stack.postgres.create_database(name, database_template)
    yield Database(ordermq_stack.postgres, name)
    ordermq_stack.postgres.drop_database(name)


@pytest.fixture
def database_settings(database: Database) -> DatabaseSettings:
    """How to connect to the test's ``database``."""
    return database.settings
