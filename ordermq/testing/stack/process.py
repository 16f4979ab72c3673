"""One process: a child of this one, or one that an earlier command left running.

Invariants:

PRC1  A pid is used only together with its start time, so that a process to which the
    kernel has given the same number since is never signalled.
PRC2  A zombie counts as dead, because process 1 reaps the servers of a command that has
    exited, and some take long. A zombie that still has threads counts as alive: the
    first thread of a server may end before the others (Erlang's does).
PRC3  Killing and freezing stop the whole tree, the parent first, so that no process of
    a server goes on alone (PostgreSQL's would, for a while).
"""

import json
import os
import signal
import subprocess
import threading
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import IO, NamedTuple

from ordermq.testing.stack.account import Account
from ordermq.testing.stack.errors import StackError
from ordermq.testing.stack.place import Place
from ordermq.testing.wait import wait_until


@dataclass(frozen=True)
class Identity:
    """A pid and when that process started, in clock ticks since boot."""

    pid: int
    started: int

    @property
    def is_alive(self) -> bool:
        found = _read_stat(self.pid)
        return found is not None and not found.is_dead and found.started == self.started

    def send(self, number: signal.Signals) -> None:
        """Send a signal if this very process still lives."""
        if self.is_alive:
            try:
                os.kill(self.pid, number)
            except ProcessLookupError:
                return


class ServerProcess:
    """A named process, found again through its pid file. Calls are safe from any thread."""

    def __init__(self, place: Place, name: str) -> None:
        self.name = name
        self.log = place.state / f"{name}.log"
        self._account = place.account
        self._pid_file = place.state / f"{name}.pid"
        self._child: subprocess.Popen[bytes] | None = None
        self._lock = threading.Lock()

    def start(self, argv: Sequence[str], *, env: Mapping[str, str], cwd: Path, as_self: bool = False) -> None:
        """Start the program in a session of its own, its output appended to ``log``.

        ``as_self`` leaves the change of account to the program. Returns when it is
        running, which is long before it serves. Raises StackError if it is running already.
        """
        if self.pid is not None:
            raise StackError(f"{self.name} is running already (pid {self.pid})")
        account: Account | None = None if as_self else self._account
        with self._lock, self.log.open("ab") as log:
            self._child = self._open(argv, dict(env), cwd, log, account)
            found = _read_stat(self._child.pid)
            started = found.started if found else 0
            self._pid_file.write_text(json.dumps({"pid": self._child.pid, "started": started}))

    @property
    def pid(self) -> int | None:
        """The pid while the process lives, else None. Reaps it if it is our child."""
        found = self._identity()
        return found.pid if found else None

    @property
    def exit_code(self) -> int | None:
        """Exit code of a child that has ended, negative for a signal; None if unknown or running."""
        return self._child.poll() if self._child else None

    def send(self, number: signal.Signals) -> None:
        """Send a signal to the process itself; nothing happens if it is dead."""
        if found := self._identity():
            found.send(number)

    def stop(self, number: signal.Signals = signal.SIGTERM, timeout_s: float = 30.0) -> None:
        """Ask it to end and wait. Raises StackError, after killing it, when it has not by then."""
        found = self._identity()
        if found is None:
            return
        self.thaw()
        found.send(number)
        try:
            self.wait(timeout_s)
        except TimeoutError:
            self.kill()
            raise StackError(f"{self.name} did not stop within {timeout_s:g} s and was killed") from None

    def wait(self, timeout_s: float) -> int | None:
        """Wait until it has ended; return ``exit_code``. Raises TimeoutError."""
        wait_until(lambda: self.pid is None, timeout_s, what=f"{self.name} has ended")
        return self.exit_code

    def kill(self) -> None:
        """SIGKILL the whole tree, as a power cut would, and wait until it is gone."""
        tree = self.freeze()
        for each in tree:
            each.send(signal.SIGKILL)
        # poll() through self.pid reaps our own child; the others are reaped by their parent.
        wait_until(
            lambda: self.pid is None and not any(each.is_alive for each in tree),
            10.0,
            what=f"{self.name} killed",
        )

    def freeze(self) -> list[Identity]:
        """SIGSTOP the whole tree: connections stay open and nothing answers. Returns the tree."""
        found = self._identity()
        if found is None:
            return []
        found.send(signal.SIGSTOP)  # first of all, so that it starts no more processes
        tree = self.tree()
        for each in tree:
            each.send(signal.SIGSTOP)
        return tree

    def thaw(self) -> None:
        """Let a frozen tree go on."""
        for each in reversed(self.tree()):
            each.send(signal.SIGCONT)

    def tree(self) -> list[Identity]:
        """Return the process and all that it and its children have started; empty if it has ended."""
        found = self._identity()
        return [found, *_descendants(found.pid)] if found else []

    def log_tail(self, size_bytes: int = 2_000) -> str:
        """Return the end of its log, for an error message."""
        try:
            with self.log.open("rb") as log:
                log.seek(max(0, self.log.stat().st_size - size_bytes))
                return log.read().decode(errors="replace").strip()
        except FileNotFoundError:
            return ""

    def _open(
        self, argv: Sequence[str], env: Mapping[str, str], cwd: Path, log: IO[bytes], account: Account | None
    ) -> "subprocess.Popen[bytes]":
        return subprocess.Popen(
            argv,
            env=env,
            cwd=cwd,
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=subprocess.STDOUT,
            start_new_session=True,
            **(account.popen_arguments() if account else {}),
        )

    def _identity(self) -> Identity | None:
        with self._lock:
            try:
                found = Identity(**json.loads(self._pid_file.read_text()))
            except (FileNotFoundError, ValueError):
                return None
            alive = found.is_alive
            if self._child is not None and self._child.pid == found.pid:
                # Only poll() reaps our child, and knows how it ended.
                alive = self._child.poll() is None
            return found if alive else None


class _Stat(NamedTuple):
    state: str
    parent: int
    threads: int
    started: int

    @property
    def is_dead(self) -> bool:
        return self.state in "ZX" and self.threads <= 1


def _read_stat(pid: int) -> _Stat | None:
    try:
        with open(f"/proc/{pid}/stat", "rb") as file:
            text = file.read()
    except (FileNotFoundError, ProcessLookupError):
        return None
    # The name in parentheses may itself hold spaces and parentheses: count from the last one.
    fields = text.rpartition(b")")[2].split(maxsplit=20)
    return _Stat(fields[0].decode(), parent=int(fields[1]), threads=int(fields[17]), started=int(fields[19]))


def _descendants(pid: int) -> list[Identity]:
    children: dict[int, list[Identity]] = defaultdict(list)
    for number in map(int, filter(str.isdigit, os.listdir("/proc"))):
        if found := _read_stat(number):
            children[found.parent].append(Identity(number, found.started))
    tree: list[Identity] = []
    todo = list(children[pid])
    while todo:
        each = todo.pop()
        tree.append(each)
        todo += children[each.pid]
    return tree
