"""What the servers of a private stack have in common: one process that starts, serves and stops."""

import signal
from abc import ABC, abstractmethod
from typing import Any, ClassVar

from ordermq.testing.stack.errors import StackError
from ordermq.testing.stack.place import Place
from ordermq.testing.stack.process import ServerProcess
from ordermq.testing.wait import wait_until


class PrivateServer(ABC):
    """One server on its place. Everything blocks; start and stop it from one thread at a time."""

    title: ClassVar[str]
    stop_signal: ClassVar[signal.Signals] = signal.SIGTERM

    def __init__(self, place: Place, name: str) -> None:
        self._place = place
        self.process = ServerProcess(place, name)
        self._known: dict[str, Any] = place.remembered(name) or {}

    def start(self, timeout_s: float = 60.0) -> None:
        """Start on the data there is and wait until it serves. Raises StackError, ProgramMissing."""
        self.launch()
        self.wait_ready(timeout_s)

    @abstractmethod
    def launch(self) -> None:
        """Start without waiting. Does nothing if it is running."""

    @abstractmethod
    def is_serving(self) -> bool:
        """Whether it answers, now."""

    @property
    @abstractmethod
    def port(self) -> int:
        """The port of 127.0.0.1 that its clients connect to. Raises KeyError before the first start."""

    def wait_ready(self, timeout_s: float = 60.0) -> None:
        """Wait until it serves. Raises StackError with the end of its log if it ends or takes too long."""

        def is_ready() -> bool:
            if self.process.pid is None:
                log, words = self.process.log, self.process.log_tail()
                raise StackError(f"{self.title} ended while starting. The end of {log}:\n{words}")
            return self.is_serving()

        try:
            wait_until(is_ready, timeout_s, what=f"{self.title} serves", every_s=0.05)
        except TimeoutError as exc:
            raise StackError(f"{exc}; see {self.process.log}") from exc

    def stop(self, timeout_s: float = 60.0) -> None:
        """Shut down cleanly. Does nothing if it is down."""
        self.process.stop(self.stop_signal, timeout_s)

    def kill(self) -> None:
        """SIGKILL every process of the server, as a crash would."""
        self.process.kill()

    def restart(self, timeout_s: float = 60.0) -> None:
        """Stop and start on the same ports and data."""
        self.stop(timeout_s)
        self.start(timeout_s)

    def freeze(self) -> None:
        """Stop it from running while its connections stay open: a hung machine."""
        self.process.freeze()

    def thaw(self) -> None:
        """End ``freeze``."""
        self.process.thaw()


class ModuleServer(PrivateServer):
    """A server that a module brings to the private stack, such as third parties to practise on.

    ``Module(sandbox="package.module:Class")`` names the class. ``part`` is what the commands of
    ``ordermq devstack`` call it, and what its log and its folder are called.
    """

    part: ClassVar[str]

    def __init__(self, place: Place) -> None:
        super().__init__(place, self.part)

    @abstractmethod
    def environment(self) -> dict[str, str]:
        """The settings that lead a process to it, as environment variables."""
