"""A database that cannot take the work for a while: all stands still, idle and connected, and goes on."""

import logging
import os
import subprocess
import time
from contextlib import contextmanager
from dataclasses import replace

import pytest

from ordermq.amqp import ConnectionState
from ordermq.testing import wait_until
from tests.support.runtime import probes

BEFORE, MEANWHILE = probes(50), probes(300, start=50)


@contextmanager
def too_many_connections(database):
    database.postgres.sql(f"ALTER DATABASE {database.name} CONNECTION LIMIT 0")
    break_connections(database)
    yield "too many connections"
    database.postgres.sql(f"ALTER DATABASE {database.name} CONNECTION LIMIT -1")


@contextmanager
def a_standby_answers(database):
    database.postgres.sql(f"ALTER DATABASE {database.name} SET default_transaction_read_only = on")
    break_connections(database)
    yield "read-only transaction"
    database.postgres.sql(f"ALTER DATABASE {database.name} RESET default_transaction_read_only")
    break_connections(database)


@contextmanager
def a_frozen_server(database):
    database.postgres.freeze()
    try:
        yield "timeout expired"
    finally:
        database.postgres.thaw()


def break_connections(database):
    database.postgres.sql(
        f"SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = '{database.name}'"  # noqa: S608 # the fixture's own name
    )


@pytest.mark.parametrize("trouble", [too_many_connections, a_standby_answers])
def test_work_stands_still_uncounted_while_the_database_cannot_answer(rig, database, caplog, trouble):
    endure(rig, trouble(database), caplog)


def test_work_stands_still_uncounted_and_heartbeats_go_on_while_the_database_is_frozen(rig, database, caplog):
    """RUN3: the loop never waits for PostgreSQL."""
    endure(rig, a_frozen_server(database), caplog, for_s=6.0)  # long enough for the broker to miss them


@pytest.mark.parametrize("how", ["restarted", "killed"])
def test_an_idle_consumer_goes_on_after_the_database_was_away_without_a_pause(rig, caplog, how):
    caplog.set_level(logging.INFO, "ordermq")
    rig.consumer("single", threads=2)
    rig.publish("single", *BEFORE)
    rig.wait_for_effects("single", len(BEFORE))
    if how == "killed":
        rig.stack.postgres.kill()
    rig.stack.postgres.restart()
    rig.session.close()

    rig.publish("single", *MEANWHILE)
    expected = [each.order_id for each in (*BEFORE, *MEANWHILE)]
    assert rig.wait_for_effects("single", len(expected)) == expected
    assert "was closed while it was idle; opening another" in caplog.text
    assert [each.getMessage() for each in caplog.records if each.name == "ordermq.consumer.pause"] == []


@pytest.fixture
def small_disk(database):
    """A tablespace that ``effects`` may move to, and a file that leaves no room on its disk."""
    if os.geteuid() != 0:
        pytest.skip("a full disk is a small file system, and mounting one needs root")
    place = database.postgres._place
    folder = place.given_folder(f"disk-{database.name}")
    mount = ["mount", "-t", "tmpfs", "-o", "size=1m", "tmpfs", str(folder)]
    mounted = subprocess.run(mount, capture_output=True, text=True, check=False)
    if mounted.returncode != 0:
        pytest.skip(f"a full disk is a small file system, and mounting is refused here: {mounted.stderr}")
    try:
        folder.chmod(0o755)
        (folder / "space").mkdir()
        place.account.give(folder / "space")
        space = f"small_{database.name}"
        database.postgres.sql(f"CREATE TABLESPACE {space} LOCATION '{folder}/space'", superuser=True)
        database.postgres.sql(f"GRANT CREATE ON TABLESPACE {space} TO ordermq", superuser=True)
        yield space, folder / "ballast"
        database.sql("ALTER TABLE effects SET TABLESPACE pg_default")
        database.postgres.sql(f"DROP TABLESPACE {space}", superuser=True)
    finally:
        subprocess.run(["umount", "--lazy", str(folder)], check=True)
        folder.rmdir()


def test_work_stands_still_uncounted_while_the_disk_is_full(rig, database, caplog, small_disk):
    space, ballast = small_disk
    database.sql(f"ALTER TABLE effects SET TABLESPACE {space}")

    @contextmanager
    def a_full_disk():
        fill(ballast)
        yield "No space left on device"
        ballast.unlink()

    endure(rig, a_full_disk(), caplog)


def fill(file):
    with file.open("wb", buffering=0) as ballast:
        try:
            while ballast.write(b"x" * 4096):
                pass
        except OSError:
            return


def endure(rig, trouble, caplog, for_s=1.5):
    """Work through ``trouble``: nothing is counted, lost or doubled; meanwhile no processor is used."""
    caplog.set_level(logging.ERROR, "ordermq")
    rig.settings = replace(
        rig.settings,
        broker=replace(rig.settings.broker, heartbeat_s=2),
        database=replace(rig.settings.database, statement_timeout_s=1.0, connect_timeout_s=2),
    )
    relay, consumer = rig.relay(), rig.consumer("batch", threads=2)
    rig.publish("batch", *BEFORE)
    rig.wait_for_effects("batch", len(BEFORE))

    with trouble as words:
        rig.publish("batch", *MEANWHILE)
        wait_until(lambda: "paused" in str(consumer._health.ready().reasons), 30, what="the pause")
        began_s, used_s = time.monotonic(), time.process_time()
        wait_until(lambda: consumer._pause.lasted_s > for_s, 30, what="a pause of some length", every_s=0.2)
        assert time.process_time() - used_s < 0.3 * (time.monotonic() - began_s)
        assert any(words in record.getMessage() for record in caplog.records)
        assert (consumer._manager.state, consumer._manager.reconnects) == (ConnectionState.OPEN, 0)

    rig.session.close()
    expected = [each.order_id for each in (*BEFORE, *MEANWHILE)]
    assert rig.wait_for_effects("batch", len(expected)) == expected
    assert rig.rows("SELECT DISTINCT outcome FROM ordermq.inbox") == [("done",)]
    assert rig.value("SELECT count(*) FROM ordermq.outbox") == 0
    wait_until(lambda: consumer._health.ready().is_good, 20, what="a consumer that is ready again")
    wait_until(lambda: relay._health.ready().is_good, 20, what="a relay that is ready again")
    assert (relay.failure, consumer.failure) == (None, None)
