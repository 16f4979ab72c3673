"""Sessions: transactions that end one way or the other, and connections that come back."""

import os
import resource
import select
import threading
from contextlib import closing, suppress
from dataclasses import replace

import psycopg2
import pytest

from ordermq.clock import monotonic_s
from ordermq.config.settings import Secret
from ordermq.errors import (
    CommitUnknown,
    Contention,
    DataRefused,
    ReadOnlyServer,
    SchemaOutdated,
    StoreError,
    StoreRefused,
    StoreUnavailable,
    UnknownQueue,
    UsageError,
)
from ordermq.message import Command, Payload
from ordermq.store import (
    Session,
    StoreTransaction,
    _errors,
    join_transaction,
    outbox,
    outgoing,
    wake_relay,
)
from ordermq.store import session as session_module
from ordermq.store.arrays import insert_into
from ordermq.testing import wait_until


@pytest.fixture
def session(database_settings):
    session = Session(database_settings, name="test")
    with session.transaction() as tx:
        tx.execute("CREATE TABLE notes (note text PRIMARY KEY)")
    yield session
    session.close()


def notes(session):
    with session.transaction() as tx:
        return [row[0] for row in tx.fetch_all("SELECT note FROM notes ORDER BY note")]


NOTES = insert_into("notes", note="text")


def terminate(database):
    database.sql(
        "SELECT pg_terminate_backend(pid, 5000) FROM pg_stat_activity WHERE application_name = 'test'"
    )


class Note(Payload):
    text: str


def to_queue(queue):
    return Command(queue, f"m-{queue}", "", Note(text="hello"))


def sent(session):
    with session.transaction() as tx:
        return [row[0] for row in tx.fetch_all("SELECT routing_key FROM ordermq.outbox ORDER BY outbox_id")]


def test_a_dry_run_runs_everything_and_leaves_nothing(session):
    called = []
    with session.transaction(dry_run=True) as tx:
        tx.after_commit(lambda: called.append("after commit"))
        tx.write("INSERT INTO notes VALUES ('dry')")
        tx.send([to_queue("payment")])
        assert tx.fetch_one("SELECT note FROM notes") == ("dry",)
    assert (notes(session), sent(session), called) == ([], [], [])


def test_a_block_may_find_out_that_it_was_a_dry_run(session):
    with session.transaction() as tx:
        tx.execute("INSERT INTO notes VALUES ('dry')")
        tx.is_dry_run = True
    with session.transaction(dry_run=True):
        pass  # of nothing there is nothing to roll back
    assert notes(session) == []


def test_a_dry_run_raises_what_a_commit_would_have_raised(session):
    with session.transaction() as tx:
        tx.execute("CREATE TABLE late (note text REFERENCES notes DEFERRABLE INITIALLY DEFERRED)")
    for statement in ("INSERT INTO notes VALUES ('a'), ('a')", "INSERT INTO late VALUES ('missing')"):
        with pytest.raises(DataRefused), session.transaction(dry_run=True) as tx:
            tx.write(statement)
    with (
        pytest.raises(UsageError, match="was caught"),
        session.transaction(dry_run=True) as tx,
        suppress(DataRefused),
    ):
        tx.execute("SELECT 1 / 0")
    assert notes(session) == []


def test_a_command_to_a_queue_that_nothing_works_is_refused_where_it_is_written(session, database_settings):
    known = Session(database_settings, name="test", queues=frozenset({"payment", "inventory"}))
    with closing(known), pytest.raises(UnknownQueue) as refused, known.transaction() as tx:
        tx.send([to_queue("payment"), to_queue("paiment")])
    assert str(refused.value) == (
        "message m-paiment is for queue 'paiment', which has no handler and is not in topology.queues;"
        " known queues: inventory, payment"
    )
    assert (refused.value.retryable, sent(session)) == (False, [])
    with closing(known), known.transaction() as tx:
        tx.send([to_queue("payment")])
    with session.transaction() as tx:  # a session that knows no queues refuses nothing
        tx.send([to_queue("paiment")])
    assert sent(session) == ["payment", "paiment"]


def test_a_retry_to_a_queue_that_is_no_longer_known_is_kept(session, database_settings):
    with closing(Session(database_settings, name="test", queues=frozenset())) as known:
        with known.transaction() as tx:
            tx.append([outgoing.new_row(to_queue("gone"), {})])
        assert sent(known) == ["gone"]


