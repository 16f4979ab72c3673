"""The processes of a sample: started, waited for, measured and ended.

What a program needs to know is in its environment (``BENCHMARK_JOB``), because other users of
the machine can read the arguments of a process.
"""

import json
import os
import signal
import tempfile
from collections.abc import Callable, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any, Self

from benchmarks.checkout import HERE, Checkout
from benchmarks.ground import Ground, ProgramFailed
from ordermq.testing.stack.account import server_account
from ordermq.testing.stack.place import Place
from ordermq.testing.stack.process import ServerProcess
from ordermq.testing.wait import wait_until

END_WITHIN_S = 3.0  # the sample has its figures by then, so what is killed loses nothing
_TICKS_PER_S = os.sysconf("SC_CLK_TCK")
_PAGE_BYTES = os.sysconf("SC_PAGE_SIZE")


class MeasuredProcess(ServerProcess):
    """One process of a sample, with the processes it has started itself.

    ``is_lasting`` says that its end, even a good one, is not expected.
    """

    def __init__(self, place: Place, name: str, *, is_lasting: bool) -> None:
        super().__init__(place, name)
        self.is_lasting = is_lasting

    @property
    def is_lost(self) -> bool:
        """Whether it has ended and should not have, or has failed."""
        code = self.exit_code
        return code is not None and (self.is_lasting or code != 0)

    def cpu_s(self) -> float:
        """Return the processor time it and its children have used so far, in seconds."""
        return sum(_cpu_s(each.pid) for each in self.tree())

    def resident_mb(self) -> float:
        """Return the memory it and its children hold, in MB; what they share counts for each."""
        return sum(_resident_mb(each.pid) for each in self.tree())


class Processes:
    """The processes on one ground, all ended at the end of ``with Processes(ground) as processes:``."""

    def __init__(self, ground: Ground, checkout: Checkout = HERE) -> None:
        self.ground = ground
        self._checkout = checkout
        self._running: list[MeasuredProcess] = []
        self._started = 0
        self._folder = tempfile.TemporaryDirectory(prefix="ordermq-bench-")
        self._place = Place(self.folder, self.folder, server_account())

    @property
    def folder(self) -> Path:
        """A folder for the files of these processes, deleted at the end."""
        return Path(self._folder.name)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exc: object) -> None:
        for process in self._running:
            process.send(signal.SIGTERM)
        with suppress(TimeoutError):
            wait_until(lambda: not any(each.pid for each in self._running), END_WITHIN_S)
        for process in list(self._running):
            self.kill(process)
        self._folder.cleanup()

    def cpu_s(self) -> float:
        """Return the processor time of all that run here, and of broker and database, so far, in seconds."""
        servers = (self.ground.stack.broker.process, self.ground.stack.postgres.process)
        trees = [each.tree() for each in (*self._running, *servers)]
        return sum(_cpu_s(each.pid, with_ended=True) for tree in trees for each in tree)

    def kill(self, process: MeasuredProcess) -> None:
        """End a process and all that it has started, at once."""
        process.kill()
        self._running.remove(process)

    def start(
        self,
        name: str,
        argv: Sequence[str],
        *,
        env: dict[str, str] | None = None,
        is_lasting: bool = True,
        **job: Any,
    ) -> MeasuredProcess:
        """Start a program in a session of its own, with ``job`` in its environment."""
        self._started += 1
        process = MeasuredProcess(self._place, f"{name}-{self._started}", is_lasting=is_lasting)
        all_env = {
            **self.ground.env,
            "PYTHONPATH": str(self._checkout.root),
            "BENCHMARK_JOB": json.dumps(self.ground.job(**job)),
            **(env or {}),
        }
        process.start(argv, env=all_env, cwd=self._checkout.root, as_self=True)
        self._running.append(process)
        return process

    def start_command(self, name: str, *argv: str, **env: str) -> MeasuredProcess:
        """Start one of ordermq's commands."""
        return self.start(name, [self._checkout.program(argv[0]), *argv[1:]], env=env)

    def start_module(self, name: str, module: str, *args: str, **job: Any) -> MeasuredProcess:
        """Start ``python -m module``."""
        return self.start(name, [self._checkout.python, "-m", module, *args], **job)

    def run(self, module: str, *, timeout_s: float = 300.0, **job: Any) -> dict[str, Any]:
        """Run ``benchmarks.programs.<module>`` to its end; return its answer. Raises ProgramFailed."""
        process = self.start_module(module, f"benchmarks.programs.{module}", is_lasting=False, **job)
        self.wait_ended(process, timeout_s)
        answer: dict[str, Any] = json.loads(process.log.read_text().strip().splitlines()[-1])
        return answer

    def wait_ended(self, process: MeasuredProcess, timeout_s: float) -> None:
        """Wait until a process that is not lasting has ended well. Raises ProgramFailed."""
        self.wait(lambda: process.pid is None, timeout_s, f"{process.name} has ended")

    def wait(self, predicate: Callable[[], Any], timeout_s: float, what: str, every_s: float = 0.05) -> Any:
        """Wait until ``predicate`` is true. Raises ProgramFailed if it takes longer or a process is lost."""

        def looked() -> Any:
            found = predicate()
            for each in self._running:
                if each.is_lost:
                    raise ProgramFailed(f"{each.name} ended with {each.exit_code}:\n{each.log_tail(3000)}")
            return found

        try:
            return wait_until(looked, timeout_s, what=what, every_s=every_s)
        except TimeoutError as exc:
            said = "\n".join(f"--- {each.name}\n{each.log_tail(600)}" for each in self._running)
            raise ProgramFailed(f"{exc}\n{said}") from exc


def _cpu_s(pid: int, *, with_ended: bool = False) -> float:
    """Return the processor time one process has used so far, in seconds; 0 if it is gone.

    ``with_ended`` adds that of its children that have ended.
    """
    try:
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except OSError:
        return 0.0
    return sum(map(int, fields[11 : 15 if with_ended else 13])) / _TICKS_PER_S


def _resident_mb(pid: int) -> float:
    """Return the memory one process holds, in MB; 0 if it is gone."""
    try:
        return int(Path(f"/proc/{pid}/statm").read_text().split()[1]) * _PAGE_BYTES / 1e6
    except OSError:
        return 0.0
