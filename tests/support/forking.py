"""Programs forked from a process that has imported them: their start costs a twentieth of what imports cost.

A forked program is a process like any other, with a pid, an environment, a folder, standard streams,
signals, threads and an exit code of its own. Only Python's start and the imports are shared, so a
program whose environment changes those is started afresh: see ``can_fork``.

The process that forks is ``forker.py``.
"""

import json
import os
import select
import socket
import subprocess
import sys
import tempfile
import threading
from collections.abc import Mapping
from contextlib import ExitStack, suppress
from pathlib import Path

from tests.support.forker import PRELOADED, SHOP, given_path

ROOT = Path(__file__).resolve().parents[2]

_STARTING = ("PYTHON", "LC_", "LANG", "PATH", "LD_", "HOME")

_forkers: dict[tuple[str, ...], "Forker"] = {}
_lock = threading.Lock()


def can_fork(argv, env):
    """Whether the program is known and would start in ``env`` as the forking process did in ours.

    PYTHONPATH is no obstacle, because the forked program gets it, unless it has a sitecustomize.
    """
    return program_of(argv) in PRELOADED and _starting(env) == _starting(os.environ)


def program_of(argv):
    """Return the name of a program of ordermq, or of the Python module that is run; or of its package."""
    if list(argv[1:2]) != ["-m"]:
        return Path(argv[0]).name
    package = argv[2].rpartition(".")[0]
    return package if package in PRELOADED else argv[2]


def fork(argv, *, env, **wanted):
    """Fork a program; the process that forks is started once for each program. See ``Forker.fork``.

    A program without the shop is forked by another process, because it must not have imported the shop.
    """
    modules = env.get("ORDERMQ_MODULES", SHOP).split(",")
    key = (program_of(argv), *([] if SHOP in modules else modules))
    with _lock:
        if key not in _forkers:
            _forkers[key] = Forker(*key)
    return _forkers[key].fork(argv, env=env, **wanted)


def run(argv, *, env, stdin=b"", cwd=None, timeout_s):
    """Run a program to its end; return (exit code, output, errors). Raises subprocess.TimeoutExpired."""
    with ExitStack() as files:
        given, output, errors = (files.enter_context(tempfile.TemporaryFile()) for _ in range(3))
        streams = [output.fileno(), errors.fileno()]
        if stdin:
            reader, writer = os.pipe()
            process = fork(argv, env=env, cwd=cwd, streams=[reader, *streams])
            os.close(reader)
            threading.Thread(target=_write, args=(writer, stdin), daemon=True).start()
        else:
            process = fork(argv, env=env, cwd=cwd, streams=[given.fileno(), *streams])
        try:
            process.wait(timeout_s)
        except subprocess.TimeoutExpired:
            process.kill()
            raise
        output.seek(0)
        errors.seek(0)
        return process.returncode, output.read(), errors.read()


class Forker:
    """The process that has imported one program, and forks it. Safe from any thread."""

    def __init__(self, name, *modules):
        """``modules``: those of a program without the shop."""
        self._channel, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        argv = [sys.executable, "-m", "tests.support.forker", str(theirs.fileno()), name, *modules]
        # Pipes, so that a forked program takes none of its streams for a terminal or a file. In a session
        # of its own, so that a Ctrl-C ends it by our end only.
        self._process = subprocess.Popen(
            argv, pass_fds=[theirs.fileno()], cwd=ROOT, start_new_session=True,
            stdin=subprocess.PIPE, stdout=subprocess.PIPE,
        )  # fmt: skip
        theirs.close()

    def fork(self, argv, *, env, cwd=None, streams, new_session=False):
        """Start the program on the descriptors ``streams``; return it when it has a pid."""
        request = {"argv": argv, "env": dict(env), "cwd": str(cwd or os.getcwd()), "new_session": new_session}
        reader, writer = os.pipe()
        try:
            socket.send_fds(self._channel, [json.dumps(request).encode()], [*streams, writer])
        finally:
            os.close(writer)
        return Forked(argv, reader)


class Forked:
    """A forked program, with what ``subprocess.Popen`` offers of a started one."""

    def __init__(self, argv, said):
        self.args = argv
        self.returncode = None
        self._said = os.fdopen(said, "rb", buffering=0)
        self._lock = threading.Lock()
        pid = self._said.readline()
        assert pid, f"the process that forks {argv[0]} has ended"
        self.pid = int(pid)

    def poll(self):
        """Return the exit code, negative for a signal, or None while it runs."""
        with self._lock:
            if self.returncode is None and select.select([self._said], [], [], 0)[0]:
                self.returncode = int(self._said.readline())
                self._said.close()
            return self.returncode

    def wait(self, timeout_s):
        if self.returncode is None:
            select.select([self._said], [], [], timeout_s)
        if self.poll() is None:
            raise subprocess.TimeoutExpired(self.args, timeout_s)
        return self.returncode

    def kill(self):
        os.kill(self.pid, 9)


def _write(descriptor, data):
    """Write as ``subprocess.run(input=...)`` does: a reader that has gone is no error."""
    with suppress(BrokenPipeError), os.fdopen(descriptor, "wb") as file:
        file.write(data)


def _starting(env: Mapping[str, str]):
    found = {name: value for name, value in env.items() if name.startswith(_STARTING)}
    if not any(Path(each, "sitecustomize.py").exists() for each in given_path(found)):
        found.pop("PYTHONPATH", None)
    return found
