"""Faults of PostgreSQL: killed, frozen, refusing, locked, full."""

import os
import shutil
import subprocess
from contextlib import closing, suppress
from pathlib import Path
from typing import ClassVar

from psycopg2.extensions import connection as Connection

from ordermq import join_transaction
from ordermq.message import Command
from ordermq.shop.commands import AwardPoints
from ordermq.store.connecting import connect
from ordermq.testing.stack.account import server_account
from ordermq.testing.stack.errors import StackError
from tests.chaos.arena import Arena
from tests.chaos.fault import AFTERMATH, Fault, Skip

_TERMINATE = """
    SELECT count(pg_terminate_backend(pid)) FROM pg_stat_activity
     WHERE datname = '{}' AND application_name LIKE 'ordermq%' AND random() < 0.7
"""

_IS_SETTLED = "SELECT count(*) FROM ordermq.inbox WHERE queue = 'points' AND message_id = %s"


class DatabaseKilled(Fault):
    name = "F16"
    title = "backends terminated, database killed"
    expect = "a COMMIT without answer is neither lost nor done twice"
    may_alert: ClassVar = AFTERMATH | {
        "OrdermqNoActiveRelay",
        "OrdermqNotConnected",
        "OrdermqPaused",
        "OrdermqRedelivery",
    }
    recovers_within_s = 10.0

    def strike(self, arena: Arena) -> None:
        for _ in range(5):
            arena.postgres.sql(_TERMINATE.format(arena.name), superuser=True)
            arena.pause_between(0.1, 0.5)
        arena.postgres.kill()
        arena.pause_between(0.0, 2.0)
        arena.postgres.start()
        arena.healed()


class DatabaseStubborn(Fault):
    name = "F17"
    title = "database frozen; no connections; locks held"
    expect = "every process waits or tries again; no attempt is used up, no message is dead"
    alerts: ClassVar = frozenset({"OrdermqNoActiveRelay"})
    may_alert: ClassVar = AFTERMATH | {"OrdermqAttention", "OrdermqPaused", "OrdermqRedelivery"}
    settings: ClassVar = {
        "ORDERMQ_DATABASE_LOCK_TIMEOUT_S": "2",
        "ORDERMQ_DATABASE_STATEMENT_TIMEOUT_S": "6",
    }

    def strike(self, arena: Arena) -> None:
        arena.postgres.freeze()
        try:
            arena.pause(12.0)
        finally:
            arena.postgres.thaw()
        arena.wait_finished(50)
        limit = f'ALTER DATABASE "{arena.name}" CONNECTION LIMIT'
        arena.postgres.sql(f"{limit} 3")
        arena.postgres.sql(_TERMINATE.format(arena.name), superuser=True)
        arena.pause(6.0)
        arena.postgres.sql(f"{limit} -1")
        arena.wait_finished(50)
        lock = "BEGIN; LOCK TABLE shop.orders, shop.stock IN SHARE MODE; SELECT pg_sleep(12); COMMIT"
        with suppress(StackError):  # if the lock itself is refused, too much else was going on
            arena.postgres.sql(lock, database=arena.name)
        arena.healed()


class DiskFull(Fault):
    name = "F18"
    title = "the database's disk is full"
    expect = "consumers pause, no attempt is used up; they go on when there is space"
    alerts: ClassVar = frozenset({"OrdermqPaused"})
    may_alert: ClassVar = AFTERMATH | {"OrdermqNoActiveRelay", "OrdermqRedelivery"}
    spoils_stack = True  # its tablespace is gone with its disk

    SIZE = "192m"

    def check(self) -> None:
        if os.geteuid() != 0:
            raise Skip("only root can mount a small disk")

    def prepare(self, arena: Arena) -> None:
        self._disk = arena.place.given_folder("disk")
        arena.ends.callback(shutil.rmtree, self._disk, ignore_errors=True)
        owner = server_account()
        options = f"size={self.SIZE},mode=700,uid={owner.uid},gid={owner.gid}"
        done = subprocess.run(
            ["mount", "-t", "tmpfs", "-o", options, "ordermq-chaos", str(self._disk)],
            capture_output=True, text=True, check=False,
        )  # fmt: skip
        if done.returncode != 0:
            raise Skip(f"no small disk can be mounted here: {done.stderr.strip()}")
        arena.ends.callback(subprocess.run, ["umount", "--lazy", str(self._disk)], check=False)
        arena.session.close()
        sql = arena.postgres.sql
        sql(f"CREATE TABLESPACE small LOCATION '{self._disk}'", superuser=True)
        sql(f'ALTER DATABASE "{arena.name}" SET TABLESPACE small', superuser=True)

    def strike(self, arena: Arena) -> None:
        ballast = self._disk / "ballast"
        fill(ballast)
        try:
            arena.wait_until(
                lambda: arena.logged("No space left") or arena.logged("could not extend"), 60.0, "a full disk"
            )
            arena.pause(5.0)
        finally:
            ballast.unlink()
        arena.healed()


class SnapshotHeld(Fault):
    name = "F32"
    title = "a backup holds an old snapshot; a writer is idle"
    expect = "orders go on all the while; a transaction that commits late is not skipped"
    may_alert: ClassVar = AFTERMATH | {"OrdermqTransactionOld"}

    def strike(self, arena: Arena) -> None:
        with closing(self._session(arena)) as backup, closing(self._session(arena)) as writer:
            backup.set_session(isolation_level="REPEATABLE READ")
            backup.cursor().execute("SELECT count(*) FROM ordermq.outbox")
            arena.wait_finished(500)
            late = arena.value("SELECT max(order_id) FROM shop.orders WHERE terminal_at IS NOT NULL")
            points = Command("points", f"{late}:late:points", late, AwardPoints(order_id=late))
            join_transaction(writer).send(points)  # it has its time, and is committed much later
            arena.wait_finished(500)
            writer.commit()
            arena.wait_until(
                lambda: arena.value(_IS_SETTLED, points.message_id), 20.0, "the late message is settled"
            )
            backup.rollback()
        arena.healed()

    @staticmethod
    def _session(arena: Arena) -> Connection:
        connection = connect(arena.postgres.settings(arena.name), name="somebody else")
        connection.autocommit = False
        return connection


def fill(path: Path) -> None:
    """Leave no space on the disk of ``path``."""
    with path.open("wb", buffering=0) as file, suppress(OSError):
        while True:
            file.write(bytes(4096))


FAULTS = (DatabaseKilled(), DatabaseStubborn(), DiskFull(), SnapshotHeld())