def test_a_block_that_ends_commits_and_one_that_raises_leaves_nothing(session):
    with session.transaction() as tx:
        tx.execute("INSERT INTO notes VALUES ('kept')")
    with pytest.raises(RuntimeError), session.transaction() as tx:
        tx.execute("INSERT INTO notes VALUES ('lost')")
        raise RuntimeError
    assert notes(session) == ["kept"]


@pytest.mark.parametrize(
    ("statement", "error"),
    [
        ("INSERT INTO notes VALUES ('a'), ('a')", DataRefused),
        ("SELECT 1 / 0", DataRefused),
        ("SELECT 'x'::int", DataRefused),
        ("SELECT * FROM no_such_table", SchemaOutdated),
        ("SELECT pg_read_file('/etc/passwd')", StoreRefused),
        ("SET LOCAL statement_timeout = 100; SELECT pg_sleep(5)", Contention),
        ("SET TRANSACTION READ ONLY; INSERT INTO notes VALUES ('a')", StoreUnavailable),
    ],
)
def test_an_error_says_what_to_do_about_it_and_the_session_goes_on(session, statement, error):
    with pytest.raises(error), session.transaction() as tx:
        tx.execute(statement)
    assert notes(session) == []


def test_values_that_cannot_be_stored_are_refused_before_they_are_sent(session):
    for value in ("nul \x00 inside", "half \ud800 a pair"):
        with pytest.raises(DataRefused), session.transaction() as tx:
            tx.execute("INSERT INTO notes VALUES (%s)", (value,))


def test_a_row_value_never_stands_in_an_error(session):
    with session.transaction() as tx:
        tx.execute("INSERT INTO notes VALUES ('card 4242')")
    with pytest.raises(DataRefused) as caught, session.transaction() as tx:
        tx.execute("INSERT INTO notes VALUES ('card 4242')")
    assert "4242" not in str(caught.value)


def test_a_statement_whose_error_was_swallowed_fails_the_transaction_instead_of_losing_it(session):
    with session.transaction() as tx:
        tx.execute("INSERT INTO notes VALUES ('a')")
    with pytest.raises(UsageError, match="failed statement"), session.transaction() as tx:
        tx.execute("INSERT INTO notes VALUES ('b')")
        with pytest.raises(DataRefused):
            tx.execute("INSERT INTO notes VALUES ('a')")
    assert notes(session) == ["a"]


@pytest.mark.parametrize("first", ["SELEKT 1", "SELECT * FROM no_such_table"])
def test_after_a_first_statement_that_failed_nothing_is_written_outside_a_transaction(session, first):
    with pytest.raises(UsageError, match="failed"), session.transaction() as tx:
        with pytest.raises(StoreError):
            tx.execute(first)
        with pytest.raises((StoreError, UsageError)):
            tx.execute("INSERT INTO notes VALUES ('alone')")
    assert notes(session) == []


@pytest.mark.parametrize("rows", [1, 1000, 1001, 2500])
def test_rows_that_come_first_are_all_in_the_transaction(session, rows):
    statement = "INSERT INTO notes VALUES %s RETURNING note"
    with pytest.raises(RuntimeError), session.transaction() as tx:
        assert len(tx.fetch_values(statement, [(str(n),) for n in range(rows)])) == rows
        raise RuntimeError
    assert notes(session) == []


@pytest.mark.parametrize("rows", [1, 3, 4])
def test_rows_that_are_added_first_are_all_in_the_transaction(session, rows):
    with pytest.raises(RuntimeError), session.transaction() as tx:
        tx.add(NOTES, [(str(n),) for n in range(rows)])
        assert tx.fetch_one("SELECT count(*) FROM notes") == (rows,)
        raise RuntimeError
    assert notes(session) == []


def test_a_value_that_was_refused_before_it_was_sent_leaves_the_transaction_to_begin(session):
    with session.transaction() as tx:
        with pytest.raises(DataRefused):
            tx.execute("INSERT INTO notes VALUES (%s)", ("nul \x00 inside",))
        tx.execute("INSERT INTO notes VALUES ('kept')")
    assert notes(session) == ["kept"]


