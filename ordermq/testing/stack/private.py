"""The private stack: RabbitMQ, PostgreSQL and the servers that modules bring, together."""

import os
import pkgutil
import subprocess
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from ordermq.testing.stack.account import server_account
from ordermq.testing.stack.broker import PrivateBroker
from ordermq.testing.stack.database import PrivatePostgres
from ordermq.testing.stack.errors import StackError
from ordermq.testing.stack.place import Place
from ordermq.testing.stack.release import Release
from ordermq.testing.stack.server import ModuleServer, PrivateServer


@dataclass(frozen=True)
class PartStatus:
    """What ``devstack status`` says of one process."""

    name: str
    state: str
    pid: int | None
    port: int | None


class PrivateStack:
    """The broker, the database and the servers of modules at one place. For one thread at a time."""

    def __init__(
        self,
        place: Place,
        *,
        fsync: bool = True,
        release: Release | None = None,
        sandboxes: Sequence[str] = (),
    ) -> None:
        """``release`` is of the broker; by default what it was before, or what the environment asks for.

        ``sandboxes`` name classes of ModuleServer (``package.module:Class``). A stack also keeps those it
        was started with before, so that each is found and stopped. Raises StackError for one that cannot
        be imported.
        """
        self.place = place
        self.broker = PrivateBroker(place, release=release)
        self.postgres = PrivatePostgres(place, fsync=fsync)
        before = (place.remembered("sandboxes") or {}).get("names", [])
        self._sandbox_names = list(dict.fromkeys([*before, *sandboxes]))
        self.sandboxes = {each.part: each(place) for each in map(_module_server, self._sandbox_names)}

    @property
    def parts(self) -> dict[str, PrivateServer]:
        """The parts by the names that commands use."""
        return {"broker": self.broker, "postgres": self.postgres, **self.sandboxes}

    @property
    def is_known(self) -> bool:
        """Whether it was ever started, and so has ports and passwords."""
        return all(self.place.remembered(name) for name in self.parts)

    def start(self) -> None:
        """Start what is down, all at once, and wait until everything serves.

        Raises StackError, or ProgramMissing before anything was started.
        """
        self.place.remember("sandboxes", {"names": self._sandbox_names})
        for part in self.parts.values():
            part.launch()
        for part in self.parts.values():
            part.wait_ready()

    def stop(self) -> None:
        """Stop everything cleanly; raises StackError at the end if a part had to be killed."""
        failed = []
        for part in reversed(self.parts.values()):
            try:
                part.stop()
            except StackError as exc:
                failed.append(str(exc))
        if failed:
            raise StackError("; ".join(failed))

    def kill(self) -> None:
        """SIGKILL everything, epmd too: for a stack whose data is thrown away."""
        for part in self.parts.values():
            part.kill()
        self.broker.epmd.kill()

    def status(self) -> list[PartStatus]:
        """Each process: ``up``, ``silent`` (runs but does not answer) or ``down``."""
        rows = []
        for name, part in self.parts.items():
            pid = part.process.pid
            state = "down" if pid is None else "up" if part.is_serving() else "silent"
            rows.append(PartStatus(name, state, pid, part.port if pid else None))
        epmd = self.broker.epmd.pid
        rows.insert(
            1, PartStatus("epmd", "up" if epmd else "down", epmd, self.broker.epmd_port if epmd else None)
        )
        return rows

    def environment(self) -> dict[str, str]:
        """The settings that lead a process to this stack, as environment variables."""
        broker, database = self.broker.settings(), self.postgres.settings()
        settings = {
            "ORDERMQ_BROKER_HOSTS": ",".join(broker.hosts),
            "ORDERMQ_BROKER_VHOST": broker.vhost,
            "ORDERMQ_BROKER_USERNAME": broker.username,
            "ORDERMQ_BROKER_PASSWORD": broker.password.reveal(),
            "ORDERMQ_DATABASE_HOST": database.host,
            "ORDERMQ_DATABASE_PORT": str(database.port),
            "ORDERMQ_DATABASE_NAME": database.name,
            "ORDERMQ_DATABASE_USERNAME": database.username,
            "ORDERMQ_DATABASE_PASSWORD": database.password.reveal(),
            "ORDERMQ_DATABASE_SSLMODE": database.sslmode,
            "ORDERMQ_TOPOLOGY_MANAGEMENT_URL": self.broker.management_url,
        }
        for sandbox in self.sandboxes.values():
            settings |= sandbox.environment()
        return settings


def existing_stack(state: Path) -> PrivateStack:
    """The stack whose state lies in ``state``, running or not. Raises StackError if there is none."""
    return PrivateStack(Place.existing(state, server_account()))


@contextmanager
def locked_devstack(
    state: Path, release: Release | None = None, sandboxes: Sequence[str] = ()
) -> Iterator[PrivateStack]:
    """The long-lived stack of ``state``, made if it is new, while no other command changes it."""
    place = Place.beside(state, server_account())
    with place.locked():
        yield PrivateStack(place, release=release, sandboxes=sandboxes)


@contextmanager
def temporary_stack(*, fsync: bool = False) -> Iterator[PrivateStack]:
    """A running stack of one's own; gone with its data afterwards, even if this process is killed.

    Without ``fsync`` its PostgreSQL is faster, and only a crash of the machine would lose data.
    """
    place = Place.temporary(server_account())
    with guarded(place):
        stack = PrivateStack(place, fsync=fsync)
        try:
            stack.start()
            yield stack
        finally:
            stack.kill()


def _module_server(name: str) -> type[ModuleServer]:
    try:
        found = pkgutil.resolve_name(name)
    except (ImportError, AttributeError, ValueError) as exc:
        raise StackError(f"the stack's server {name} cannot be imported: {exc}") from exc
    if not (isinstance(found, type) and issubclass(found, ModuleServer)):
        raise StackError(f"{name} is not a class of ordermq.testing.stack.server.ModuleServer")
    return found


@contextmanager
def guarded(place: Place) -> Iterator[None]:
    """Have another process kill what runs at ``place`` and wipe it when this block or this process ends."""
    argv = [sys.executable, "-m", "ordermq.testing.stack.guard", str(place.state)]
    # In a session of its own, so that a Ctrl-C meant for us does not end it first.
    with subprocess.Popen(argv, stdin=subprocess.PIPE, start_new_session=True, env=os.environ) as guard:
        try:
            yield
        finally:
            guard.communicate()
