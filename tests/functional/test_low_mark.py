"""The low mark of the outbox: what a claim reads, and that it skips no row."""

from contextlib import closing
from random import Random

import pytest
from psycopg2.extensions import TRANSACTION_STATUS_IDLE

from ordermq.message import Command, Payload
from ordermq.store import Session, outbox
from ordermq.store.low_mark import LowMark
from ordermq.store.transaction import StoreTransaction
from ordermq.testing import wait_until
from tests.support.runtime import probes
from tests.support.snapshots import old_snapshot, other

BATCH = 2000


class Note(Payload):
    order_id: str


class NeverBelow(LowMark):
    """A mark that nobody looks below: what it skips stays."""

    def params(self, now_s):
        return *super().params(now_s)[:-1], False


@pytest.fixture
def session(database_settings):
    session = Session(database_settings, name="test")
    yield session
    session.close()


def note(message_id, order_id="", **options):
    return Command("q", message_id, order_id, Note(order_id=order_id), **options)


def send(session, *commands):
    with session.transaction() as tx:
        tx.send(commands)


def claim(session, mark, limit=BATCH, *, deletes=True):
    """Return the ids that one turn of a relay claims; delete their rows."""
    with session.transaction() as tx:
        rows = outbox.claim(tx, limit, mark=mark)
        if deletes:
            outbox.delete(tx, [each.outbox_id for each in rows])
    return [each.row.envelope.message_id for each in rows]


def buffers_of_a_claim(session, mark):
    """How many buffers of PostgreSQL a claim reads that finds nothing."""
    explain = """
        EXPLAIN (ANALYZE, BUFFERS, FORMAT JSON)
        SELECT * FROM ordermq.claim(1, %s, 1000000, NULL, %s, %s, %s::xid8, false)
    """
    with session.transaction() as tx:
        [[plan]] = tx.fetch_one(explain, (BATCH, *mark.params(0.0)[:-1]))
    return plan["Plan"]["Shared Hit Blocks"] + plan["Plan"]["Shared Read Blocks"]


def test_with_an_old_snapshot_held_a_claim_reads_nothing_of_what_was_deleted(session, database_settings):
    mark = LowMark()
    add = """
        INSERT INTO ordermq.outbox (routing_key, message_id, type, version, correlation_id, traceparent,
                                    occurred_at, body)
        SELECT 'q', n, 'Note', 1, '', '', now(), '{}' FROM generate_series(1, 20000) AS n
    """
    with old_snapshot(database_settings):
        for _ in range(2):
            with session.transaction() as tx:
                tx.execute(add)
            while claim(session, mark):
                pass
        send(session, note("last"))
        assert claim(session, mark) == ["last"]
        claim(session, mark)
        assert buffers_of_a_claim(session, LowMark()) > 500
        assert buffers_of_a_claim(session, mark) < 50
        with session.transaction() as tx:
            [[plan]] = tx.fetch_one("EXPLAIN (ANALYZE, BUFFERS, FORMAT JSON) " + outbox._PENDING,
                                    {"limit": 9, "low": mark.low})  # fmt: skip
        assert plan["Plan"]["Shared Hit Blocks"] < 50


def test_a_transaction_that_writes_and_ends_late_holds_the_mark_until_it_has_ended(
    session, database_settings
):
    mark = NeverBelow()
    with closing(other(database_settings)) as late:
        StoreTransaction(late).send(note("late"))
        for n in range(3):
            send(session, note(f"m{n}"))
            assert claim(session, mark) == [f"m{n}"]
        assert claim(session, mark) == []
        late.commit()
        assert claim(session, mark) == ["late"]


def test_a_transaction_that_begins_early_and_writes_late_is_not_skipped(session, database_settings):
    mark = NeverBelow()
    with closing(other(database_settings)) as late, late.cursor() as cursor:
        cursor.execute("SELECT now()")
        for n in range(3):
            send(session, note(f"m{n}"), note(f"later{n}", delay_s=60.0))
            assert claim(session, mark) == [f"m{n}"]
        assert claim(session, mark) == []
        tx = StoreTransaction(late)
        tx.send([note("late"), note("soon", delay_s=0.001)])
        outbox.hasten(tx, "q", "", ["Note"])
        late.commit()
    assert set(claim(session, mark)) == {"late", "soon", "later0", "later1", "later2"}


