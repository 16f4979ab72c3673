"""Trouble of the server itself: work pauses uncounted, unless one message fails alone."""

import re
import threading
from contextlib import closing
from dataclasses import replace

import pytest

from ordermq.consumer import neighbours
from ordermq.store import Session
from ordermq.testing import wait_until
from tests.support.runtime import probes

CULPRIT = "o00001"
COUNTED = "SELECT count(*) FROM ordermq.inbox WHERE outcome NOT IN ('done', 'postponed')"


def trouble(rig, then, *, where="true", table="effects"):
    """Have each row of ``table`` for which ``where`` holds meet ``then``."""
    with rig.session.transaction() as tx:
        tx.execute(f"""
            CREATE OR REPLACE FUNCTION trouble() RETURNS trigger LANGUAGE plpgsql AS
            $$ BEGIN IF {where} THEN {then} END IF; RETURN NEW; END $$;
            CREATE TRIGGER trouble BEFORE INSERT ON {table} FOR EACH ROW EXECUTE FUNCTION trouble()
        """)


def raising(code):
    return f"RAISE EXCEPTION 'as asked' USING ERRCODE = '{code}';"


def end_trouble(rig, table="effects"):
    with rig.session.transaction() as tx:
        tx.execute(f"DROP TRIGGER trouble ON {table}")


def dead(rig):
    return rig.rows("SELECT message_id, reason FROM ordermq.dead_letters ORDER BY 1")


@pytest.fixture
def hasty(monkeypatch):
    monkeypatch.setattr(neighbours, "GIVE_WAY_S", 0.5)


@pytest.mark.parametrize(
    ("code", "queue"),
    [("XX000", "batch"), ("XX001", "single"), ("58P01", "call"), ("F0000", "batch"), ("57P01", "single"),
     ("53200", "call"), ("42501", "batch")],
)  # fmt: skip
def test_trouble_that_every_message_meets_is_waited_out_uncounted(rig, code, queue):
    rig.relay()
    trouble(rig, raising(code))
    consumer = rig.consumer(queue)
    rig.publish(queue, *probes(20))
    wait_until(lambda: consumer._pause.lasted_s > 2.0, 30, what="a pause of some length")
    assert "paused" in str(consumer._health.ready().reasons)
    assert rig.value(COUNTED) == 0
    end_trouble(rig)
    assert len(rig.wait_for_effects(queue, 20)) == 20
    assert (rig.value(COUNTED), dead(rig)) == (0, [])
    wait_until(lambda: consumer._health.ready().is_good, 20, what="a consumer that is ready again")


@pytest.mark.parametrize(
    ("then", "word"),
    [
        (raising("XX000"), "XX000"),
        (raising("57P03"), "57P03"),
        (raising("42501"), "42501"),
        ("PERFORM pg_terminate_backend(pg_backend_pid());", "SessionLost"),
    ],
)
@pytest.mark.parametrize("queue", ["batch", "single", "call"])
def test_a_message_that_fails_alone_is_counted_and_costs_its_neighbours_nothing(
    rig, hasty, then, word, queue
):
    """NEI1: no neighbour is blamed."""
    rig.relay()
    # Of many threads one may be so late with the culprit that all its neighbours were done before.
    threads = 1 if word == "XX000" or queue == "single" else 4
    table = "calls" if queue == "call" else "effects"
    trouble(rig, then, where=f"NEW.order_id = '{CULPRIT}'", table=table)
    rig.consumer(queue, threads=threads)
    rig.publish(queue, *probes(20))
    wait_until(lambda: dead(rig), 40, what="a dead letter")
    assert len(rig.wait_for_effects(queue, 19)) == 19
    [(message_id, reason)] = dead(rig)
    assert message_id == CULPRIT
    assert reason.startswith("gave up after 3 attempts")
    assert word in reason
    assert rig.rows("SELECT DISTINCT message_id FROM ordermq.inbox WHERE outcome <> 'done'") == [(CULPRIT,)]


def test_as_many_culprits_as_there_are_threads_and_more_do_not_block_the_queue(rig, hasty):
    rig.relay()
    trouble(rig, raising("XX000"), where="NEW.order_id < 'o00010'")
    rig.consumer("single", threads=2)
    rig.publish("single", *probes(30))
    assert len(rig.wait_for_effects("single", 20, timeout_s=60)) == 20
    wait_until(lambda: len(dead(rig)) == 10, 60, what="a dead letter of each")


def test_a_lonely_message_is_not_blamed_until_its_age_ends_it(rig, hasty):
    rig.settings = replace(rig.settings, retry=replace(rig.settings.retry, max_age_s=6.0))
    rig.relay()
    trouble(rig, raising("XX000"))
    rig.consumer("single")
    rig.publish("single", *probes(1))
    postponed = "SELECT count(*) FROM ordermq.inbox WHERE outcome = 'postponed'"
    wait_until(lambda: rig.value(postponed), 20, what="a message that gave way")
    assert dead(rig) == []
    wait_until(lambda: dead(rig), 40, what="the end of its age")
    assert re.match(r"gave up after \d+ s: ", dead(rig)[0][1])  # and not after so many attempts
    assert rig.rows("SELECT order_id FROM deaths") == [("o00000",)]


