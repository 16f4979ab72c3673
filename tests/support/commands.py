"""Ordermq's programs as a user runs them: in processes of their own, on a test's vhost and database."""

import http.client
import json
import os
import subprocess
from contextlib import closing

from ordermq.config.environment import inherited
from ordermq.testing import wait_until
from ordermq.testing.stack.account import server_account
from ordermq.testing.stack.commands import program, run_command
from ordermq.testing.stack.place import Place
from ordermq.testing.stack.process import ServerProcess
from tests.support import forking
from tests.support.forking import can_fork


def run_program(*argv, env=None, stdin=b"", cwd=None, timeout_s=60.0):
    """Run to the end; return the process with text in stdout and stderr."""
    env = {**inherited(), "ORDERMQ_CONFIG": "", **(env or {})}
    if not can_fork(argv, env):
        return run_command(*argv, env=env, stdin=stdin, cwd=cwd, timeout_s=timeout_s, check=False)
    command = [program(argv[0]), *argv[1:]]
    code, output, errors = forking.run(command, env=env, stdin=stdin, cwd=cwd, timeout_s=timeout_s)
    output, errors = output.decode(errors="replace"), errors.decode(errors="replace")
    return subprocess.CompletedProcess(command, code, output, errors)


class ForkedProcess(ServerProcess):
    """A process that runs on, forked where ``can_fork`` says so."""

    def _open(self, argv, env, cwd, log, account):
        if account is not None or not can_fork(argv, env):
            return ServerProcess._open(self, argv, env, cwd, log, account)
        with open(os.devnull, "rb") as nothing:
            streams = [nothing.fileno(), log.fileno(), log.fileno()]
            return forking.fork(argv, env=env, cwd=cwd, streams=streams, new_session=True)


def ask(address, path):
    """Return the status and the body that a process answers with. No proxy is asked."""
    with closing(http.client.HTTPConnection(address, timeout=5)) as connection:
        connection.request("GET", path)
        answer = connection.getresponse()
        return answer.status, answer.read().decode()


def page(address, path):
    """Return the body of a page of a process, which must answer with 200."""
    status, body = ask(address, path)
    assert status == 200, (path, status)
    return body


class Shop:
    """A database with the shop's tables, a declared topology, and the processes a test starts on them."""

    def __init__(self, stack, vhost, database, folder, **extra):
        settings = database.settings
        self.folder = folder
        self.env = {
            **stack.environment(),
            "ORDERMQ_BROKER_VHOST": vhost.name,
            "ORDERMQ_DATABASE_NAME": settings.name,
            **extra,
        }
        self._place = Place(folder, folder, server_account())
        self._started = []  # (argv, process), over the whole test
        self.prepare()

    def prepare(self):
        self.ok("ordermq", "topology", "apply")

    def run(self, *argv, stdin=b"", **env):
        return run_program(*argv, env={**self.env, **env}, stdin=stdin, cwd=self.folder)

    def ok(self, *argv, stdin=b""):
        """Run, expect exit 0, return what it printed."""
        found = self.run(*argv, stdin=stdin)
        assert found.returncode == 0, (argv, found.returncode, found.stdout, found.stderr)
        return found.stdout

    def json(self, *argv, stdin=b""):
        return json.loads(self.ok(*argv, "--json", stdin=stdin))

    def lines(self, *argv):
        return [json.loads(line) for line in self.ok(*argv, "--json").splitlines()]

    def start(self, *argv, **env):
        """Start a command of ordermq; it is killed at the end of the test if it still runs."""
        process = ForkedProcess(self._place, f"{argv[0]}-{len(self._started) + 1}")
        env = {**inherited(), "ORDERMQ_CONFIG": "", **self.env, **env}
        process.start([program(argv[0]), *argv[1:]], env=env, cwd=self.folder, as_self=True)
        self._started.append((argv, process))
        return process

    def logged(self, *argv):
        """Return the JSON lines that the processes started with ``argv`` have logged so far."""
        logs = [process.log for started, process in self._started if started == argv]
        return [json.loads(line) for log in logs for line in log.read_text().splitlines()]

    def start_all(self):
        self.start("ordermq-relay")
        for queue in ("inventory", "payment", "notify", "email", "points", "shipping"):
            self.start("ordermq-consumer", "--queue", queue)

    def wait_at_rest(self, timeout_s=60.0):
        try:
            wait_until(
                lambda: not self.lines("ordermq", "order", "stuck", "--older-than", "0"),
                timeout_s,
                every_s=0.2,
            )
        except TimeoutError:
            raise AssertionError(self.run("ordermq", "reconcile").stdout) from None

    def close(self):
        for _, process in self._started:
            process.kill()
