"""Programs forked from a process that has imported them: their start costs a twentieth of what imports cost.

A forked program is a process like any other, with a pid, an environment, a folder, standard streams,
signals, threads and an exit code of its own. Only Python's start and the imports are shared, so a
program whose environment changes those is started afresh: see ``can_fork``.

``Forker`` is on the side of the tests, ``main`` is the process that forks.
"""

import gc
import json
import os
import pkgutil
import select
import socket
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Mapping
from contextlib import ExitStack, suppress
from importlib import import_module
from importlib.metadata import entry_points
from pathlib import Path

from ordermq.errors import ConfigError

ROOT = Path(__file__).resolve().parents[2]
LONGEST_REQUEST = 200_000  # bytes; a packet must fit into the socket's buffer

#: What is imported before a fork, beside the program itself. A process that serves gets no module of
#: another's, because its page of metrics lists what is imported.
PRELOADED = {
    "ordermq": ("ordermq.cli", "ordermq.shop.cli", "ordermq.shop.intake", "ordermq.shop.reconcile"),
    "ordermq-publish": ("ordermq.cli", "ordermq.shop.cli", "ordermq.shop.intake"),
    "ordermq-consumer": ("ordermq.shop.handlers", "ordermq.shop.gateways"),
    "ordermq-relay": ("ordermq.shop.handlers", "ordermq.shop.gateways"),
    "ordermq.shop.sandbox": (),
}
_STARTING = ("PYTHON", "LC_", "LANG", "PATH", "LD_", "HOME")

_forkers: dict[str, "Forker"] = {}
_lock = threading.Lock()


def can_fork(argv, env):
    """Whether the program is known and would start in ``env`` as the forking process did in ours."""
    return program_of(argv) in PRELOADED and _starting(env) == _starting(os.environ)


def program_of(argv):
    """Return the name of a program of ordermq, or of the Python module that is run."""
    return argv[2] if argv[1:2] == ["-m"] else Path(argv[0]).name


def fork(argv, **wanted):
    """Fork a program; the process that forks is started once for each program. See ``Forker.fork``."""
    name = program_of(argv)
    with _lock:
        if name not in _forkers:
            _forkers[name] = Forker(name)
    return _forkers[name].fork(argv, **wanted)


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

    def __init__(self, name):
        self._channel, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        argv = [sys.executable, "-m", "tests.support.forking", name, str(theirs.fileno())]
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
    return {name: value for name, value in env.items() if name.startswith(_STARTING)}


# --- the process that forks ---


def main(name, channel):
    """Fork the program for each request until the tests have ended; returns in a forked process only."""
    program = _imported(name)
    gc.collect()
    gc.freeze()
    running = {}  # the descriptor that is ready when a process has ended: its pid, and where to say so
    poll = select.poll()
    poll.register(channel, select.POLLIN)
    while True:
        for ready, _ in poll.poll():
            if ready != channel.fileno():
                poll.unregister(ready)
                _say_end(ready, *running.pop(ready))
                continue
            data, descriptors, _, _ = socket.recv_fds(channel, LONGEST_REQUEST, 4)
            if not data:
                os._exit(0)
            pid = os.fork()
            if pid == 0:
                for each in (channel.fileno(), descriptors[3], *running, *(to for _, to in running.values())):
                    os.close(each)
                channel.detach()
                _become(json.loads(data), descriptors[:3])
                return program
            ended = os.pidfd_open(pid)
            running[ended] = (pid, descriptors[3])
            poll.register(ended, select.POLLIN)
            os.write(descriptors[3], b"%d\n" % pid)
            for each in descriptors[:3]:
                os.close(each)


def _imported(name):
    for package in map(import_module, PRELOADED[name]):
        for module in pkgutil.walk_packages(package.__path__, f"{package.__name__}."):
            if ".templates" not in module.name and not module.name.endswith("__main__"):
                # A command whose extra is not installed, as where another pika is tried, is not preloaded.
                with suppress(ConfigError):
                    import_module(module.name)
    scripts = entry_points(group="console_scripts", name=name)
    return scripts[name].load() if scripts else import_module(f"{name}.__main__").main


def _say_end(ended, pid, to):
    _, status = os.waitpid(pid, 0)
    os.close(ended)
    with suppress(BrokenPipeError):  # nobody waits for it
        os.write(to, b"%d\n" % os.waitstatus_to_exitcode(status))
    os.close(to)


def _become(request, streams):
    """Be the process that was asked for."""
    if request["new_session"]:
        os.setsid()
    for number, descriptor in enumerate(streams):
        os.dup2(descriptor, number)
        os.close(descriptor)
    os.chdir(request["cwd"])
    os.environ.clear()
    os.environ.update(request["env"])
    time.tzset()
    sys.argv[:] = request["argv"] if Path(request["argv"][0]).name in PRELOADED else request["argv"][2:]
    sys.path[0] = str(Path(sys.executable).parent)


if __name__ == "__main__":
    program = main(sys.argv[1], socket.socket(fileno=int(sys.argv[2])))
    sys.exit(program())