def test_what_is_only_written_is_seen_by_the_next_statement_and_committed_with_the_rest(session):
    with session.transaction() as tx:
        tx.write("INSERT INTO notes VALUES (%s)", ("100 %",))
        tx.write_values("INSERT INTO notes VALUES %s", [("a",), ("b; c",)])
        assert tx.fetch_all("SELECT note FROM notes ORDER BY note") == [("100 %",), ("a",), ("b; c",)]
        tx.add(NOTES, [(str(n),) for n in range(8)])
        tx.write("DELETE FROM notes WHERE note = 'a'; -- it was seen")
    assert len(notes(session)) == 10
    with session.transaction() as tx:
        tx.write("DELETE FROM notes")
    assert notes(session) == []


def test_what_is_only_written_goes_with_a_block_that_raises(session):
    with pytest.raises(RuntimeError), session.transaction() as tx:
        tx.write("INSERT INTO notes VALUES ('lost')")
        raise RuntimeError
    assert notes(session) == []


@pytest.mark.parametrize("is_read_first", [True, False])
def test_an_error_of_what_is_only_written_is_raised_by_the_commit_and_nothing_is_kept(session, is_read_first):
    with pytest.raises(DataRefused), session.transaction() as tx:
        if is_read_first:
            tx.fetch_one("SELECT 1")
        tx.write("INSERT INTO notes VALUES ('kept?')")
        tx.write("INSERT INTO notes VALUES ('kept?')")
    assert notes(session) == []
    with pytest.raises(StoreUnavailable) as caught, session.transaction() as tx:
        tx.write("SET TRANSACTION READ ONLY")
        tx.write("INSERT INTO notes VALUES ('kept?')")
    assert not isinstance(caught.value, CommitUnknown)  # the server has answered
    assert notes(session) == []


def test_a_connection_that_breaks_while_what_is_written_commits_leaves_its_outcome_unknown(session):
    with pytest.raises(CommitUnknown), session.transaction() as tx:
        tx.write("SELECT pg_terminate_backend(pg_backend_pid())")
    assert notes(session) == []


def test_a_transaction_is_two_round_trips_when_one_statement_is_asked(session, monkeypatch):
    sent = []
    run = StoreTransaction._run
    monkeypatch.setattr(
        StoreTransaction, "_run", lambda tx, cursor, sql: (sent.append(sql), run(tx, cursor, sql))
    )
    with session.transaction() as tx:
        tx.fetch_one("SELECT 1")
        tx.write("INSERT INTO notes VALUES ('a')")
        tx.add(NOTES, [("b",)])
    assert len(sent) == 2
    with session.transaction():
        pass
    assert len(sent) == 2


@pytest.mark.parametrize("ends_with_a_statement", [True, False])
def test_a_block_that_idles_too_long_is_slow_not_an_absent_database(database_settings, ends_with_a_statement):
    session = Session(replace(database_settings, idle_in_transaction_s=0.2), name="slow")
    with pytest.raises(Contention, match="idle"), session.transaction() as tx:
        tx.execute("SELECT 1")
        wait_until(lambda: backends(database_settings, "slow") == 0, 10, what="the server to end it")
        if ends_with_a_statement:
            tx.execute("SELECT 1")
    with session.transaction() as tx:
        assert tx.fetch_one("SELECT 1") == (1,)
    session.close()


@pytest.mark.parametrize("last", ["a statement", "the commit"])
def test_a_session_that_the_server_ends_in_a_long_transaction_is_slow_not_an_absent_database(
    session, database, last
):
    with pytest.raises(Contention, match="ended the session"), session.transaction() as tx:
        tx.execute("SELECT pg_sleep(0.6)")
        terminate(database)
        if last == "a statement":
            tx.execute("SELECT 1")
    assert notes(session) == []


def test_a_connection_that_takes_no_writes_is_made_anew_and_of_several_hosts_none_is_taken_that_does_not(
    session, database
):
    postgres, name = database.postgres, database.name
    several = Session(replace(database.settings, host="127.0.0.1,localhost"), name="several")
    postgres.sql(f"ALTER DATABASE {name} SET default_transaction_read_only = on")
    terminate(database)
    for each in (session, session):
        with pytest.raises(ReadOnlyServer), each.transaction() as tx:
            tx.execute("INSERT INTO notes VALUES ('a')")
    with pytest.raises(StoreUnavailable, match="read-only"), several.transaction():
        pass
    postgres.sql(f"ALTER DATABASE {name} RESET default_transaction_read_only")
    for note, each in enumerate((session, several)):
        with each.transaction() as tx:
            tx.execute("INSERT INTO notes VALUES (%s)", (str(note),))
    several.close()
    assert notes(session) == ["0", "1"]


