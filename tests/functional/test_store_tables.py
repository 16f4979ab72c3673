"""The framework's tables: inbox, outbox, leases, starts, dead letters, migrations."""

import random
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing, suppress

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule, run_state_machine_as_test

from ordermq.clock import utc_now
from ordermq.errors import (
    BadInput,
    DataRefused,
    MalformedMessage,
    SchemaOutdated,
    StoreError,
    StoreUnavailable,
)
from ordermq.message import MAX_BODY_BYTES, Command, Envelope, Payload
from ordermq.observe import trace
from ordermq.store import (
    Session,
    StoreTransaction,
    actions,
    dead_letters,
    inbox,
    leases,
    migrate,
    outbox,
    starts,
)
from ordermq.store.arrays import insert_into
from ordermq.store.connecting import connect
from ordermq.store.dead_letters import Filter
from ordermq.store.migrate import Migration
from ordermq.store.outgoing import COLUMNS, OutboxRow, values
from ordermq.store.starts import Started
from ordermq.store.transaction import MANY_ROWS
from ordermq.testing import wait_until
from tests.support.inbox import settled

WAITS = "SELECT 1 FROM pg_stat_activity WHERE datname = current_database() AND wait_event_type = 'Lock'"


class Note(Payload):
    order_id: str


FRAMEWORK = migrate.migrations_of(*migrate.FRAMEWORK)


@pytest.fixture
def session(database_settings):
    session = Session(database_settings, name="test")
    yield session
    session.close()


def envelope(message_id="m", **changes):
    fixed = {"type": "Note", "version": 1, "correlation_id": "o", "traceparent": trace.new()}
    return Envelope(message_id=message_id, occurred_at=utc_now(), **(fixed | changes))


def in_transaction(session, function, *args, **kwargs):
    with session.transaction() as tx:
        return function(tx, *args, **kwargs)


# --- inbox --------------------------------------------------------------------


def test_a_hop_is_settled_once_and_a_later_hop_again_until_one_is_done(session):
    def settle(hop, outcome):
        return in_transaction(session, inbox.settle, "q", [("m", hop)], outcome)

    assert settle(0, "retry") == {"m"}
    assert settle(0, "done") == set()
    assert settle(2, "postponed") == {"m"}
    assert settle(1, "done") == set()
    assert settle(3, "done") == {"m"}
    assert settle(4, "done") == set()
    assert in_transaction(session, settled, "q", [("m", 9), ("other", 0)]) == {"m"}


def test_two_queues_know_nothing_of_each_other(session):
    assert in_transaction(session, inbox.settle, "a", [("m", 0)], "done") == {"m"}
    assert in_transaction(session, inbox.settle, "b", [("m", 0)], "done") == {"m"}


def test_a_leased_result_counts_although_its_message_was_postponed(session):
    """EXT3: what happened outside is a fact."""
    in_transaction(session, inbox.settle, "q", [("m", 0)], "postponed")
    for _ in range(2):
        in_transaction(session, inbox.complete, "q", [("m", 0)])
    assert in_transaction(session, inbox.settle, "q", [("m", 1)], "done") == set()


def test_a_rolled_back_settlement_never_was(session):
    with pytest.raises(RuntimeError), session.transaction() as tx:
        inbox.settle(tx, "q", [("m", 0)], "done")
        raise RuntimeError
    assert in_transaction(session, inbox.settle, "q", [("m", 0)], "done") == {"m"}


