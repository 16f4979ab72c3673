"""The processes of a pipeline: the relay and one consumer a queue, kept running as systemd would.

A process that ends is started again, so that killing one shows what an operator would
see. Counters are read from each process's /metrics and added up over restarts.

Invariants
    FLT1  A member is started again only while it is wanted: after ``start`` and before ``stop``.
    FLT2  ``ended`` holds the exit codes of every end that neither ``stop`` nor ``kill`` caused.
    FLT3  One lock a member: ``keep_running`` may be called from another thread than the rest.
"""

import http.client
import re
import signal
import threading
from collections import Counter
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from pathlib import Path

from ordermq.testing.stack.commands import program
from ordermq.testing.stack.errors import StackError
from ordermq.testing.stack.place import Place
from ordermq.testing.stack.ports import free_ports
from ordermq.testing.stack.process import ServerProcess

_SAMPLE = re.compile(r"^(ordermq_\w+_total)(?:\{[^}]*\})? (\S+)$", re.MULTILINE)


class Member:
    """One process of the fleet, started again when it ends."""

    def __init__(self, place: Place, name: str, argv: Sequence[str], env: Mapping[str, str]) -> None:
        self.name = name
        self.restarts = 0
        self.ended: list[int | None] = []
        self._place = place
        self._argv = argv
        self._port = free_ports(1)[0]
        self._env = env  # shared by the fleet, read at each start
        self._own_env = {"ORDERMQ_OBSERVE_HTTP_PORT": str(self._port)}
        self._process = ServerProcess(place, name)
        self._counted: Counter[str] = Counter()  # of processes that have ended
        self._last: Counter[str] = Counter()  # of the one that runs
        self._is_wanted = False
        self._is_killed = False
        self._lock = threading.RLock()

    @property
    def metrics_address(self) -> str:
        """``host:port`` of its /metrics, the same over restarts."""
        return f"127.0.0.1:{self._port}"

    @property
    def pid(self) -> int | None:
        """The pid while it runs."""
        return self._process.pid

    @property
    def log(self) -> Path:
        """The file with all it has logged since the fleet was made, over restarts."""
        return self._process.log

    def log_tail(self) -> str:
        """Return the end of its log, for an error message."""
        return self._process.log_tail()

    def start(self, **env: str) -> None:
        """Start it, and from now on again when it ends; ``env`` is added to its environment for good."""
        with self._lock:
            self._own_env.update(env)
            self._is_wanted = True
            self._launch()

    def keep_running(self, *, finally_at: frozenset[int] = frozenset()) -> None:
        """Start it again if it has ended; read its counters if it has not.

        An exit code in ``finally_at`` is left alone, as by systemd's RestartPreventExitStatus.
        """
        with self._lock:
            if not self._is_wanted or self._process.pid is not None:
                self._read_counters()
                return
            code = self._process.exit_code
            if not self._is_killed:
                self.ended.append(code)
            self._is_wanted = code not in finally_at
            if self._is_wanted:
                self.restarts += 1
                self._launch()

    def counters(self) -> Counter[str]:
        """Return its counters by metric name, all labels added up."""
        with self._lock:
            return self._counted + self._last

    def is_ready(self) -> bool:
        """Whether /readyz says so, now."""
        try:
            return self._get("/readyz")[0] == 200
        except (OSError, http.client.HTTPException):
            return False

    def wait(self, timeout_s: float) -> int | None:
        """Wait until it has ended; return its exit code. Raises TimeoutError."""
        return self._process.wait(timeout_s)

    def stop(self, timeout_s: float = 30.0) -> int | None:
        """Drain it; return its exit code. Raises StackError if it takes longer and had to be killed."""
        with self._lock:
            self._is_wanted = False
            self._read_counters()
            self._process.stop(signal.SIGTERM, timeout_s)
            return self._process.exit_code

    def release(self) -> None:
        """Let it end by itself from now on: ``keep_running`` does not start it again."""
        with self._lock:
            self._is_wanted = False

    def send(self, number: signal.Signals) -> None:
        """Send it a signal; it is started again if it ends by that."""
        with self._lock:
            self._process.send(number)

    def kill(self) -> None:
        """SIGKILL; started again by ``keep_running`` if it is wanted."""
        with self._lock:
            self._read_counters()
            self._is_killed = True
            self._process.kill()

    def freeze(self) -> None:
        self._process.freeze()

    def thaw(self) -> None:
        self._process.thaw()

    def _launch(self) -> None:
        self._counted += self._last
        self._last = Counter()
        self._is_killed = False
        self._process.start(self._argv, env={**self._env, **self._own_env}, cwd=Path.cwd(), as_self=True)

    def _get(self, path: str) -> tuple[int, str]:
        with closing(http.client.HTTPConnection("127.0.0.1", self._port, timeout=2.0)) as connection:
            connection.request("GET", path)
            answer = connection.getresponse()
            return answer.status, answer.read().decode()

    def _read_counters(self) -> None:
        try:
            text = self._get("/metrics")[1]
        except (OSError, http.client.HTTPException):
            return  # it is starting, frozen or just killed; the next call reads them
        read: Counter[str] = Counter()
        for name, value in _SAMPLE.findall(text):
            read[name] += int(float(value))
        self._last = read


class Fleet:
    """All members. ``stop`` drains them all, ``kill`` leaves none."""

    def __init__(self, place: Place, threads: Mapping[str, int], env: Mapping[str, str]) -> None:
        """``threads`` is by queue."""
        self._place = place
        self._env = env
        self.members = [Member(place, "relay", [program("ordermq-relay")], env)]
        for queue, count in threads.items():
            argv = [program("ordermq-consumer"), "--queue", queue, "--threads", str(count)]
            self.members.append(Member(place, queue, argv, env))

    def __getitem__(self, name: str) -> Member:
        return next(member for member in self.members if member.name == name)

    def add(self, name: str, *argv: str) -> Member:
        """Add one more member, not yet started; ``argv`` begins with the name of the command."""
        member = Member(self._place, name, [program(argv[0]), *argv[1:]], self._env)
        self.members.append(member)
        return member

    def start(self) -> None:
        for member in self.members:
            member.start()

    def keep_running(self, *, finally_at: frozenset[int] = frozenset(), most: int = 20) -> None:
        """Start what has ended. Raises StackError for a process that was started more than ``most`` times."""
        for member in list(self.members):
            member.keep_running(finally_at=finally_at)
            if member.restarts > most:
                raise StackError(
                    f"{member.name} ended {member.restarts} times. The end of its log:\n{member.log_tail()}"
                )

    def counters(self) -> Counter[str]:
        return sum((member.counters() for member in self.members), Counter())

    @property
    def restarts(self) -> int:
        return sum(member.restarts for member in self.members)

    def stop(self, timeout_s: float = 30.0) -> dict[str, int | None]:
        """Drain all at once; return their exit codes, None of one that did not end in time."""
        with ThreadPoolExecutor(len(self.members)) as pool:
            codes = pool.map(lambda member: _exit_code(member, timeout_s), self.members)
            return dict(zip((member.name for member in self.members), codes, strict=True))

    def kill(self) -> None:
        for member in self.members:
            member.release()
            member.kill()


def _exit_code(member: Member, timeout_s: float) -> int | None:
    try:
        return member.stop(timeout_s)
    except StackError:
        return None
