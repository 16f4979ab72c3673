"""What retention deletes and what it keeps, each for its reason. RET1 to RET4 of store/retention.py."""

import random
import threading
import time

import pytest

from ordermq.clock import utc_now
from ordermq.config.settings import RetentionSettings
from ordermq.message import Command, Envelope, Payload
from ordermq.observe import trace
from ordermq.store import Session, dead_letters, inbox, leases, retention, starts
from ordermq.store.retention import START, Table
from ordermq.store.starts import Started
from tests.support.inbox import settled

DAY_S = 86_400.0
AGES = RetentionSettings(inbox_s=30 * DAY_S, dead_letters_s=30 * DAY_S)


class Note(Payload):
    order_id: str


@pytest.fixture
def session(database_settings):
    session = Session(database_settings, name="test")
    with session.transaction() as tx:
        inbox.settle(tx, "q", [("new", 0)], "done")  # the queue works
    yield session
    session.close()


def settle(session, message_id, days, outcome="done", queue="q"):
    with session.transaction() as tx:
        inbox.settle(tx, queue, [(message_id, 0)], outcome)
        age(tx, "inbox", "settled_at", message_id, days)


def age(tx, table, column, message_id, days):
    tx.execute(
        f"UPDATE ordermq.{table} SET {column} = now() - %s * interval '1 day' WHERE message_id = %s",  # noqa: S608 # constants
        (days, message_id),
    )


def give_up(tx, message_id, **changes):
    envelope = Envelope(
        message_id=message_id, type="Note", version=1, correlation_id="o",
        traceparent=trace.new(), occurred_at=utc_now(), **changes,
    )  # fmt: skip
    dead_letters.keep(tx, "q", [(envelope, b"{}", "no")])
    return next(each for each in dead_letters.select(tx) if each.message_id == message_id)


def replay(tx, message_id, days):
    dead_letters.replay(tx, give_up(tx, message_id), by="me", reason="x")
    tx.execute("DELETE FROM ordermq.outbox")
    age(tx, "dead_letters", "replayed_at", message_id, days)


def discard(tx, message_id, days):
    dead_letters.discard(tx, [give_up(tx, message_id).dead_letter_id], by="me", reason="x")
    age(tx, "dead_letters", "discarded_at", message_id, days)


def take(tx, message_id, days):
    leases.take(tx, "q", [message_id], owner="a", lease_s=-days * DAY_S)


def begin(tx, message_id, days):
    starts.put(tx, "q", {message_id: Started(1)})
    age(tx, "starts", "started_at", message_id, days)


def prune(session, *, limit=1000, gone=(), ages=AGES):
    """Delete everything that is old; return how many rows of each table, batch by batch."""
    with session.transaction() as tx:
        horizon = retention.horizon(tx, ages, gone=gone)
    found = {}
    for table in Table:
        counted = walk(session, retention.count, table, horizon, limit)
        found[table] = walk(session, retention.delete, table, horizon, limit)
        assert sum(counted) == sum(found[table])
    return found


def walk(session, step, table, horizon, limit):
    rows, after = [], START
    while after is not None:
        with session.transaction() as tx:
            batch = step(tx, table, horizon, after=after, limit=limit)
        rows.append(batch.rows)
        after = batch.after
    return rows


def left(session, table="inbox"):
    with session.transaction() as tx:
        return {row[0] for row in tx.fetch_all(f"SELECT message_id FROM ordermq.{table}")}  # noqa: S608 # constants


def test_what_was_settled_before_the_age_goes_and_nothing_younger(session):
    for days, outcome in ((29.9, "done"), (30.1, "done"), (31, "retry"), (400, "dead"), (500, "postponed")):
        settle(session, f"m{days}", days, outcome)
    assert sum(prune(session)[Table.INBOX]) == 4
    assert left(session) == {"new", "m29.9"}


