"""Records get positions in the order in which they committed, and none is skipped (POS1-POS3)."""

from contextlib import closing
from dataclasses import replace
from random import Random

import pytest

from ordermq.cli.processes.metering import NumberingMeter, RelayReporter, TableMeter
from ordermq.observe import metrics
from ordermq.store import Session, actions
from ordermq.store.connecting import connect
from ordermq.store.numbering import Sequencer
from ordermq.store.positions import count_positions, records_between
from ordermq.testing import wait_until
from ordermq.testing.stack.errors import StackError
from ordermq.testing.stack.ports import free_ports
from tests.support.runtime import probes


@pytest.fixture
def session(database_settings):
    session = Session(database_settings, name="test")
    yield session
    session.close()


class NeverBelow(Sequencer):
    """Never looks below its mark: what that skips stays."""

    def _number(self, tx, look_below):
        return super()._number(tx, False)


def number(session, sequencer):
    return sequencer(session, is_active=True)


def numbered(session, begin=0, end=10_000):
    """Return the positions of actions and their reasons, in order."""
    reasons = """SELECT '' AS subject, action_id AS number, convert_to(reason, 'UTF8') AS content
                   FROM ordermq.actions"""
    with session.transaction() as tx:
        found = records_between(tx, {"ordermq.actions": reasons}, begin, end)
    return [(each.position, bytes(each.content).decode()) for each in found]


class Writer:
    """A session of somebody else, whose transaction lasts until it is ended."""

    def __init__(self, settings):
        self.connection = connect(settings, name="writer")
        self.connection.autocommit = False

    def write(self, *reasons):
        with self.connection.cursor() as cursor:
            cursor.execute(
                "INSERT INTO ordermq.actions (actor, action, subject, reason)"
                " SELECT 'a', 'b', 'c', unnest(%s)",
                (list(reasons),),
            )

    def close(self):
        self.connection.close()


def test_a_record_that_was_written_first_and_commits_last_is_not_skipped(session, database_settings):
    sequencer = NeverBelow(every_s=0)
    with closing(Writer(database_settings)) as slow, closing(Writer(database_settings)) as quick:
        slow.write("first")
        quick.write("second")
        quick.connection.commit()
        assert number(session, sequencer) == 1
        for reason in ("third", "fourth"):
            quick.write(reason)
            quick.connection.commit()
            assert number(session, sequencer) == 1
        slow.connection.commit()
        assert number(session, sequencer) == 1
    assert numbered(session) == [(0, "second"), (1, "third"), (2, "fourth"), (3, "first")]
    assert number(session, sequencer) == 0


def test_a_record_of_the_newest_transaction_is_not_skipped_while_no_newer_one_has_ended(
    session, database_settings
):
    sequencer = NeverBelow(every_s=0)
    with closing(Writer(database_settings)) as slow, closing(Writer(database_settings)) as quick:
        for reason in ("first", "second"):
            quick.write(reason)
            quick.connection.commit()
            slow.write(f"after {reason}")
            assert number(session, sequencer) == 1
            for _ in range(3):
                assert number(session, sequencer) == 0
            slow.connection.commit()
            assert number(session, sequencer) == 1


@pytest.mark.parametrize("seed", range(3))
def test_in_whatever_order_transactions_commit_each_record_gets_one_position(
    session, database_settings, seed
):
    """POS1, POS3: what was given by an earlier call comes first, also where another process takes over."""
    random, sequencer = Random(seed), NeverBelow(every_s=0, most=3)
    writers, written, committed, given = [], {}, set(), []
    for _ in range(5):
        writers.append(Writer(database_settings))
    try:
        for step in range(150):
            writer = random.choice(writers)
            match random.randrange(6):
                case 0 | 1 | 2:
                    some = [f"{step}.{n}" for n in range(random.randrange(1, 4))]
                    writer.write(*some)
                    written.setdefault(writer, []).extend(some)
                case 3:
                    writer.connection.commit()
                    committed.update(written.pop(writer, ()))
                case 4 if random.random() < 0.3:
                    writer.connection.rollback()
                    written.pop(writer, None)
                case _:
                    if random.random() < 0.1:
                        sequencer = NeverBelow(every_s=0, most=3)
                    number(session, sequencer)
                    now = [reason for _, reason in numbered(session)]
                    assert now[: len(given)] == given
                    assert set(now) <= committed
                    given = now
    finally:
        for writer in writers:
            writer.connection.rollback()
            writer.close()
    while number(session, sequencer):
        pass
    found = numbered(session)
    assert [position for position, _ in found] == list(range(len(committed)))
    assert {reason for _, reason in found} == committed


