"""Where a sample runs: a virtual host and a database of its own on one private stack, gone afterwards.

The stack's PostgreSQL calls fsync, and nothing of RabbitMQ's durability is turned off.
"""

import json
import subprocess
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, replace
from itertools import count
from typing import Any
from urllib.parse import quote

from ordermq.config.environment import inherited
from ordermq.config.settings import BrokerSettings, DatabaseSettings
from ordermq.testing.stack.commands import run_command
from ordermq.testing.stack.errors import StackError
from ordermq.testing.stack.private import PrivateStack, temporary_stack

_NUMBERS = count(1)


class ProgramFailed(StackError):
    """A program of a sample ended badly; the text is the end of its output."""


@dataclass(frozen=True)
class Ground:
    """One sample's. ``env`` leads ordermq's commands to it."""

    stack: PrivateStack
    name: str
    env: Mapping[str, str]

    @property
    def broker(self) -> BrokerSettings:
        return self.stack.broker.settings(self.name)

    @property
    def database(self) -> DatabaseSettings:
        return replace(self.stack.postgres.settings(), name=self.name)

    def job(self, **values: Any) -> dict[str, Any]:
        """Return the job of a program: where the servers are, and ``values``."""
        broker, database = self.broker, self.database
        host, _, port = broker.hosts[0].rpartition(":")
        password = broker.password.reveal()
        return {
            "amqp": {
                "host": host, "port": int(port), "vhost": self.name,
                "username": broker.username, "password": password,
                "url": f"amqp://{broker.username}:{quote(password, safe='')}@{host}:{port}/{self.name}",
            },
            "postgres": {
                "host": database.host, "port": database.port, "dbname": self.name,
                "user": database.username, "password": database.password.reveal(),
            },
        } | values  # fmt: skip

    def run(self, module: str, *, timeout_s: float = 600.0, **values: Any) -> dict[str, Any]:
        """Run ``benchmarks.programs.<module>`` with a job; return what it answered.

        The job goes through its standard input: passwords do not belong into an argument list.
        Raises ProgramFailed.
        """
        return self.call([sys.executable, "-m", f"benchmarks.programs.{module}"], timeout_s, **values)

    def call(self, argv: list[str], timeout_s: float = 600.0, **values: Any) -> dict[str, Any]:
        """Run any program in the same way: a job in, the last line out."""
        try:
            done = subprocess.run(
                argv, input=json.dumps(self.job(**values)), env=dict(self.env), capture_output=True,
                text=True, timeout=timeout_s, check=False,
            )  # fmt: skip
        except subprocess.TimeoutExpired as exc:
            raise ProgramFailed(f"{argv[-1]} did not end within {timeout_s:.0f} s") from exc
        if done.returncode != 0 or not done.stdout.strip():
            raise ProgramFailed(f"{argv[-1]} ended with {done.returncode}:\n{done.stderr[-3000:]}")
        answer: dict[str, Any] = json.loads(done.stdout.strip().splitlines()[-1])
        return answer

    def command(self, *argv: str) -> None:
        """Run one of ordermq's commands. Raises StackError unless it ends well."""
        run_command(*argv, env=self.env)


class Arena:
    """The stack of a whole run."""

    def __init__(self, stack: PrivateStack) -> None:
        self.stack = stack

    @contextmanager
    def ground(self) -> Iterator[Ground]:
        """A fresh ground for one sample."""
        name = f"bench_{next(_NUMBERS)}"
        self.stack.broker.add_vhost(name)
        try:
            self.stack.postgres.create_database(name)
            try:
                yield Ground(self.stack, name, self._environment(name))
            finally:
                self.stack.postgres.drop_database(name)
        finally:
            self.stack.broker.delete_vhost(name)

    def _environment(self, name: str) -> dict[str, str]:
        return inherited() | self.stack.environment() | {
            "ORDERMQ_CONFIG": "", "ORDERMQ_BROKER_VHOST": name, "ORDERMQ_DATABASE_NAME": name,
        }  # fmt: skip


@contextmanager
def arena() -> Iterator[Arena]:
    """A running stack of its own that keeps every promise of durability; gone afterwards."""
    with temporary_stack(fsync=True) as stack:
        yield Arena(stack)