@pytest.mark.parametrize(
    ("why", "stays"),
    [
        (lambda tx: tx.send([Command("q", "m", "o", Note(order_id="o"), delay_s=60.0)]), True),
        (lambda tx: tx.send([Command("elsewhere", "m", "o", Note(order_id="o"))]), False),
        (lambda tx: give_up(tx, "m"), True),
        (lambda tx: replay(tx, "m", 1), True),
        (lambda tx: discard(tx, "m", 29), True),
        (lambda tx: discard(tx, "m", 31), False),
        (lambda tx: (replay(tx, "m", 50), give_up(tx, "m", replay_no=1)), True),
        (lambda tx: take(tx, "m", -1), True),
        (lambda tx: take(tx, "m", 29), True),
        (lambda tx: take(tx, "m", 31), False),
        (lambda tx: begin(tx, "m", 29), True),
        (lambda tx: begin(tx, "m", 31), False),
    ],
    ids=[
        "waits in the outbox", "another queue's waits in the outbox", "its letter is open",
        "its letter was replayed of late", "its letter was discarded of late", "discarded long ago",
        "replayed long ago and dead again", "its lease lives", "its lease ran out of late",
        "its lease ran out long ago", "it was begun of late", "it was begun long ago",
    ],
)  # fmt: skip
def test_an_old_row_stays_while_anything_else_is_known_of_its_message(session, why, stays):
    settle(session, "m", 60, "retry")
    with session.transaction() as tx:
        why(tx)
    assert sum(prune(session)[Table.INBOX]) == (not stays)
    assert left(session) == ({"new", "m"} if stays else {"new"})


def test_a_letter_goes_by_when_it_was_decided_about_and_never_while_it_is_open(session):
    with session.transaction() as tx:
        replay(tx, "replayed", 31)
        discard(tx, "discarded", 31)
        replay(tx, "replayed of late", 29)
        give_up(tx, "open")
        tx.execute("UPDATE ordermq.dead_letters SET died_at = now() - interval '900 days'")
    assert sum(prune(session)[Table.DEAD_LETTERS]) == 2
    assert left(session, "dead_letters") == {"replayed of late", "open"}


@pytest.mark.parametrize(("table", "leave"), [(Table.LEASES, take), (Table.STARTS, begin)])
def test_what_a_lost_message_left_goes_when_nothing_younger_is_known_of_it(session, table, leave):
    with session.transaction() as tx:
        for message_id in ("lost", "dead", "waits", "settled"):
            leave(tx, message_id, 31)
        leave(tx, "of late", 29)
        give_up(tx, "dead")
        tx.send([Command("q", "waits", "o", Note(order_id="o"))])
        inbox.settle(tx, "q", [("settled", 0)], "postponed")
    assert sum(prune(session)[table]) == 1
    assert left(session, table) == {"dead", "waits", "settled", "of late"}


def test_a_queue_that_stands_still_is_left_alone_until_it_works_again_or_is_gone(session):
    # RET2: settled and not acked, a delivery may stand in it for as long as nobody consumes it.
    settle(session, "m", 60, queue="still")
    settle(session, "last", 16, queue="still")
    with session.transaction() as tx:
        horizon = retention.horizon(tx, AGES)
    assert (horizon.queues, horizon.idle) == (["q"], ["still"])
    assert sum(prune(session)[Table.INBOX]) == 0
    settle(session, "next", 0, queue="still")
    assert sum(prune(session)[Table.INBOX]) == 1
    settle(session, "old", 60, queue="removed")
    assert sum(prune(session, gone=["removed"])[Table.INBOX]) == 1


def test_no_batch_deletes_more_than_its_limit_however_many_were_settled_in_one_instant(session):
    # RET4
    with session.transaction() as tx:
        inbox.settle(tx, "q", [(f"m{n}", 0) for n in range(250)], "done")
        tx.execute(
            "UPDATE ordermq.inbox SET settled_at = now() - interval '60 days' WHERE message_id <> 'new'"
        )
        for n in range(25):
            give_up(tx, f"m{n}")
    batches = prune(session, limit=20)[Table.INBOX]
    assert (max(batches), sum(batches)) == (20, 225)
    assert sum(prune(session, limit=20)[Table.INBOX]) == 0
    assert left(session) == {"new", *(f"m{n}" for n in range(25))}


def test_what_a_consumer_has_locked_is_left_for_the_next_time_and_not_waited_for(session, database_settings):
    # RET3
    settle(session, "busy", 60, "retry")
    settle(session, "m", 60)
    other = Session(database_settings, name="test")
    with other.transaction() as tx:
        inbox.settle(tx, "q", [("busy", 1)], "done")
        began_s = time.monotonic()
        assert sum(prune_inbox(session)) == 1
        assert time.monotonic() - began_s < database_settings.lock_timeout_s
    assert sum(prune_inbox(session)) == 0
    assert left(session) == {"new", "busy"}
    other.close()


