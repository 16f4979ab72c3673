"""The processes of a sample: started, waited for, ended. Nothing of them is left behind.

What a program needs to know stands in its environment (``BENCHMARK_JOB``): passwords do not
belong into an argument list.
"""

import json
import os
import signal
import subprocess
import sys
import tempfile
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

from benchmarks.ground import Ground, ProgramFailed
from ordermq.clock import Deadline
from ordermq.testing.stack.fleet import program
from ordermq.testing.wait import wait_until

_ROOT = Path(__file__).resolve().parent.parent
END_WITHIN_S = 3.0  # what was to be shown has been; nothing is lost with what is killed then
_TICKS_PER_S = os.sysconf("SC_CLK_TCK")
_PAGE_BYTES = os.sysconf("SC_PAGE_SIZE")


@dataclass(frozen=True)
class Hand:
    """One process of a crew, with the processes it has started itself."""

    name: str
    process: "subprocess.Popen[bytes]"
    log: Path
    is_lasting: bool = True  # its end, even a good one, is not expected

    @property
    def last_words(self) -> str:
        return self.log.read_text(errors="replace")[-3000:]

    def cpu_s(self) -> float:
        """Return the processor time it and its children have used so far, in seconds."""
        return sum(cpu_s(pid) for pid in family(self.process.pid))

    def resident_mb(self) -> float:
        """Return the memory it and its children hold, in MB; what they share counts for each."""
        return sum(resident_mb(pid) for pid in family(self.process.pid))


class Crew:
    """The processes that run on one ground: ``with Crew(ground) as crew:``."""

    def __init__(self, ground: Ground) -> None:
        self.ground = ground
        self.hands: list[Hand] = []
        self._started = 0
        self._folder = tempfile.TemporaryDirectory(prefix="ordermq-bench-")

    @property
    def folder(self) -> Path:
        """A folder of the crew's own, gone with it."""
        return Path(self._folder.name)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exc: object) -> None:
        for hand in self.hands:
            _signal(hand, signal.SIGTERM)
        deadline = Deadline(END_WITHIN_S)
        for hand in list(self.hands):
            with suppress(subprocess.TimeoutExpired):
                hand.process.wait(deadline.left_s)
            self.kill(hand)
        self._folder.cleanup()

    def kill(self, hand: Hand) -> None:
        """End a process and all that it has started, at once."""
        _signal(hand, signal.SIGKILL)
        hand.process.wait()
        self.hands.remove(hand)

    def start(
        self,
        name: str,
        argv: Sequence[str],
        *,
        env: dict[str, str] | None = None,
        is_lasting: bool = True,
        **job: Any,
    ) -> Hand:
        """Start a program in a session of its own; it finds ``job`` in its environment."""
        self._started += 1
        log = self.folder / f"{name}-{self._started}.log"
        all_env = {
            **self.ground.env,
            "PYTHONPATH": str(_ROOT),
            "BENCHMARK_JOB": json.dumps(self.ground.job(**job)),
            **(env or {}),
        }
        with log.open("ab") as output:
            process = subprocess.Popen(
                argv, env=all_env, stdin=subprocess.DEVNULL, stdout=output, stderr=subprocess.STDOUT,
                start_new_session=True,
            )  # fmt: skip
        hand = Hand(name, process, log, is_lasting)
        self.hands.append(hand)
        return hand

    def start_command(self, name: str, *argv: str, **env: str) -> Hand:
        """Start one of ordermq's commands."""
        return self.start(name, [program(argv[0]), *argv[1:]], env=env)

    def start_module(self, name: str, module: str, *args: str, **job: Any) -> Hand:
        """Start ``python -m module``."""
        return self.start(name, [sys.executable, "-m", module, *args], **job)

    def run(self, module: str, *, timeout_s: float = 300.0, **job: Any) -> dict[str, Any]:
        """Run ``benchmarks.programs.<module>`` to its end; return its answer."""
        return self.result(self.begin(module, **job), timeout_s=timeout_s)

    def begin(self, module: str, **job: Any) -> Hand:
        """Start ``benchmarks.programs.<module>``, whose answer ``result`` waits for."""
        return self.start_module(module, f"benchmarks.programs.{module}", is_lasting=False, **job)

    def result(self, hand: Hand, *, timeout_s: float = 300.0) -> dict[str, Any]:
        """Wait until a program that was begun has ended; return its answer. Raises ProgramFailed."""
        self.wait(lambda: hand.process.poll() is not None, timeout_s, f"{hand.name} has ended")
        answer: dict[str, Any] = json.loads(hand.log.read_text().strip().splitlines()[-1])
        return answer

    def wait(self, predicate: Callable[[], Any], timeout_s: float, what: str, every_s: float = 0.05) -> Any:
        """Wait until it is so. Raises ProgramFailed if it does not become so, or if a process has ended."""

        def looked() -> Any:
            for hand in self.hands:
                if _is_lost(hand):
                    raise ProgramFailed(
                        f"{hand.name} ended with {hand.process.returncode}:\n{hand.last_words}"
                    )
            return predicate()

        try:
            return wait_until(looked, timeout_s, what=what, every_s=every_s)
        except TimeoutError as exc:
            said = "\n".join(f"--- {hand.name}\n{hand.last_words[-600:]}" for hand in self.hands)
            raise ProgramFailed(f"{exc}\n{said}") from exc


def family(pid: int) -> list[int]:
    """Return ``pid`` and all processes under it."""
    try:
        found = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
    except OSError:
        return []
    return [pid, *(each for child in found for each in family(int(child)))]


def cpu_s(pid: int) -> float:
    """Return the processor time one process has used so far, in seconds; 0 if it is gone."""
    try:
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except OSError:
        return 0.0
    return (int(fields[11]) + int(fields[12])) / _TICKS_PER_S


def resident_mb(pid: int) -> float:
    """Return the memory one process holds, in MB; 0 if it is gone."""
    try:
        return int(Path(f"/proc/{pid}/statm").read_text().split()[1]) * _PAGE_BYTES / 1e6
    except OSError:
        return 0.0


def _is_lost(hand: Hand) -> bool:
    code = hand.process.poll()
    return code is not None and (hand.is_lasting or code != 0)


def _signal(hand: Hand, number: signal.Signals) -> None:
    try:
        os.killpg(hand.process.pid, number)
    except ProcessLookupError:
        return  # it has ended, and left nothing