def backends(database_settings, name):
    watcher = Session(database_settings, name="watcher")
    with watcher.transaction() as tx:
        row = tx.fetch_one("SELECT count(*) FROM pg_stat_activity WHERE application_name = %s", (name,))
    watcher.close()
    return row[0]


def test_a_terminated_connection_is_replaced(session):
    with pytest.raises(StoreUnavailable), session.transaction() as tx:
        tx.execute("SELECT pg_terminate_backend(pg_backend_pid())")
    assert notes(session) == []


def test_a_connection_that_broke_after_a_notification_is_unavailable_like_any_other(session, database):
    session.notify("bell")
    with pytest.raises(StoreUnavailable), session.transaction() as tx:
        terminate(database)
        tx.execute("SELECT 1")
    assert notes(session) == []


@pytest.mark.parametrize("last", ["a transaction", "a notification"])
def test_a_connection_that_was_closed_while_it_was_idle_is_replaced_before_it_is_used(
    session, database, last
):
    if last == "a notification":
        session.notify("bell")
    for number in range(3):
        terminate(database)
        with session.transaction() as tx:
            tx.execute("INSERT INTO notes VALUES (%s)", (str(number),))
    assert notes(session) == ["0", "1", "2"]


def test_what_an_idle_connection_was_told_does_not_make_it_stale(session, database):
    session.listen("bell")
    with session.transaction() as tx:
        tx.execute("SET client_min_messages = notice")
        before = tx.fetch_one("SELECT pg_backend_pid()")
    database.sql("; ".join(["NOTIFY bell"] * 3))
    wait_until(lambda: select.select([session._connection], [], [], 0)[0], 5.0, what="a notification")
    with session.transaction() as tx:
        assert tx.fetch_one("SELECT pg_backend_pid()") == before
    assert session.wait(5.0)


def test_a_frozen_server_is_left_at_the_deadline_after_a_notification_too(database_settings, ordermq_stack):
    session = Session(replace(database_settings, statement_timeout_s=1.0), name="test")
    session.notify("bell")
    began_s = monotonic_s()
    ordermq_stack.postgres.freeze()
    try:
        with pytest.raises(StoreUnavailable), session.transaction() as tx:
            tx.execute("SELECT 1")
    finally:
        ordermq_stack.postgres.thaw()
    assert monotonic_s() - began_s < 10.0
    session.close()


def test_a_connection_that_breaks_at_commit_leaves_the_outcome_unknown(session, database):
    with pytest.raises(CommitUnknown), session.transaction() as tx:
        tx.execute("INSERT INTO notes VALUES ('perhaps')")
        pid = tx.fetch_one("SELECT pg_backend_pid()")[0]
        database.sql(f"SELECT pg_terminate_backend({pid}, 5000)")
    assert notes(session) == []


def test_a_frozen_server_is_left_at_the_deadline(database_settings, ordermq_stack):
    session = Session(replace(database_settings, statement_timeout_s=1.0), name="test")
    with session.transaction() as tx:
        tx.execute("SELECT 1")
    began_s = monotonic_s()
    ordermq_stack.postgres.freeze()
    try:
        with pytest.raises(StoreUnavailable), session.transaction() as tx:
            tx.execute("SELECT 1")
    finally:
        ordermq_stack.postgres.thaw()
    # statement_timeout, 2 s of grace, and the watchdog's second; then as much for the rollback
    assert monotonic_s() - began_s < 10.0
    with session.transaction() as tx:
        assert tx.fetch_one("SELECT 1") == (1,)
    session.close()


def test_a_transaction_may_ask_for_longer_statements_than_others_on_both_sides(
    database_settings, monkeypatch
):
    monkeypatch.setattr(session_module, "_GRACE_S", 0.1)
    settings = replace(database_settings, statement_timeout_s=0.3, lock_timeout_s=0.2)
    with closing(Session(settings, name="test")) as session:
        with session.transaction(statement_timeout_s=30.0) as tx:  # the client's watchdog looks once a second
            assert (
                tx.fetch_one("SELECT pg_sleep(1.6) IS NULL, current_setting('statement_timeout')")[1] == "30s"
            )
        with pytest.raises(StoreError, match="statement timeout"), session.transaction() as tx:
            tx.fetch_one("SELECT pg_sleep(5)")


