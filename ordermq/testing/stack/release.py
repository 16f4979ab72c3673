"""Which RabbitMQ a private broker runs: the installed one, or a newer one from a folder of its own.

Debian 12 has RabbitMQ 3.10; 4.0 and 4.3 need a newer Erlang and a newer C library. All of it
lies where ``bin/rabbitmq VERSION`` extracted it, and is run with that folder's /usr in the
place of the machine's (``Enclosure``).
"""

import os
import shutil
from dataclasses import dataclass
from pathlib import Path

from ordermq.config import environment
from ordermq.testing.stack.enclosure import Enclosure
from ordermq.testing.stack.errors import ProgramMissing, StackError
from ordermq.testing.stack.programs import PATH

INSTALLED = "installed"
FETCHED = ("4.0", "4.3")
RELEASES = (INSTALLED, *FETCHED)

_USR = Path("/usr")
BIN = Path("lib/rabbitmq/bin")


@dataclass(frozen=True)
class Release:
    """A RabbitMQ with its Erlang. ``usr`` is None for the installed one."""

    name: str
    usr: Path | None = None

    @property
    def version(self) -> str:
        """Such as ``3.10.8``; empty if it is not there."""
        folders = (self.usr or _USR).glob("lib/rabbitmq/lib/rabbitmq_server-*")
        return max((folder.name.rpartition("-")[2] for folder in folders), default="")

    def enclosure(self, network: str = "") -> Enclosure:
        """What its programs are run in."""
        return Enclosure(self.usr, network)

    def rabbitmq(self, program: str) -> str:
        """Path of ``rabbitmq-server``, ``rabbitmqctl``, ... inside. Raises ProgramMissing.

        Never the wrappers in /usr/sbin: Debian's change to the account and the folder of
        the system's own broker.
        """
        self._check(BIN / program)
        return str(_USR / BIN / program)

    def epmd(self) -> str:
        """Path of Erlang's port mapper inside. Raises ProgramMissing."""
        if self.usr is not None:
            self._check(Path("bin/epmd"))
            return "/usr/bin/epmd"
        found = shutil.which("epmd", path=PATH)
        if found is None:
            raise ProgramMissing.of("Erlang's epmd", "rabbitmq-server")
        return found

    def _check(self, path: Path) -> None:
        if self.usr is None and not (_USR / path).exists():
            raise ProgramMissing.of(f"RabbitMQ's {_USR / path}", "rabbitmq-server")
        if self.usr is not None and not (self.usr / path).exists():
            raise StackError(
                f"{self.usr / path} does not exist; bin/rabbitmq {self.name} of ordermq's sources fetches it"
            )
        if self.usr is not None and os.geteuid() != 0:
            raise StackError(
                f"RabbitMQ {self.name} runs in a mount namespace of its own, which only root can make"
            )


def release_named(name: str) -> Release:
    """Return the release of that name, there or not. Raises StackError for an unknown one."""
    if name == INSTALLED:
        return Release(name)
    if name in FETCHED:
        return Release(name, Path(environment.cache_home()) / "ordermq" / f"rabbitmq-{name}" / "usr")
    raise StackError(f"{environment.STACK_BROKER} is {name!r}; known are {', '.join(RELEASES)}")


def wanted_release() -> Release:
    """Return what the environment asks for; the installed one if it says nothing."""
    return release_named(environment.stack_broker() or INSTALLED)
