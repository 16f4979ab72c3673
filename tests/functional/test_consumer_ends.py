"""How a consumer ends while something else is wrong: nothing in hand is lost, and the end says the truth."""

import socket
from contextlib import closing, contextmanager
from dataclasses import replace

import pytest

from ordermq.errors import HandlerOverdue
from ordermq.store import Session
from ordermq.testing import wait_until
from tests.support.runtime import PREFIX, probes


@contextmanager
def nobody_let_in(database):
    """The database lets nobody in, and has ended every connection."""
    database.postgres.sql(f"ALTER DATABASE {database.name} CONNECTION LIMIT 0")
    database.postgres.sql(
        f"SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = '{database.name}'"  # noqa: S608 # the fixture's own name
    )
    try:
        yield
    finally:
        database.postgres.sql(f"ALTER DATABASE {database.name} CONNECTION LIMIT -1")


def is_paused(consumer):
    return "paused" in str(consumer._health.ready().reasons)


def test_a_stop_while_the_database_is_away_is_no_failure(rig, database):
    rig.publish("single", *probes(40))
    with nobody_let_in(database):
        for _ in range(10):
            consumer = rig.consumer("single", threads=4)
            wait_until(lambda: is_paused(consumer), 20.0, what="the pause")  # noqa: B023 # used at once
            consumer.stop()
            assert consumer.join(10.0)
            assert consumer.failure is None
    rig.session.close()
    wait_until(lambda: rig.rabbit.depth(f"{PREFIX}.single") == 40, 20.0, what="all back in the queue")


@pytest.mark.filterwarnings("ignore::pytest.PytestUnhandledThreadExceptionWarning")  # that is how it dies
def test_a_worker_that_dies_in_a_long_pause_ends_the_process(rig):
    """The database comes back without its tables, long after the deliveries were given back."""
    rig.settings = replace(rig.settings, database=replace(rig.settings.database, lock_timeout_s=0.2))
    rig.publish("single", *probes(5))
    held = Session(rig.settings.database, name="test lock")
    with held.transaction() as tx:
        tx.execute("LOCK TABLE ordermq.inbox")
        consumer = rig.consumer("single", threads=1, consumer_timeout_s=1.0)
        wait_until(lambda: is_paused(consumer), 20.0, what="the pause")
        wait_until(lambda: rig.rabbit.depth(f"{PREFIX}.single") == 5, 20.0, what="all back in the queue")
        tx.execute("ALTER TABLE ordermq.inbox RENAME TO gone")
    held.close()
    assert consumer.join(10.0)
    assert "a worker thread has died" in str(consumer.failure)


def test_a_handler_found_overdue_between_two_connections_is_an_end_with_its_code_although_it_returns(rig):
    with socket.create_server(("127.0.0.1", 0)) as silent:
        host = f"127.0.0.1:{silent.getsockname()[1]}"
        rig.settings = replace(
            rig.settings, broker=replace(rig.settings.broker, hosts=(host, host), connect_timeout_s=1.0)
        )
        consumer = rig.consumer("single", handler_deadline_s=0.1)  # noticed as it tries the second
        silent.settimeout(20.0)
        # It waits at the first, and is past what it does before.
        with closing(silent.accept()[0]), consumer._running.noted("single", []):
            wait_until(consumer.stopping.is_set, 20.0, what="the consumer to notice")
        assert consumer.join(10.0)
    assert isinstance(consumer.failure, HandlerOverdue)