def test_a_server_that_is_gone_and_wrong_credentials_are_told_apart(database_settings):
    gone = Session(replace(database_settings, port=1), name="test")
    with pytest.raises(StoreUnavailable, match="not reachable"), gone.transaction():
        pass
    password = replace(database_settings, password=Secret("certainly wrong"))
    with pytest.raises(StoreRefused) as caught, Session(password, name="test").transaction():
        pass
    assert "certainly wrong" not in str(caught.value)
    missing = replace(database_settings, name="no_such_database")
    with pytest.raises(StoreRefused, match="does not exist"), Session(missing, name="test").transaction():
        pass


@pytest.mark.parametrize(
    "wrong", [{"password": Secret("wrong")}, {"username": "nobody-here"}, {"name": "no_such_database"}]
)
def test_a_refusal_is_known_by_its_code_in_whatever_language_the_server_says_it(
    database_settings, monkeypatch, wrong
):
    monkeypatch.setattr(_errors, "_REFUSED_HINTS", ())  # as if it said nothing in English
    refused = Session(replace(database_settings, **wrong), name="test")
    with closing(refused), pytest.raises(StoreRefused), refused.transaction():
        pass
    gone = Session(replace(database_settings, port=1), name="test")
    with closing(gone), pytest.raises(StoreUnavailable), gone.transaction():
        pass


def test_a_notification_ends_the_wait_and_none_lets_it_pass(session, database_settings):
    other = Session(database_settings, name="test")
    session.listen("bell")
    assert session.wait(0.05) is False
    ringer = threading.Timer(0.2, other.notify, ["bell"])
    ringer.start()
    assert session.wait(10.0) is True
    ringer.join()
    other.close()


def test_a_command_in_a_joined_transaction_leaves_with_its_owners_commit_and_wakes_the_relay(
    session, database
):
    session.listen(outbox.CHANNEL)
    settings = database.settings
    connection = psycopg2.connect(
        host=settings.host, port=settings.port, dbname=settings.name, user=settings.username,
        password=settings.password.reveal(),
    )  # fmt: skip
    with closing(connection), connection:
        tx = join_transaction(connection, {"payment"})
        tx.send([to_queue("payment")])
        with pytest.raises(UnknownQueue):
            tx.send([to_queue("paiment")])
        with pytest.raises(UsageError, match="after the commit"):
            wake_relay(connection)
        connection.commit()
        wake_relay(connection)
        assert session.wait(5.0)
        assert sent(session) == ["payment"]
    wake_relay(connection)  # closed: nothing is raised, the relay polls


def test_joining_refuses_autocommit_and_a_closed_connection(database):
    settings = database.settings
    connection = psycopg2.connect(
        host=settings.host, port=settings.port, dbname=settings.name, user=settings.username,
        password=settings.password.reveal(),
    )  # fmt: skip
    connection.autocommit = True
    with pytest.raises(UsageError, match="autocommit"):
        join_transaction(connection)
    connection.autocommit = False
    tx = join_transaction(connection)
    assert tx.fetch_one("SELECT 1") == (1,)
    connection.close()
    with pytest.raises(UsageError, match="closed"):
        join_transaction(connection)


def test_a_process_out_of_descriptors_finds_the_database_unavailable_and_goes_on_later(database_settings):
    session = Session(database_settings, name="test")
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    lowest_free = os.dup(0)
    os.close(lowest_free)
    said = []
    try:
        for room in range(4):  # at some point for libpq's socket, and not for the watchdog's copy of it
            resource.setrlimit(resource.RLIMIT_NOFILE, (lowest_free + room, hard))
            try:
                with session.transaction():
                    session.close()
            except StoreUnavailable as exc:
                said.append(str(exc))
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
    assert any("no descriptor for another connection" in each for each in said), said
    with session.transaction() as tx:
        assert tx.fetch_one("SELECT 1") == (1,)
    session.close()


def test_no_connection_and_no_descriptor_is_left_after_many_breaks(session, database):

    def descriptors():
        return len(os.listdir("/proc/self/fd"))

    notes(session)
    before = descriptors()
    for _ in range(20):
        with pytest.raises(StoreUnavailable), session.transaction() as tx:
            tx.execute("SELECT pg_terminate_backend(pg_backend_pid())")
        notes(session)
    assert descriptors() == before
    wait_until(
        lambda: database.sql("SELECT count(*) FROM pg_stat_activity WHERE application_name = 'test'") == "1",
        5,
    )