def test_batches_that_share_messages_settle_each_once_and_never_deadlock(session, database_settings):
    # INB1 and INB2: many threads, overlapping batches, each in an order of its own.
    ids = [f"m{n:03}" for n in range(60)]
    wins, errors = [], []

    def work(seed):
        rng = random.Random(seed)
        mine = Session(database_settings, name="test")
        for _ in range(10):
            batch = rng.sample(ids, 20)
            try:
                with mine.transaction() as tx:
                    wins.extend(inbox.settle(tx, "q", [(each, 0) for each in batch], "done"))
            except Exception as exc:
                errors.append(exc)
                break
        mine.close()

    threads = [threading.Thread(target=work, args=(seed,)) for seed in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert errors == []
    assert sorted(wins) == sorted(set(wins))


# --- outbox -------------------------------------------------------------------


def send(session, *commands):
    with session.transaction() as tx:
        tx.send(commands)


def note(message_id, order_id="o", **options):
    return Command("q", message_id, order_id, Note(order_id=order_id), **options)


def claimed(session, limit=100):
    return [each.row.envelope.message_id for each in in_transaction(session, outbox.claim, limit)]


def test_rows_come_due_in_their_order(session):
    send(session, note("a"), note("b"), note("later", delay_s=60.0))
    send(session, note("c"))
    assert claimed(session) == ["a", "b", "c"]
    assert claimed(session, 2) == ["a", "b"]


def test_a_sent_command_continues_the_trace_of_its_order_only(session):
    traceparent = trace.new()
    with session.transaction(traces={"o": traceparent}) as tx:
        tx.send([note("mine"), note("other", "p")])
    mine, other = (each.row.envelope for each in in_transaction(session, outbox.claim, 9))
    assert trace.parse(mine.traceparent).trace_id == trace.parse(traceparent).trace_id
    assert mine.traceparent != traceparent
    assert trace.parse(other.traceparent).trace_id != trace.parse(traceparent).trace_id


@pytest.mark.parametrize(("message_id", "order_id"), [("two words", "o"), ("m", "ö"), ("m", "x" * 201)])
def test_a_command_no_consumer_could_read_is_refused_where_it_is_written(session, message_id, order_id):
    with pytest.raises(MalformedMessage, match="_id is not"), session.transaction() as tx:
        tx.send([Command("q", message_id, order_id, Note(order_id="o"))])


def test_a_refused_row_holds_back_the_later_ones_of_its_order_and_no_other(session):
    """OUT2: the rows of one correlation id keep their order."""
    send(session, note("a1", "a"), note("b1", "b"), note("a2", "a"), note("m", ""), note("n", ""))
    [first, *_] = in_transaction(session, outbox.claim, 1)
    in_transaction(session, outbox.refused, [(first.outbox_id, "nacked", 30.0)])
    assert claimed(session) == ["b1", "m", "n"]
    with session.transaction() as tx:
        tx.execute("UPDATE ordermq.outbox SET available_at = now() WHERE refusals > 0")
    assert "a1" in claimed(session)
    assert "a2" not in claimed(session)
    in_transaction(session, outbox.delete, [first.outbox_id])
    assert "a2" in claimed(session)


def test_one_relay_is_active_until_its_transaction_ends(session, database_settings):
    other = Session(database_settings, name="test")
    with session.transaction() as tx:
        assert outbox.claim(tx, 9) == []
        send(other, note("a"))
        assert in_transaction(other, outbox.claim, 9) is None
    assert claimed(other) == ["a"]
    other.close()


def test_pending_counts_what_is_due_and_how_late_it_is(session):
    assert in_transaction(session, outbox.pending) == (0, 0.0)
    send(session, note("a"), note("later", delay_s=60.0))
    time.sleep(0.05)  # lateness needs time to pass
    count, oldest_s = in_transaction(session, outbox.pending)
    assert count == 1
    assert 0.05 <= oldest_s < 5.0


def test_a_claim_says_when_a_message_was_due_unless_the_broker_moved_it(session):
    send(session, note("a"), note("b", "other"))
    with session.transaction() as tx:
        tx.execute("UPDATE ordermq.outbox SET refusals = 1 WHERE message_id = 'b'")
    rows = in_transaction(session, outbox.claim, 9)
    assert {each.row.envelope.message_id: each.due_at is not None for each in rows} == {"a": True, "b": False}


# Scans of the whole table, and rows read by the index of what is due and by that of what was refused.
READ_FROM_OUTBOX = """
    SELECT pg_stat_get_xact_numscans('ordermq.outbox'::regclass),
           pg_stat_get_xact_tuples_fetched('ordermq.outbox_available'::regclass),
           pg_stat_get_xact_tuples_returned('ordermq.outbox_refused'::regclass)
"""


def read_by_a_claim(session, limit):
    with session.transaction() as tx:
        before = tx.fetch_one(READ_FROM_OUTBOX)
        assert len(outbox.claim(tx, limit) or ()) == limit
        after = tx.fetch_one(READ_FROM_OUTBOX)
    return [now - then for now, then in zip(after, before, strict=True)]


def test_a_claim_reads_what_is_due_by_its_index_though_the_outbox_was_empty_when_it_was_planned(session):
    assert claimed(session) == []
    with session.transaction() as tx:
        tx.send([note(f"p{n}", f"p{n}", delay_s=3600.0) for n in range(2000)])
        tx.send([note(f"due{n}", f"o{n}") for n in range(2000)])
    scans, due, refused = read_by_a_claim(session, 10)
    assert (scans, refused) == (0, 0)
    assert 10 <= due <= 12


def test_a_claim_looks_for_refused_rows_of_its_own_orders_though_there_were_none_when_it_was_planned(session):
    with session.transaction() as tx:
        tx.send([note(f"due{n}", f"o{n}") for n in range(2000)])
        tx.execute("ANALYZE ordermq.outbox")
    assert len(claimed(session, 10)) == 10
    with session.transaction() as tx:
        tx.send([note(f"r{n}", f"r{n}", delay_s=3600.0) for n in range(2000)])
        tx.execute("UPDATE ordermq.outbox SET refusals = 1 WHERE message_id LIKE 'r%'")
    scans, due, refused = read_by_a_claim(session, 10)
    assert (scans, refused) == (0, 0)
    assert 10 <= due <= 12


def held(message_id, order_id):
    return Command("held", message_id, order_id, Note(order_id=order_id))


def beside(session, *keys):
    rows = in_transaction(session, outbox.claim, 9, beside=keys)
    return [each.row.envelope.message_id for each in rows]


def test_a_claim_beside_queues_that_refuse_returns_no_row_of_theirs_and_none_that_waits_for_one(session):
    """OUT2: as if those rows had been refused already."""
    with session.transaction() as tx:
        tx.send([note("before", "o"), held("o1", "o")])
        tx.send([note("after", "o"), note("other", "p"), held("none1", "")])
        tx.send([note("none2", ""), note("refused", "r"), note("behind", "r")])
        tx.execute("UPDATE ordermq.outbox SET refusals = 1 WHERE message_id = 'refused'")
    assert beside(session, "held") == ["before", "other", "none2", "refused"]
    with session.transaction() as tx:
        assert outbox.park(tx, "held", "no", 60.0, limit=1) == 1
        assert outbox.park(tx, "held", "no", 60.0, limit=9) == 1
        assert outbox.park(tx, "held", "no", 60.0, limit=9) == 0
    assert beside(session, "held") == claimed(session) == ["before", "other", "none2", "refused"]


def test_parked_rows_are_released_the_least_refused_first_and_only_the_first_of_an_order(session):
    send(session, *(held(f"h{n}", f"o{n % 3}") for n in range(6)))
    with session.transaction() as tx:
        outbox.park(tx, "held", "no", 60.0, limit=9)
        tx.execute("UPDATE ordermq.outbox SET refusals = 5 WHERE message_id = 'h0'")
    with session.transaction() as tx:
        assert outbox.release(tx, "held", limit=2) == 2
    assert claimed(session) == ["h1", "h2"]
    with session.transaction() as tx:
        assert outbox.release(tx, "held", limit=9) == 1
        assert outbox.release(tx, "held", limit=9) == 0
        assert outbox.has_refused(tx, "held")
        assert not outbox.has_refused(tx, "other")


def test_statistics_of_an_empty_outbox_make_no_deletion_and_no_release_read_the_whole_table(
    session, database_settings
):
    with closing(connect(database_settings, name="test")) as connection, connection.cursor() as cursor:
        cursor.execute("VACUUM ANALYZE ordermq.outbox")
    send(session, *(held(f"h{n}", f"o{n}") for n in range(3000)))
    with session.transaction() as tx:
        [scans, *_] = tx.fetch_one(READ_FROM_OUTBOX)
        outbox.delete(tx, [each.outbox_id for each in outbox.claim(tx, 1000)])
        assert outbox.park(tx, "held", "no", 60.0, limit=1000) == 1000
        assert outbox.release(tx, "held", limit=500) == 500
        assert tx.fetch_one(READ_FROM_OUTBOX)[0] == scans
        assert tx.fetch_one("SELECT count(*) FROM ordermq.outbox") == (2000,)


def test_a_claim_where_nothing_can_be_deleted_is_none(session):
    send(session, note("a"))
    with session.transaction() as tx:
        tx.execute("SET TRANSACTION READ ONLY")
        with pytest.raises(StoreUnavailable, match="takes no writes"):
            outbox.claim(tx, 9)
    assert claimed(session) == ["a"]


def test_a_claim_has_the_columns_of_a_message(session):
    with session.transaction() as tx:
        names = tx.fetch_one("SELECT proargnames FROM pg_proc WHERE oid = 'ordermq.claim'::regproc")
    assert names is not None
    columns = COLUMNS.split(", ")
    assert names[0][-len(columns) - 1 :] == [*columns, "due_at"]


def test_a_claim_of_large_bodies_holds_fewer_rows_and_at_least_one(session, monkeypatch):
    """REL6: a claim is bounded in bytes."""
    send(session, *(note(f"m{n}", "o" * 200) for n in range(5)))
    [row, *_] = in_transaction(session, outbox.claim, 5)
    size = len(row.row.body)
    for most, rows in ((1, 1), (size, 1), (size + 1, 2), (2 * size + 1, 3), (10 * size, 5)):
        monkeypatch.setattr(outbox, "MAX_CLAIM_BYTES", most)
        assert claimed(session) == [f"m{n}" for n in range(rows)]


# --- leases and starts --------------------------------------------------------


def test_a_lease_is_one_owners_until_it_is_released_or_runs_out(session):
    def take(owner, lease_s=30.0):
        return in_transaction(session, leases.take, "q", ["m"], owner=owner, lease_s=lease_s)

    assert take("a").fresh == {"m"}
    assert 29.0 < take("b").foreign_s["m"] <= 30.0
    in_transaction(session, leases.release, "q", ["m"], "b")
    assert take("b").foreign_s
    in_transaction(session, leases.release, "q", ["m"], "a")
    assert take("b", lease_s=-1.0).fresh == {"m"}
    assert take("c").resumed == {"m"}


READ_BY_KEY = """
    SELECT pg_stat_get_xact_tuples_returned('ordermq.inbox_pkey'::regclass),
           pg_stat_get_xact_tuples_returned('ordermq.leases_pkey'::regclass)
"""


def test_who_takes_leases_reads_no_other_rows_though_there_were_none_when_it_was_planned(session):
    keys = [(f"m{n}", 0) for n in range(500)]
    in_transaction(session, leases.take, "q", ["first"], owner="a", lease_s=30.0, asked=keys[:1])
    in_transaction(session, leases.take, "q", [key[0] for key in keys], owner="b", lease_s=30.0)
    in_transaction(session, inbox.settle, "q", keys, "done")
    with session.transaction() as tx:
        before = tx.fetch_one(READ_BY_KEY)
        taken = leases.take(tx, "q", ["m1", "n"], owner="a", lease_s=30.0, asked=[*keys[:3], ("n", 0)])
        after = tx.fetch_one(READ_BY_KEY)
    assert (taken.fresh, taken.foreign_s.keys(), taken.settled) == ({"n"}, {"m1"}, {"m0", "m1", "m2"})
    assert [now - then for now, then in zip(after, before, strict=True)] == [3, 2]


def test_of_two_who_take_a_lease_at_the_same_moment_one_has_it(session, database_settings):
    def take(name):
        with closing(Session(database_settings, name=name)) as mine, mine.transaction() as tx:
            taken = leases.take(tx, "q", ["m"], owner=name, lease_s=30.0)
            if name == "first":
                late.append(pool.submit(take, "second"))
                wait_until(
                    lambda: in_transaction(session, StoreTransaction.fetch_one, WAITS), 10.0, what="a wait"
                )
        return taken

    late = []
    with ThreadPoolExecutor(1) as pool:
        assert take("first").fresh == {"m"}
        assert late[0].result(10.0).foreign_s.keys() == {"m"}


def test_whoever_finds_a_lease_taken_does_not_hold_up_its_release(session, database_settings):
    in_transaction(session, leases.take, "q", ["m"], owner="a", lease_s=30.0)
    other = Session(database_settings, name="other")
    with other.transaction() as tx:
        assert leases.take(tx, "q", ["m", "n"], owner="b", lease_s=30.0).fresh == {"n"}
        with session.transaction() as ours:
            ours.execute("SET LOCAL lock_timeout = '100ms'")
            leases.release(ours, "q", ["m"], "a")
    other.close()
    assert in_transaction(session, leases.left, "q", ["m", "n"]).keys() == {"n"}


class Leases(RuleBasedStateMachine):
    """Owners who take, keep, lose and give back leases, on the database's own clock.

    Time passes by moving every lease's end, in steps that leave no lease about to run out.
    """

    ids = st.lists(st.sampled_from(["m1", "m2", "m3"]), min_size=1, max_size=3, unique=True)
    owners = st.sampled_from(["a", "b"])

    def __init__(self, session):
        super().__init__()
        self.session = session
        self.held = {}  # message_id -> (owner, seconds left)
        with session.transaction() as tx:
            tx.execute("DELETE FROM ordermq.leases")

    @rule(ids=ids, owner=owners, lease_s=st.sampled_from([30.0, 70.0]))
    def take(self, ids, owner, lease_s):
        taken = in_transaction(self.session, leases.take, "q", ids, owner=owner, lease_s=lease_s)
        live = {each for each in ids if each in self.held and self.held[each][1] > 0}
        expired = {each for each in ids if each in self.held} - live
        assert taken.foreign_s.keys() == live
        assert taken.resumed == expired
        assert taken.fresh == set(ids) - live - expired
        for each, left_s in taken.foreign_s.items():
            assert self.held[each][1] - 9.0 < left_s <= self.held[each][1]
        self.held |= {each: (owner, lease_s) for each in taken.fresh | taken.resumed}

    @rule(ids=ids, owner=owners)
    def retake(self, ids, owner):
        mine = {each for each in ids if self.held.get(each, ("", 0))[0] == owner}
        assert in_transaction(self.session, leases.retake, "q", ids, owner=owner, lease_s=30.0) == mine
        self.held |= dict.fromkeys(mine, (owner, 30.0))

    @rule(ids=ids, owner=owners)
    def release(self, ids, owner):
        in_transaction(self.session, leases.release, "q", ids, owner)
        self.held = {each: lease for each, lease in self.held.items() if each not in ids or lease[0] != owner}

    @rule(ids=ids, owner=owners)
    def take_and_roll_back(self, ids, owner):
        with suppress(RuntimeError), self.session.transaction() as tx:
            leases.take(tx, "q", ids, owner=owner, lease_s=30.0)
            raise RuntimeError("killed before its commit")

    @rule()
    def time_passes(self):
        with self.session.transaction() as tx:
            tx.execute("UPDATE ordermq.leases SET lease_until = lease_until - interval '20 s'")
        self.held = {each: (owner, left_s - 20.0) for each, (owner, left_s) in self.held.items()}

    @invariant()
    def the_table_says_who_holds_what(self):
        with self.session.transaction() as tx:
            assert dict(tx.fetch_all("SELECT message_id, owner FROM ordermq.leases")) == {
                each: owner for each, (owner, _) in self.held.items()
            }


def test_whoever_takes_and_loses_leases_in_whatever_order_one_owner_holds_each(session):
    run_state_machine_as_test(
        lambda: Leases(session), settings=settings(max_examples=30, stateful_step_count=15)
    )


def test_starts_count_until_the_message_ends(session):
    def begin(*message_ids):
        return in_transaction(session, starts.begin, "q", message_ids)

    assert begin("m", "other") == {}
    assert begin("m", "n") == {"m": Started(1)}
    in_transaction(session, starts.put, "q", {"m": Started(3, 1)})
    in_transaction(session, starts.mark_overdue, "q", ["m", "fresh"])
    assert begin("m", "fresh") == {"m": Started(3, 2), "fresh": Started(1, 1)}
    in_transaction(session, starts.end, "q", ["m"])
    assert begin("m") == {}


def test_a_lease_is_its_owners_to_take_again_and_nobody_elses(session):
    in_transaction(session, leases.take, "q", ["m"], owner="a", lease_s=60.0)
    assert in_transaction(session, leases.retake, "q", ["m", "n"], owner="b", lease_s=60.0) == set()
    assert in_transaction(session, leases.retake, "q", ["m", "n"], owner="a", lease_s=90.0) == {"m"}
    assert 60.0 < in_transaction(session, leases.left, "q", ["m", "n"])["m"] <= 90.0


# --- dead letters -------------------------------------------------------------


def test_a_dead_letter_is_kept_once_and_replayed_under_its_own_id(session):
    letter = envelope("m", attempt=8, hop=7, first_failed_at=utc_now(), last_error="no")
    for _ in range(2):
        in_transaction(session, dead_letters.keep, "q", [(letter, b"\xff\x00", "no reason")])
    [kept] = in_transaction(session, dead_letters.select, Filter(queue="q"))
    assert (kept.body, kept.reason, kept.attempt) == (b"\xff\x00", "no reason", 8)

    assert in_transaction(session, dead_letters.replay, kept, by="me", reason="mended") is True
    assert in_transaction(session, dead_letters.replay, kept, by="you", reason="again") is False
    [again] = in_transaction(session, outbox.claim, 9)
    sent = again.row.envelope
    assert (sent.message_id, sent.attempt, sent.hop, sent.replay_no) == ("m", 1, 8, 1)
    assert (sent.first_failed_at, sent.last_error) == (None, None)
    assert in_transaction(session, dead_letters.select) == []
    [shown] = in_transaction(session, dead_letters.select, Filter(closed=True))
    assert (shown.replayed_by, shown.replay_reason) == ("me", "mended")

    in_transaction(session, dead_letters.keep, "q", [(sent, b"{}", "dead again")])
    assert [each.replay_no for each in in_transaction(session, dead_letters.select)] == [1]


@pytest.mark.parametrize(
    ("changes", "body"), [({"version": 0, "type": ""}, b"\xff"), ({}, b"x" * (MAX_BODY_BYTES + 1))]
)
def test_what_no_consumer_will_ever_read_is_not_replayed(session, changes, body):
    in_transaction(session, dead_letters.keep, "q", [(envelope("m", **changes), body, "unreadable")])
    [kept] = in_transaction(session, dead_letters.select)
    with pytest.raises(BadInput, match=r"can never be handled \(unreadable\)"):
        in_transaction(session, dead_letters.replay, kept, by="me", reason="hope")
    assert in_transaction(session, outbox.claim, 9) == []


def give_up(session, *letters):
    for number, (queue, reason, age_s) in enumerate(letters, start=1):
        letter = envelope(f"m{number}", correlation_id=f"o-{number}")
        in_transaction(session, dead_letters.keep, queue, [(letter, b"{}", reason)])
        with session.transaction() as tx:
            tx.execute(
                "UPDATE ordermq.dead_letters SET died_at = now() - %s * interval '1 s' WHERE message_id = %s",
                (age_s, f"m{number}"),
            )


LETTERS = (
    ("pay", "timeout: order 17 of 'anna' after 10 s", 7200),
    ("pay", "TIMEOUT: order 4711 of 'ben' after 3 s", 60),
    ("pay", "timeout: order 5 of 'carl' after 8 s", 60),
    ("ship", "timeout: order 6 of 'dora' after 8 s", 60),
    ("ship", "100% of $1.50 (refused)", 30),
)


@pytest.mark.parametrize(
    ("matching", "found"),
    [
        (Filter(), "m1 m2 m3 m4 m5"),
        (Filter(queue="ship"), "m4 m5"),
        (Filter(error="timeout"), "m1 m2 m3 m4"),
        (Filter(error="100% of $1.50 ("), "m5"),
        (Filter(older_than_s=3600), "m1"),
        (Filter(newer_than_s=45), "m5"),
        (Filter(correlation_id="o-2", queue="pay"), "m2"),
        (Filter(message_id="m3"), "m3"),
        (Filter(queue="pay' OR true --"), ""),
    ],
)
def test_dead_letters_are_found_by_each_filter(session, matching, found):
    give_up(session, *LETTERS)
    letters = in_transaction(session, dead_letters.select, matching)
    assert sorted(each.message_id for each in letters) == found.split()
    assert in_transaction(session, dead_letters.count, matching)[0] == len(letters)


def test_dead_letters_of_one_cause_are_one_group(session):
    give_up(session, *LETTERS)
    groups = in_transaction(session, dead_letters.group)
    assert (groups[0].count, groups[0].queue) == (2, "pay")
    assert sorted((each.count, each.queue) for each in groups[1:]) == [(1, "pay"), (1, "ship"), (1, "ship")]
    assert groups[0].reason == LETTERS[2][1]
    of_one = Filter(fingerprint=groups[0].fingerprint)
    assert {each.queue for each in in_transaction(session, dead_letters.select, of_one)} == {"pay"}


def test_a_discarded_letter_is_kept_and_can_no_longer_be_replayed(session):
    give_up(session, LETTERS[0], LETTERS[1])
    first = in_transaction(session, dead_letters.select)[-1]
    assert in_transaction(session, dead_letters.count_open) == 2
    assert in_transaction(
        session, dead_letters.discard, [first.dead_letter_id], by="me", reason="nobody wants it"
    ) == {first.dead_letter_id}
    again = in_transaction(session, dead_letters.discard, [first.dead_letter_id], by="you", reason="x")
    assert again == set()
    assert in_transaction(session, dead_letters.replay, first, by="you", reason="x") is False
    assert in_transaction(session, dead_letters.count_open) == 1
    kept = in_transaction(session, dead_letters.get, first.dead_letter_id)
    assert (kept.discarded_by, kept.discard_reason, kept.body) == ("me", "nobody wants it", b"{}")
    assert in_transaction(session, outbox.claim, 9) == []


# --- actions ------------------------------------------------------------------


def test_what_was_done_is_recorded_with_the_change_or_not_at_all(session):
    in_transaction(session, actions.record, "anna/root@shop1", "dead.replay", ["dead_letter 1"], "mended")
    with pytest.raises(RuntimeError), session.transaction() as tx:
        actions.record(tx, "ben@shop1", "dead.discard", ["dead_letter 2"], "no")
        raise RuntimeError
    (only,) = in_transaction(session, actions.select)
    assert only[2:] == ("anna/root@shop1", "dead.replay", "dead_letter 1", "mended")
    assert in_transaction(session, actions.select, subject="dead_letter 2") == []


# --- migrations ---------------------------------------------------------------


@pytest.mark.empty_database
def test_migrating_twice_and_from_two_processes_applies_each_once(database_settings):
    sessions = [Session(database_settings, name="test") for _ in range(4)]
    applied = []
    threads = [
        threading.Thread(target=lambda s=s: applied.extend(migrate.migrate(s, FRAMEWORK))) for s in sessions
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(applied, key=lambda each: each.number) == FRAMEWORK
    assert all(each.is_applied for each in migrate.status(sessions[0], FRAMEWORK))
    for session in sessions:
        session.close()


def test_a_missing_and_a_newer_migration_are_told_apart(session):
    later = Migration("ordermq", 9999, "later", "SELECT 1", True)
    with pytest.raises(SchemaOutdated, match=r"9999 is missing; run: ordermq db migrate"):
        migrate.check(session, [*FRAMEWORK, later])
    migrate.migrate(session, [*FRAMEWORK, later])
    with pytest.raises(SchemaOutdated, match="newer than this code"):
        migrate.check(session, FRAMEWORK)


@pytest.mark.empty_database
def test_an_index_whose_building_was_broken_off_is_built_anew(database):
    session = Session(database.settings, name="test")
    migrate.migrate(session, FRAMEWORK[:3])
    database.sql("CREATE INDEX inbox_settled ON ordermq.inbox (settled_at)")
    database.postgres.sql(
        "UPDATE pg_index SET indisvalid = false WHERE indexrelid = 'ordermq.inbox_settled'::regclass",
        database=database.name, superuser=True,
    )  # fmt: skip
    migrate.migrate(session, FRAMEWORK)
    session.close()
    valid = "SELECT indisvalid FROM pg_index WHERE indexrelid = 'ordermq.inbox_settled'::regclass"
    assert database.sql(valid) == "t"


def test_a_migration_that_fails_leaves_nothing_of_itself(session):
    broken = Migration("ordermq", 9999, "broken", "CREATE TABLE half (a int); SELECT 1 / 0", True)
    with pytest.raises(StoreError, match=r"migration ordermq 9999 broken: division by zero.* nothing of it"):
        migrate.migrate(session, [*FRAMEWORK, broken])
    with session.transaction() as tx:
        assert tx.fetch_one("SELECT to_regclass('half')") == (None,)


TEXTS = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"), max_size=30)


@given(st.lists(st.tuples(TEXTS, st.none() | TEXTS, st.binary(max_size=20), st.booleans()), max_size=5))
@settings(max_examples=100, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_what_is_added_is_what_is_read(session, rows):
    with session.transaction() as tx:
        tx.execute("CREATE TEMPORARY TABLE added (n int, t text, u text, b bytea, f bool) ON COMMIT DROP")
        columns = {"n": "int", "t": "text", "u": "text", "b": "bytea", "f": "bool"}
        tx.add(insert_into("added", **columns), [(n, *row) for n, row in enumerate(rows)])
        found = tx.fetch_all("SELECT t, u, b, f FROM added ORDER BY n")
    assert [(t, u, bytes(b), f) for t, u, b, f in found] == rows


def test_what_postgresql_cannot_store_is_refused_in_an_array_as_in_any_statement(session):
    for bad in ("nul\0", "lone \ud800"):
        with pytest.raises(DataRefused), session.transaction() as tx:
            tx.execute("CREATE TEMPORARY TABLE added (t text) ON COMMIT DROP")
            tx.add(insert_into("added", t="text"), [(bad,)] * MANY_ROWS)


def test_the_envelope_the_outbox_and_the_type_of_a_message_have_the_same_columns(session):
    # Columns are listed where PostgreSQL needs them: Python's lists come from Envelope.
    columns = """
        SELECT attname, format_type(atttypid, -1) FROM pg_attribute
         WHERE attrelid = %s::regclass AND attnum > 0 ORDER BY attnum
    """
    with session.transaction() as tx:
        message = tx.fetch_all(columns, ("ordermq.message",))
        table = tx.fetch_all(columns, ("ordermq.outbox",))
    assert [name for name, _ in message] == COLUMNS.split(", ")
    assert table[: len(message)] == message


def test_a_message_sent_by_sql_is_the_one_that_python_would_have_sent(session):
    row = OutboxRow("gifts", envelope(attempt=2, hop=3, replay_no=1, first_failed_at=utc_now()), b"{}")
    places = ", ".join(["%s"] * len(values(row)))
    with session.transaction() as tx:
        tx.append([row])
        tx.execute(f"SELECT ordermq.send(ROW({places})::ordermq.message)", values(row))
    with session.transaction() as tx:
        by_python, by_sql = outbox.claim(tx, 10)
    assert by_sql.row == by_python.row == row
    assert by_sql.outbox_id > by_python.outbox_id
