"""The processes of the demo: the relay and one consumer a queue, kept running as systemd would.

A process that ends is started again, so that killing one in the middle of a demo
shows what an operator would see. Counters are read from each process's /metrics and
added up over restarts.
"""

import re
import signal
import sys
import urllib.error
import urllib.request
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path

from ordermq.clock import Deadline
from ordermq.testing.errors import StackError
from ordermq.testing.place import Place
from ordermq.testing.ports import free_ports
from ordermq.testing.process import ServerProcess

_SAMPLE = re.compile(r"^(ordermq_\w+_total)(?:\{[^}]*\})? (\S+)$", re.MULTILINE)


def program(name: str) -> str:
    """Return the path of one of ordermq's commands, beside the Python that runs this."""
    return str(Path(sys.executable).parent / name)


class Member:
    """One process of the fleet, started again when it ends."""

    def __init__(self, place: Place, name: str, argv: Sequence[str], env: Mapping[str, str]) -> None:
        self.name = name
        self.restarts = 0
        self._place = place
        self._argv = argv
        self._port = free_ports(1)[0]
        self._env = {**env, "ORDERMQ_OBSERVE_HTTP_PORT": str(self._port)}
        self._process = ServerProcess(place, name)
        self._counted: Counter[str] = Counter()  # of processes that have ended
        self._last: Counter[str] = Counter()  # of the one that runs

    def start(self) -> None:
        self._process.start(self._argv, env=self._env, cwd=Path.cwd(), as_self=True)

    def keep_running(self) -> None:
        """Start it again if it has ended; read its counters if it has not."""
        if self._process.pid is None:
            self._counted += self._last
            self._last = Counter()
            self.restarts += 1
            self.start()
        else:
            self._read_counters()

    def counters(self) -> Counter[str]:
        """Return its counters by metric name, all labels added up."""
        return self._counted + self._last

    def stop(self) -> int | None:
        """Drain it; return its exit code."""
        self._read_counters()
        self._process.stop(signal.SIGTERM, timeout_s=30.0)
        return self._process.exit_code

    def kill(self) -> None:
        self._process.kill()

    @property
    def last_words(self) -> str:
        return self._process.last_words()

    def _read_counters(self) -> None:
        try:
            with urllib.request.urlopen(f"http://127.0.0.1:{self._port}/metrics", timeout=2.0) as answer:
                text = answer.read().decode()
        except (OSError, urllib.error.URLError):
            return  # starting, or just killed: the next look sees it
        read: Counter[str] = Counter()
        for name, value in _SAMPLE.findall(text):
            read[name] += int(float(value))
        self._last = read


class Fleet:
    """All members. ``stop`` drains them all, ``kill`` leaves none."""

    def __init__(self, place: Place, threads: Mapping[str, int], env: Mapping[str, str]) -> None:
        """``threads`` is by queue."""
        self.members = [Member(place, "relay", [program("ordermq-relay")], env)]
        for queue, count in threads.items():
            argv = [program("ordermq-consumer"), "--queue", queue, "--threads", str(count)]
            self.members.append(Member(place, queue, argv, env))

    def start(self) -> None:
        for member in self.members:
            member.start()

    def keep_running(self) -> None:
        """Start what has ended. Raises StackError for a process that ends again and again."""
        for member in self.members:
            member.keep_running()
            if member.restarts > 20:
                raise StackError(f"{member.name} ends again and again; it says:\n{member.last_words}")

    def counters(self) -> Counter[str]:
        return sum((member.counters() for member in self.members), Counter())

    @property
    def restarts(self) -> int:
        return sum(member.restarts for member in self.members)

    def stop(self) -> dict[str, int | None]:
        """Drain all; return those that did not end with 0, with their exit codes."""
        deadline = Deadline(60.0)
        codes = {member.name: member.stop() for member in self.members if deadline.left_s}
        return {name: code for name, code in codes.items() if code != 0}

    def kill(self) -> None:
        for member in self.members:
            member.kill()
