"""What is looked up by its key stays cheap while an old snapshot keeps every row that was deleted since.

The tables are empty for the statistics then, and to read a whole index seems as cheap as to look up one key.
"""

from contextlib import closing

import pytest
from psycopg2.sql import SQL, Identifier

from ordermq.message import Command, Payload
from ordermq.store import Session, leases, outbox, starts
from ordermq.store.connecting import connect
from ordermq.store.numbering import Sequencer
from tests.support.snapshots import old_snapshot

DEAD = 5000
OWNER = "o"
IDS = [f"m{n}" for n in range(20)]
TABLES = ("outbox", "leases", "starts", "unnumbered")

_FILL = """
    INSERT INTO ordermq.outbox (routing_key, message_id, type, version, correlation_id, traceparent,
                                occurred_at, body)
    SELECT 'q', 'old' || n, 'Note', 1, '', '', now(), '{}' FROM generate_series(1, %(dead)s) AS n;
    INSERT INTO ordermq.leases (queue, message_id, owner, lease_until)
    SELECT 'q', 'old' || n, 'o', now() + interval '1 hour' FROM generate_series(1, %(dead)s) AS n;
    INSERT INTO ordermq.starts (queue, message_id)
    SELECT 'q', 'old' || n FROM generate_series(1, %(dead)s) AS n;
    INSERT INTO ordermq.unnumbered (source, subjects, numbers, oldest, newest)
    SELECT 'nothing', ARRAY['s'], ARRAY[n], now(), now() FROM generate_series(1, %(dead)s) AS n;
"""

# Entries that any index of the tables returned in this transaction, and rows that were read without one.
_READ = """
    SELECT sum(pg_stat_get_xact_tuples_returned(c.oid))
      FROM pg_class AS c LEFT JOIN pg_index AS i ON i.indexrelid = c.oid
     WHERE coalesce(i.indrelid, c.oid) = ANY(%s::regclass[])
"""


class Note(Payload):
    order_id: str = ""


@pytest.fixture
def session(database_settings):
    """Of a database whose queues of work are empty, and were not a moment ago."""
    with closing(connect(database_settings, name="filler")) as filler, old_snapshot(database_settings):
        filler.autocommit = True
        with filler.cursor() as cursor:
            cursor.execute(_FILL, {"dead": DEAD})
            for table in map(Identifier, TABLES):
                cursor.execute(SQL("DELETE FROM ordermq.{}").format(table))
                cursor.execute(SQL("VACUUM (ANALYZE) ordermq.{}").format(table))
        session = Session(database_settings, name="test")
        yield session
        session.close()


def read_by(session, call, *args, **options):
    """How many entries it read."""
    names = [f"ordermq.{table}" for table in TABLES]
    with session.transaction() as tx:
        (before,) = tx.fetch_one(_READ, (names,))
        call(tx, *args, **options)
        (after,) = tx.fetch_one(_READ, (names,))
    return int(after - before)


def test_leases_and_starts_are_looked_up_by_their_keys(session):
    lease = {"owner": OWNER, "lease_s": 60.0}
    asked = [(each, 0) for each in IDS]
    reads = {
        "take": read_by(session, leases.take, "q", IDS, **lease, asked=asked),
        "taken": read_by(session, leases.take, "q", IDS, **lease),
        "retake": read_by(session, leases.retake, "q", IDS, **lease),
        "left": read_by(session, leases.left, "q", IDS),
        "release": read_by(session, leases.release, "q", IDS, OWNER),
        "begin": read_by(session, starts.begin, "q", IDS),
        "begun": read_by(session, starts.begin, "q", IDS),
        "end": read_by(session, starts.end, "q", IDS),
    }
    assert {call: read for call, read in reads.items() if read > DEAD / 10} == {}


def test_rows_of_the_outbox_are_looked_up_by_their_keys(session):
    with session.transaction() as tx:
        tx.send([Command("q", each, each, Note(order_id=each)) for each in IDS])
        ids = [row[0] for row in tx.fetch_all("SELECT outbox_id FROM ordermq.outbox")]
    refusals = [(each, "returned", 60.0) for each in ids]
    reads = {
        "refused": read_by(session, outbox.refused, refusals),
        "release": read_by(session, outbox.release, "q", limit=9),
        "delete": read_by(session, outbox.delete, ids),
    }
    assert {call: read for call, read in reads.items() if read > DEAD / 10} == {}


def test_records_that_get_positions_are_looked_up_by_their_keys(session):
    sequencer = Sequencer(every_s=0.0)
    assert sequencer(session, is_active=True) == 0
    with session.transaction() as tx:
        tx.execute(_FILL.split(";")[3], {"dead": len(IDS)})
    with session.transaction() as tx:
        (before,) = tx.fetch_one(_READ, (["ordermq.unnumbered"],))
        assert sequencer._number(tx, look_below=False) == len(IDS)
        (after,) = tx.fetch_one(_READ, (["ordermq.unnumbered"],))
    assert after - before < 1.5 * DEAD  # it begins at the low mark, and has none yet


def test_no_other_index_than_the_primary_key_finds_rows_of_the_outbox_by_their_ids(database_settings):
    """With another one the planner has a choice; it took the wrong one at some sizes of the two."""
    with closing(Session(database_settings, name="test")) as session, session.transaction(dry_run=True) as tx:
        tx.execute("ALTER TABLE ordermq.outbox DROP CONSTRAINT outbox_pkey; SET LOCAL enable_seqscan = off")
        rows = tx.fetch_all("EXPLAIN DELETE FROM ordermq.outbox WHERE outbox_id = ANY('{1,2}'::bigint[])")
    plan = "\n".join(row[0] for row in rows)
    assert "Seq Scan on outbox" in plan, plan