def test_rows_of_one_order_are_claimed_as_they_were_written_whichever_transaction_began_first(
    session, database_settings
):
    """OUT2: also where the limit of a claim is between them."""
    with closing(other(database_settings)) as late, late.cursor() as cursor:
        cursor.execute("SELECT now()")
        send(session, note("first", "o"))
        StoreTransaction(late).send(note("second", "o"))
        late.commit()
    mark = NeverBelow()
    assert [claim(session, mark, 1) for _ in range(3)] == [["first"], ["second"], []]


def test_what_is_due_before_the_mark_for_whatever_reason_is_found_by_a_claim_that_looks_below(session):
    """LOW1."""
    mark = LowMark()
    send(session, note("a"))
    assert [claim(session, mark), claim(session, mark)] == [["a"], []]
    assert mark.low is not None
    send(session, note("b"), note("c"))
    with session.transaction() as tx:
        tx.execute("UPDATE ordermq.outbox SET available_at = now() - interval '1 hour'")
    assert claim(session, mark) == []
    mark._look_at_s = 0.0
    assert claim(session, mark, 1) == ["b"]
    assert claim(session, mark, 1) == ["c"]


@pytest.mark.parametrize("seed", range(6))
def test_no_row_is_skipped_however_transactions_and_claims_follow_each_other(
    session, database_settings, seed
):
    """Nothing looks below the mark here, and it rises all the time."""
    rng, mark, marks = Random(seed), NeverBelow(), set()
    sent = 0
    with old_snapshot(database_settings):
        writers = [Writer(database_settings, rng, f"w{n}") for n in range(4)]
        for _ in range(400):
            if rng.random() < 0.4:
                claim(session, mark, rng.choice((1, 3, 100)), deletes=rng.random() < 0.9)
                marks.add(mark.low)
            else:
                rng.choice(writers).step()
        for writer in writers:
            writer.close()
            sent += writer.sent
        wait_until(lambda: not claim(session, mark) and rows(session) == 0, 20, what="an empty outbox")
    assert sent > 50
    assert len(marks) > 5


def rows(session):
    with session.transaction() as tx:
        return tx.fetch_one("SELECT count(*) FROM ordermq.outbox")[0]


class Writer:
    """Begins, reads, writes rows for now and for soon, hastens, and commits or not, in any order."""

    def __init__(self, settings, rng, name):
        self.sent = 0
        self._rng, self._name, self._written = rng, name, 0
        self._connection = other(settings)
        self._cursor = self._connection.cursor()

    def step(self):
        tx = StoreTransaction(self._connection)
        match self._rng.randrange(8):
            case 0:
                self._cursor.execute("SELECT now()")
            case 1 | 2:
                tx.send([self._note() for _ in range(self._rng.randint(1, 5))])
            case 3:
                outbox.hasten(tx, "q", self._name, ["Note"])
                self.end()  # it has locked rows that a claim may delete
            case 4:
                self._cursor.execute("SAVEPOINT s")
                tx.send([self._note()])
                if self._rng.random() < 0.5:
                    self._cursor.execute("ROLLBACK TO s")
            case _:
                self.end()

    def end(self):
        if self._connection.get_transaction_status() == TRANSACTION_STATUS_IDLE:
            return
        if self._rng.random() < 0.2:
            self._connection.rollback()
        else:
            self._connection.commit()
            self.sent += self._written
        self._written = 0

    def close(self):
        self.end()
        self._connection.close()

    def _note(self):
        self._written += 1
        delay_s = self._rng.choice((0.0, 0.0, 0.001, 0.05, 0.5))
        return note(
            f"{self._name}:{self.sent}:{self._written}:{self._rng.random()}", self._name, delay_s=delay_s
        )


def test_a_relay_keeps_a_mark(rig):
    relay = rig.relay()
    rig.send("batch", *probes(10))
    wait_until(lambda: relay._mark.low is not None, 20, what="a mark")