def test_the_records_of_one_statement_and_of_one_session_stay_in_their_order(session):
    with session.transaction() as tx:
        actions.record(tx, "a", "b", ["c"], "one")
        tx.execute("INSERT INTO ordermq.actions (actor, action, subject, reason)"
                   " SELECT 'a', 'b', 'c', n::text FROM generate_series(1, 1300) AS n")  # fmt: skip
    assert number(session, Sequencer()) == 1301
    assert numbered(session) == [(0, "one"), *((n, str(n)) for n in range(1, 1301))]
    assert numbered(session, 511, 515) == [(n, str(n)) for n in range(511, 515)]
    assert not numbered(session, 1301, 1310)
    with session.transaction() as tx:
        assert count_positions(tx) == 1301
        assert tx.fetch_one("SELECT count(*), max(records) FROM ordermq.positions") == (3, 512)


def test_only_who_holds_the_lock_gives_positions_and_only_when_it_is_time(session, database_settings):
    """POS2."""
    sequencer = Sequencer(every_s=600)
    with session.transaction() as tx:
        actions.record(tx, "a", "b", ["c"], "one")
    other = Session(database_settings, name="other")
    with closing(other), other.transaction() as tx:
        tx.fetch_one("SELECT * FROM ordermq.claim((SELECT %s::bigint), 1, 1)", (0x6F72646572_6D71,))
        assert number(session, sequencer) == 0
    assert number(session, sequencer) == 0  # not yet
    assert sequencer(session, is_active=False) == 0  # a standby forgets when it is to come
    assert number(session, sequencer) == 1


def test_a_relay_without_a_broker_numbers_what_no_other_relay_has_numbered_for_a_while(session):
    """POS2: it does not take the lock for records that an active relay is about to number."""
    sequencer = Sequencer(every_s=0)
    with session.transaction() as tx:
        actions.record(tx, "a", "b", ["c"], "one")
    assert sequencer.number_left(session) == 0
    with session.transaction() as tx:
        tx.execute("UPDATE ordermq.unnumbered SET oldest = now() - interval '1 min',"
                   " newest = now() - interval '3 s'")  # fmt: skip
    assert sequencer.number_left(session) == 1
    assert numbered(session) == [(0, "one")]


@pytest.mark.parametrize("what", ["UPDATE {} SET {} = {}", "DELETE FROM {}", "TRUNCATE {}"])
@pytest.mark.parametrize("table", [("ordermq.positions", "records"), ("ordermq.actions", "action")])
def test_positions_and_actions_are_only_added_to(database, what, table):
    name, column = table
    with pytest.raises(StackError, match="is only added to"):
        database.sql(what.format(name, column, column))


def buffers(session, sequencer):
    """How many buffers of PostgreSQL a call reads that finds nothing."""
    mark = sequencer._mark
    with session.transaction() as tx:
        [[plan]] = tx.fetch_one(
            "EXPLAIN (ANALYZE, BUFFERS, FORMAT JSON)"
            " SELECT * FROM ordermq.number_records(1, 1, %s, %s, %s::xid8, false)",
            (mark.low, mark.next_low, mark.next_xid),
        )
    return plan["Plan"]["Shared Hit Blocks"] + plan["Plan"]["Shared Read Blocks"]


