"""The process that has imported a program and forks it for the tests, which are in ``forking.py``."""

import gc
import json
import os
import pkgutil
import select
import socket
import sys
import time
from contextlib import suppress
from importlib import import_module
from importlib.metadata import entry_points
from importlib.util import find_spec
from pathlib import Path
from runpy import run_module

from ordermq.errors import ConfigError

SHOP = "ordermq.shop"
LONGEST_REQUEST = 200_000  # bytes; a packet must fit into the socket's buffer

#: What is imported before a fork, beside the program itself. A process that serves gets no module of
#: another's, because its page of metrics lists what is imported.
PRELOADED = {
    "ordermq": ("ordermq.cli", "ordermq.shop.cli", "ordermq.shop.intake", "ordermq.shop.reconcile"),
    "ordermq-publish": ("ordermq.cli", "ordermq.shop.cli", "ordermq.shop.intake"),
    "ordermq-consumer": ("ordermq.shop.handlers", "ordermq.shop.gateways"),
    "ordermq-relay": ("ordermq.shop.handlers", "ordermq.shop.gateways"),
    "ordermq.shop.sandbox": (),
    "benchmarks.programs": ("ordermq.amqp", "ordermq.consumer", "ordermq.store", "ordermq.shop.intake"),
}


def given_path(env):
    """Return the folders that PYTHONPATH names."""
    return [each for each in env.get("PYTHONPATH", "").split(os.pathsep) if each]


def main(channel, name, *modules):
    """Fork the program for each request until the tests have ended; returns in a forked process only."""
    program = _imported(name, modules)
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


def _imported(name, modules):
    packages = [each for each in PRELOADED[name] if not modules or not each.startswith(SHOP)]
    for package in map(import_module, packages):
        for module in pkgutil.walk_packages(package.__path__, f"{package.__name__}."):
            if ".templates" not in module.name and not module.name.endswith("__main__"):
                # A command whose extra is not installed, as where another pika is tried, is not preloaded.
                with suppress(ConfigError):
                    import_module(module.name)
    for module in filter(None, modules):
        with suppress(ImportError):  # it is found by the program's own folder only
            import_module(module)
    scripts = entry_points(group="console_scripts", name=name)
    if scripts:
        return scripts[name].load()
    return import_module(f"{name}.__main__").main if find_spec(f"{name}.__main__") else _run_module


def _run_module():
    """Run the module of a package that was asked for, as ``python -m`` does."""
    run_module(sys.argv[0], run_name="__main__", alter_sys=True)


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
    first = request["cwd"] if request["argv"][1:2] == ["-m"] else str(Path(sys.executable).parent)
    sys.path[:1] = [first, *given_path(request["env"])]


if __name__ == "__main__":
    program = main(socket.socket(fileno=int(sys.argv[1])), *sys.argv[2:])
    sys.exit(program())
