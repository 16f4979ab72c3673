"""Consumers of the probe's queues as processes, started again when they end, as systemd does it."""

import json
from pathlib import Path

from ordermq.config.environment import inherited
from ordermq.testing import wait_until
from ordermq.testing.stack.account import server_account
from ordermq.testing.stack.commands import program
from ordermq.testing.stack.fleet import Member
from ordermq.testing.stack.place import Place
from tests.support.commands import ForkedProcess
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
REFUSED = frozenset({64, 78})


class Supervised(Member):
    """One ``ordermq-consumer`` on a rig's queue."""

    def __init__(self, rig, queue, folder, **env):
        settings = {
            **inherited(), **rig.stack.environment(), **SETTINGS,
            "ORDERMQ_CONFIG": "",
            "ORDERMQ_BROKER_VHOST": rig.settings.broker.vhost,
            "ORDERMQ_DATABASE_NAME": rig.settings.database.name,
            "PYTHONPATH": str(ROOT),
            **env,
        }  # fmt: skip
        place = Place(folder, folder, server_account())
        super().__init__(place, queue, [program("ordermq-consumer"), "--queue", queue], settings)
        self._process = ForkedProcess(place, queue)

    def run_until(self, until, timeout_s=40.0):
        """Start it again whenever it ends, until ``until()``."""
        if self.pid is None:
            self.start()

        def look():
            self.keep_running(finally_at=REFUSED)
            assert not REFUSED & set(self.ended), self.log_tail()
            return until()

        wait_until(look, timeout_s, what=f"the end of it all; the exit codes were {self.ended}")

    def logged(self):
        """Return the JSON lines it has logged so far."""
        lines = self.log.read_text().splitlines() if self.log.exists() else []
        return [json.loads(line) for line in lines if line.startswith("{")]
