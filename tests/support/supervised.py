"""Consumers of the probe's queues as processes, started again when they end, as systemd does it."""

import json
import subprocess
from pathlib import Path

from ordermq.config.environment import inherited
from ordermq.testing import wait_until
from tests.support.commands import BIN
from tests.support.runtime import PREFIX

ROOT = Path(__file__).resolve().parents[2]

SETTINGS = {
    "ORDERMQ_MODULES": "tests.support.probe",
    "ORDERMQ_TOPOLOGY_PREFIX": PREFIX,
    "ORDERMQ_BROKER_GIVE_UP_AFTER_S": "90",
    "ORDERMQ_RETRY_BASE_S": "0.05",
    "ORDERMQ_RETRY_CAP_S": "0.2",
    "ORDERMQ_RETRY_POSTPONE_S": "0.05",
    "ORDERMQ_CONSUMER_LEASE_S": "1",  # what a killed process left is taken over soon
    "ORDERMQ_CONSUMER_CALL_TIMEOUT_S": "0.5",
}


class Supervised:
    """One ``ordermq-consumer`` on a rig's queue; ``codes`` are the exit codes it had."""

    def __init__(self, rig, queue, folder, **env):
        self.codes = []
        self._argv = [str(BIN / "ordermq-consumer"), "--queue", queue]
        self._env = {
            **inherited(), **rig.stack.environment(), **SETTINGS,
            "ORDERMQ_CONFIG": "",
            "ORDERMQ_BROKER_VHOST": rig.settings.broker.vhost,
            "ORDERMQ_DATABASE_NAME": rig.settings.database.name,
            "PYTHONPATH": str(ROOT),
            **env,
        }  # fmt: skip
        self._log = folder / "consumer.log"
        self._process = None

    def start(self):
        with self._log.open("ab") as log:
            self._process = subprocess.Popen(
                self._argv, env=self._env, stdin=subprocess.DEVNULL, stdout=log, stderr=log, cwd=ROOT
            )

    def keep_running(self, until, timeout_s=40.0):
        """Start it again whenever it ends, until ``until()``."""

        def look():
            if self._process is None:
                self.start()
            elif (code := self._process.poll()) is not None:
                assert code not in (64, 78), self._log.read_text()
                self.codes.append(code)
                self.start()
            return until()

        wait_until(look, timeout_s, what=f"the end of it all; the exit codes were {self.codes}")

    def stop(self, timeout_s=30.0):
        """SIGTERM; return the exit code."""
        self._process.terminate()
        code = self._process.wait(timeout_s)
        self._process = None
        return code

    def logged(self):
        """Return the JSON lines it has logged so far."""
        lines = self._log.read_text().splitlines() if self._log.exists() else []
        return [json.loads(line) for line in lines if line.startswith("{")]

    def close(self):
        if self._process is not None:
            self._process.kill()
            self._process.wait()