def prune_inbox(session):
    with session.transaction() as tx:
        horizon = retention.horizon(tx, AGES)
    return walk(session, retention.delete, Table.INBOX, horizon, 1000)


def test_a_message_that_comes_again_while_its_row_is_deleted_waits_for_that_batch_and_is_settled(
    session, database_settings
):
    settle(session, "m", 60, "retry")
    other = Session(database_settings, name="test")
    won = []

    def comes_again():
        with other.transaction() as tx:
            won.extend(inbox.settle(tx, "q", [("m", 1)], "done"))

    thread = threading.Thread(target=comes_again)
    with session.transaction() as tx:
        horizon = retention.horizon(tx, AGES)
        assert retention.delete(tx, Table.INBOX, horizon, after=START, limit=10).rows == 1
        thread.start()
        thread.join(0.3)
        assert thread.is_alive()
    thread.join()
    assert won == ["m"]
    assert left(session) == {"new", "m"}
    other.close()


def test_consumers_and_two_prunes_at_the_same_rows_neither_deadlock_nor_lose_a_settlement(
    session, database_settings
):
    ids = [f"m{n:03}" for n in range(400)]
    with session.transaction() as tx:
        inbox.settle(tx, "q", [(each, 0) for each in ids], "retry")
        tx.execute(
            "UPDATE ordermq.inbox SET settled_at = now() - interval '60 days' - random() * interval '9 days'"
            " WHERE message_id <> 'new'"
        )
    errors, won, pruned = [], [], []

    def consume(seed):
        rng, mine = random.Random(seed), Session(database_settings, name="test")
        try:
            for _ in range(15):
                with mine.transaction() as tx:
                    settled = inbox.settle(tx, "q", [(each, 1) for each in rng.sample(ids, 40)], "done")
                won.extend(settled)
        except Exception as exc:
            errors.append(exc)
        mine.close()

    def delete():
        mine = Session(database_settings, name="test")
        try:
            with mine.transaction() as tx:
                horizon = retention.horizon(tx, AGES)
            pruned.extend(walk(mine, retention.delete, Table.INBOX, horizon, 7))
        except Exception as exc:
            errors.append(exc)
        mine.close()

    threads = [threading.Thread(target=consume, args=(seed,)) for seed in range(4)]
    threads += [threading.Thread(target=delete) for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert errors == []
    assert len(won) == len(set(won))
    with session.transaction() as tx:
        done = tx.fetch_all("SELECT message_id FROM ordermq.inbox WHERE outcome = 'done' AND hop = 1")
    assert {row[0] for row in done} == set(won)
    prune_inbox(session)
    assert left(session) == {"new", *won}


def test_a_message_that_comes_after_its_row_has_gone_is_handled_as_if_it_were_new(session):
    # What the age means: within it a duplicate is recognised, after it nobody can know.
    settle(session, "m", 31)
    with session.transaction() as tx:
        assert settled(tx, "q", [("m", 0)]) == {"m"}
    prune(session)
    with session.transaction() as tx:
        assert settled(tx, "q", [("m", 0)]) == set()
        assert inbox.settle(tx, "q", [("m", 0)], "done") == {"m"}


def test_the_old_part_of_a_long_history_is_found_without_reading_the_rest(session):
    with session.transaction() as tx:
        tx.execute(
            "INSERT INTO ordermq.inbox SELECT 'q', md5(n::text), 0, 'done', now() - n * interval '30 s'"
            " FROM generate_series(1, 100000) AS n"
        )
        tx.execute("ANALYZE ordermq.inbox")
        horizon = retention.horizon(tx, AGES)
        for statement in (retention.UNTIL, retention.DELETE[Table.INBOX]):
            params = {**horizon._asdict(), "after": START, "until": horizon.inbox_before, "limit": 1000}
            plan = "\n".join(row[0] for row in tx.fetch_all("EXPLAIN " + statement, params))
            assert "inbox_settled" in plan
            assert "Seq Scan on inbox" not in plan
