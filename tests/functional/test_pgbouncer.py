"""Through PgBouncer, which refuses or drops libpq's ``options``: every limit is in force all the same."""

from contextlib import closing
from dataclasses import replace

import pytest

from ordermq.errors import Contention, StoreUnavailable
from ordermq.store import Session
from ordermq.testing import wait_until
from tests.support.pgbouncer import pgbouncer
from tests.support.runtime import probes

LIMITS = ("statement_timeout", "lock_timeout", "idle_in_transaction_session_timeout", "TimeZone")


@pytest.fixture(params=["session", "transaction"])
def mode(request):
    return request.param


@pytest.mark.parametrize("ignores_options", [False, True])
def test_every_limit_is_in_force_in_each_transaction(database, mode, ignores_options):
    with pgbouncer(database, mode, ignores_options=ignores_options) as settings:
        short = replace(settings, statement_timeout_s=0.4, lock_timeout_s=0.3, idle_in_transaction_s=0.5)
        with (
            closing(Session(short, name="short")) as session,
            closing(Session(settings, name="long")) as long,
        ):
            for _ in range(3):
                with session.transaction() as tx:
                    limits = [tx.fetch_one(f"SHOW {name}")[0] for name in LIMITS]
                assert limits == ["400ms", "300ms", "500ms", "UTC"]
                with long.transaction() as tx:
                    assert tx.fetch_one("SHOW statement_timeout") == ("15s",)
            with pytest.raises(Contention), session.transaction() as tx:
                tx.execute("SELECT pg_sleep(5)")
            database.sql("CREATE TABLE held (n int)")
            with pytest.raises(Contention, match="ended the session"), session.transaction() as tx:
                tx.execute("INSERT INTO held VALUES (1)")
                wait_until(
                    lambda: (
                        database.sql("SELECT count(*) FROM pg_locks WHERE relation = 'held'::regclass") == "0"
                    ),
                    10,
                    what="the server to end it",
                )
            with session.transaction() as tx:
                assert tx.fetch_one("SELECT count(*) FROM held") == (0,)


def test_a_relay_and_a_consumer_work_through_it_and_outlive_its_sessions(rig, database, mode):
    with pgbouncer(database, mode, ignores_options=False) as settings:
        rig.settings = replace(rig.settings, database=settings)
        relay, consumer = rig.relay(), rig.consumer("batch")
        rig.send("batch", *probes(50))
        assert len(rig.wait_for_effects("batch", 50)) == 50
        rig.session.close()
        database.sql(
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity"
            " WHERE datname = current_database() AND pid <> pg_backend_pid()"
        )
        rig.send("batch", *probes(50, start=50))
        assert len(rig.wait_for_effects("batch", 100)) == 100
        assert rig.rows("SELECT DISTINCT outcome FROM ordermq.inbox") == [("done",)]
        for service in (relay, consumer):
            service.stop()
            assert service.join(20)
            assert service.failure is None


def test_statement_mode_is_refused_with_what_to_set(database):
    with (
        pgbouncer(database, "statement", ignores_options=False) as settings,
        closing(Session(settings, name="test")) as session,
        pytest.raises(StoreUnavailable, match="set pool_mode = transaction"),
        session.transaction() as tx,
    ):
        tx.execute("SELECT 1")


def test_a_pooler_that_is_away_is_unavailable(database, mode):
    with pgbouncer(database, mode, ignores_options=False) as settings:
        session = Session(settings, name="test")
        with session.transaction() as tx:
            tx.execute("SELECT 1")
    with closing(session), pytest.raises(StoreUnavailable), session.transaction() as tx:
        tx.execute("SELECT 1")
