"""Ordermq's programs as a user runs them: in processes of their own, on a test's vhost and database."""

import json
import subprocess
import sys
from pathlib import Path

from ordermq.config.environment import inherited
from ordermq.testing import wait_until

BIN = Path(sys.executable).parent


def run_program(*argv, env=None, stdin=b"", cwd=None, timeout_s=60.0):
    """Run to the end; return the process with text in stdout and stderr."""
    found = subprocess.run(
        [str(BIN / argv[0]), *argv[1:]],
        env={**inherited(), "ORDERMQ_CONFIG": "", **(env or {})},
        input=stdin, capture_output=True, check=False, cwd=cwd, timeout=timeout_s,
    )  # fmt: skip
    found.stdout, found.stderr = found.stdout.decode(), found.stderr.decode()
    return found


class Shop:
    """A migrated database, a declared topology, and the processes a test starts on them."""

    def __init__(self, stack, vhost, database, folder, **extra):
        settings = database.settings
        self.folder = folder
        self.env = {
            **stack.environment(),
            "ORDERMQ_BROKER_VHOST": vhost.name,
            "ORDERMQ_DATABASE_NAME": settings.name,
            **extra,
        }
        self._running = []
        self.prepare()

    def prepare(self):
        self.ok("ordermq", "db", "migrate")
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
        """Start a process; its stderr, JSON lines, goes to a file named like it."""
        log = (self.folder / f"{'-'.join(argv).replace(':', '-')}.log").open("ab")
        started = subprocess.Popen(
            [str(BIN / argv[0]), *argv[1:]],
            env={**inherited(), "ORDERMQ_CONFIG": "", **self.env, **env},
            stdin=subprocess.DEVNULL, stdout=log, stderr=log, cwd=self.folder,
        )  # fmt: skip
        log.close()
        self._running.append(started)
        return started

    def logged(self, *argv):
        """Return what a started process has logged so far."""
        text = (self.folder / f"{'-'.join(argv).replace(':', '-')}.log").read_text()
        return [json.loads(line) for line in text.splitlines()]

    def start_all(self):
        self.start("ordermq-relay")
        for queue in ("inventory", "payment", "notify", "points", "shipping"):
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
        for process in self._running:
            process.kill()
        for process in self._running:
            process.wait()