def test_with_an_old_snapshot_held_a_call_reads_nothing_of_what_was_numbered(session, database_settings):
    """A pg_dump, or a forgotten BEGIN that read, keeps deleted rows; a call does not read them each time."""
    sequencer = NeverBelow(every_s=0, most=10_000)
    with closing(Writer(database_settings)) as reader:
        reader.connection.set_session(isolation_level="REPEATABLE READ")
        with reader.connection.cursor() as cursor:
            cursor.execute("SELECT count(*) FROM ordermq.actions")
        with session.transaction() as tx:
            tx.execute(
                "INSERT INTO ordermq.unnumbered (source, subjects, numbers, oldest, newest)"
                " SELECT 's', '{x}', ARRAY[n], now(), now() FROM generate_series(1, 5000) AS n"
            )
        assert number(session, sequencer) == 5000
        before = buffers(session, Sequencer())
        for _ in range(2):
            number(session, sequencer)
        assert buffers(session, sequencer) < 40 < before
        with closing(Writer(database_settings)) as quick:
            quick.write("while it is held")
            quick.connection.commit()
        assert number(session, sequencer) == 1


def test_the_active_relay_gives_positions_and_goes_on_where_it_cannot(rig, database, caplog):
    rig.relay(meter=NumberingMeter(TableMeter([], None), Sequencer()))
    with rig.session.transaction() as tx:
        actions.record(tx, "a", "b", ["c"], "one")
    wait_until(lambda: numbered(rig.session) == [(0, "one")], 20, what="a position")
    database.sql("ALTER FUNCTION ordermq.number_records RENAME TO gone")
    wait_until(lambda: "records get no positions" in caplog.text, 20, what="a warning")
    rig.send("single", *probes(3))
    wait_until(lambda: rig.value("SELECT count(*) FROM ordermq.outbox") == 0, 20, what="an empty outbox")
    assert caplog.text.count("records get no positions") == 1


def test_records_get_positions_while_no_relay_has_a_broker_and_an_alert_sees_what_waits(rig, database):
    """POS2: two relays, and each record gets one position."""
    away = replace(rig.settings.broker, hosts=(f"127.0.0.1:{free_ports(1)[0]}",))
    rig.settings = replace(rig.settings, broker=away)
    for name in ("relay-1", "relay-2"):
        rig.relay(meter=NumberingMeter(TableMeter([], None, RelayReporter(name)), Sequencer()))
    for n, reason in enumerate(("one", "two")):
        write_long_ago(rig, reason)
        wait_until(lambda n=n: len(numbered(rig.session)) == n + 1, 20, what="a position")
    assert numbered(rig.session) == [(0, "one"), (1, "two")]
    said = "SELECT name, state FROM ordermq.processes WHERE reason = 'no broker takes messages from it'"
    wait_until(lambda: {("relay-1", "waiting"), ("relay-2", "waiting")} == set(rig.rows(said)), 20,
               what="relays that say why they wait")  # fmt: skip
    database.sql("ALTER FUNCTION ordermq.number_records RENAME TO gone")
    write_long_ago(rig, "three")
    wait_until(lambda: shown_waits_s() > 60, 20, what="OrdermqNumberingStalled to have its reason")


def test_a_standby_does_not_show_for_ever_what_waited_while_it_had_no_broker(session):
    meter = NumberingMeter(TableMeter([], None), Sequencer())
    metrics.numbering_waits.set(90)
    meter.without_broker(session)
    metrics.numbering_waits.set(90)
    meter(session, is_active=False)
    assert shown_waits_s() == 0


def write_long_ago(rig, reason):
    with rig.session.transaction() as tx:
        tx.execute("INSERT INTO ordermq.actions (acted_at, actor, action, subject, reason)"
                   " VALUES (now() - interval '90 seconds', 'a', 'b', 'c', %s)", (reason,))  # fmt: skip


def shown_waits_s():
    return metrics.REGISTRY.get_sample_value("ordermq_numbering_waits_seconds")