@pytest.mark.parametrize("queue", ["batch", "single", "call"])
def test_what_follows_from_a_death_waits_for_the_server_and_is_not_skipped(rig, hasty, queue):
    rig.relay()
    trouble(rig, raising("XX000"), table="deaths")
    consumer = rig.consumer(queue)
    rig.publish(queue, *probes(8, do="dead"))
    wait_until(lambda: consumer._pause.lasted_s > 1.0, 30, what="a pause of some length")
    assert dead(rig) == []
    end_trouble(rig, "deaths")
    wait_until(lambda: rig.value("SELECT count(*) FROM deaths") == 8, 40, what="what follows from each")
    assert [reason for _, reason in dead(rig)] == ["asked to die"] * 8


@pytest.mark.parametrize("queue", ["batch", "single", "call"])
def test_what_follows_from_one_death_alone_holds_up_no_neighbour_and_asks_a_person(rig, hasty, queue, caplog):
    rig.relay()
    trouble(rig, raising("XX000"), table="deaths")
    rig.consumer(queue, threads=1)
    rig.publish(queue, *probes(1, do="dead"))
    wait_until(lambda: rig.value("SELECT count(*) FROM ordermq.inbox"), 30, what="a message that gave way")
    neighbours = probes(19, start=1)
    rig.publish(queue, *neighbours)
    handled = {each.order_id for each in neighbours}
    wait_until(lambda: handled <= set(rig.effects(queue)), 30, what="the neighbours' effects")
    wait_until(lambda: dead(rig), 40, what="a dead letter")
    [(message_id, reason)] = dead(rig)
    assert (message_id, reason[:34]) == ("o00000", "asked to die; then on_dead failed:")
    assert "XX000" in reason
    assert "what follows from the dead letter failed" in caplog.text


@pytest.mark.parametrize("code", ["25P03", "25P04", "57014"])
def test_a_handler_too_slow_for_its_limits_is_counted_and_a_lonely_one_too(rig, code):
    rig.relay()
    trouble(rig, raising(code))
    rig.consumer("single")
    rig.publish("single", *probes(1))
    wait_until(lambda: dead(rig), 20, what="a dead letter")
    assert "gave up after 3 attempts" in dead(rig)[0][1]


@pytest.fixture
def impatient(rig):
    """Someone who ends each session whose transaction has lasted for 0.7 s."""
    stopped = threading.Event()

    def main():
        settings = replace(rig.settings.database)
        with closing(Session(settings, name="impatient")) as session:
            while not stopped.wait(0.05):
                with session.transaction() as tx:
                    tx.execute(
                        "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE xact_start IS NOT NULL"
                        " AND datname = current_database() AND clock_timestamp() - xact_start > '0.7 s'"
                    )

    thread = threading.Thread(target=main)
    thread.start()
    yield
    stopped.set()
    thread.join(10)


@pytest.mark.parametrize("queue", ["batch", "single", "call"])
def test_a_handler_whose_session_is_ended_each_time_for_its_length_becomes_a_dead_letter(
    rig, impatient, queue
):
    rig.relay()
    if queue == "call":
        trouble(rig, "PERFORM pg_sleep(30);", table="calls")
    elif queue == "batch":
        trouble(rig, "PERFORM pg_sleep(30);")
    rig.consumer(queue, threads=2)
    do = {"do": "sleep", "seconds": 2.0} if queue == "single" else {}
    rig.publish(queue, *probes(1, **do))
    wait_until(lambda: dead(rig), 60, what="a dead letter")
    [(message_id, reason)] = dead(rig)
    assert (message_id, "the server ended the session" in reason) == ("o00000", True)


def test_a_limit_of_whole_transactions_does_not_end_a_handler(rig, database):
    # PostgreSQL 17 has the setting; before it there is nothing to switch off, and nothing may fail for it.
    limits = "SELECT setting FROM pg_settings WHERE name = 'transaction_timeout'"
    has_limit = bool(rig.rows(limits))
    if has_limit:
        database.postgres.sql(f"ALTER DATABASE {database.name} SET transaction_timeout = '500ms'")
        rig.session.close()
    rig.consumer("single")
    rig.publish("single", *probes(1, do="sleep", seconds=1.0))
    assert rig.wait_for_effects("single", 1) == ["o00000"]
    assert rig.rows(limits) == ([("0",)] if has_limit else [])


def test_a_relay_and_a_consumer_go_on_after_the_server_takes_writes_again(rig, database):
    relay, consumer = rig.relay(), rig.consumer("batch")
    wait_until(lambda: relay._health.ready().is_good, 20, what="an active relay")
    postgres = database.postgres
    postgres.sql(f"ALTER DATABASE {database.name} SET default_transaction_read_only = on")
    rig.session.close()
    database.sql(
        "SELECT pg_terminate_backend(pid) FROM pg_stat_activity"
        " WHERE datname = current_database() AND pid <> pg_backend_pid()"
    )
    wait_until(lambda: "takes no writes" in str(relay._health.ready().reasons), 20, what="a relay that waits")
    rig.publish("batch", *probes(20))
    wait_until(lambda: consumer._pause.lasted_s > 0.5, 20, what="a pause")
    postgres.sql(f"ALTER DATABASE {database.name} RESET default_transaction_read_only")
    rig.session.close()
    wait_until(lambda: relay._health.ready().is_good, 10, what="a relay that goes on")
    rig.send("batch", *probes(20, start=20))
    assert len(rig.wait_for_effects("batch", 40)) == 40
    assert rig.value(COUNTED) == 0
