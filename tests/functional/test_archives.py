"""Events of orders that are over go into files, and come back (ARC1, ARC2, ARC3, ARC4, ARC5, ARC6, CMP2)."""

import errno
import gzip
import json
import os
from contextlib import closing
from datetime import UTC, datetime
from threading import Thread
from types import SimpleNamespace

import pytest

from ordermq.audit.comparing import compare
from ordermq.audit.folder import LogFolder
from ordermq.audit.publishing import LogPublisher
from ordermq.audit.signing import new_key
from ordermq.audit.source import read_checkpoint
from ordermq.cli.audit.publishing import refuse_archived
from ordermq.cli.program import Program
from ordermq.clock import utc_now
from ordermq.errors import (
    BadInput,
    DataRefused,
    OrderArchived,
    OrderConflict,
    OrderMQError,
    OrderNotFound,
    StoreError,
    UsageError,
)
from ordermq.message import Envelope
from ordermq.shop import cancel_order, module, order_at, order_diff, order_history
from ordermq.shop.archives import choosing, creating, restoring
from ordermq.shop.archives.choosing import changed_since, month_of
from ordermq.shop.archives.creating import archive_month, plan_archive
from ordermq.shop.archives.lines import FORMAT, ArchiveReader
from ordermq.shop.archives.proving import check_against_log
from ordermq.shop.archives.restoring import restore
from ordermq.shop.cli.order import _head
from ordermq.shop.commands import CapturePayment, SendNotification, Template
from ordermq.shop.events import EventType, Step
from ordermq.shop.export import export as exported
from ordermq.shop.gateways import Captured
from ordermq.shop.handlers import CapturePaymentHandler, SendNotificationHandler
from ordermq.shop.handlers.batch import give_up
from ordermq.shop.handlers.capture import NEVER_SEEN, CaptureReply
from ordermq.shop.journal import Journal
from ordermq.shop.queries import count_cancellations
from ordermq.shop.rewind import rewind_orders
from ordermq.shop.trace import of_order
from ordermq.shop.unreadable import ask_for_person
from ordermq.store import Session
from ordermq.store.feeds import forget_feed
from ordermq.store.numbering import Sequencer
from ordermq.store.positions import unpositioned
from ordermq.task import DONE, Claim, Dead, Finished
from ordermq.testing import wait_until
from tests.support.shop import an_order, open_shop

PROGRAM = Program(None, (module,), None)
WHY = {"by": "anna@desk", "reason": "it is old"}

WAITING = """
    SELECT count(*) FROM pg_stat_activity
     WHERE datname = current_database() AND application_name = 'second' AND wait_event_type = 'Lock'
"""


class OldShop:
    """A shop with orders accepted in January and February 2024, in an audit log that was published."""

    def __init__(self, shop, folder):
        self.shop, self.session, self.folder = shop, shop.session, folder
        self.log_path, self.key = folder / "log", new_key("audit.example.com/shop")
        self.log = LogFolder(self.log_path)
        shop.load(p_1=100)
        shop.place(*(an_order(f"o-{n}") for n in range(6)))
        for order_id in ("o-0", "o-1", "o-2", "o-5"):
            self.reject(order_id)
        shop.take("inventory", "payment", "notify", "email", "dead")
        self.sql("UPDATE shop.orders SET accepted_at = '2024-01-15T12:00Z'")
        self.sql("UPDATE shop.orders SET accepted_at = '2024-02-01T00:00Z' WHERE order_id = 'o-5'")
        self.publish()
        self.january = month_of("2024-01", self.now())

    def now(self):
        with self.session.transaction() as tx:
            return tx.fetch_one("SELECT now()")[0]

    def sql(self, *statements):
        for each in statements:
            with self.session.transaction() as tx:
                tx.execute(each)

    def waiting(self):
        """Return how many transactions of the session "second" wait for a lock."""
        with closing(Session(self.shop.database.settings, name="look")) as look, look.transaction() as tx:
            return tx.fetch_one(WAITING)[0]

    def rows(self, sql):
        with self.session.transaction() as tx:
            return tx.fetch_all(sql)

    def reject(self, order_id):
        """End an order: there was no stock for it, and its customer is not told."""
        with self.session.transaction() as tx:
            journal = Journal(tx, [order_id])
            journal.record(order_id, EventType.STOCK_REJECTED, Step.RESERVE, reason='short of "ünits"\n')
            while pending := sorted(journal.orders[order_id].state.pending):
                journal.record(order_id, EventType.NOTIFICATION_SKIPPED, pending[0])
            journal.write()

    def publish(self):
        while Sequencer()(self.session, is_active=True):
            pass
        return LogPublisher(self.session, PROGRAM.records, self.log_path, self.key).publish()

    def archive(self):
        return archive_month(self.session, self.january, self.folder / "archive", **WHY)

    def found(self):
        """Return what verify --full finds, and what it says of archives."""
        said = []
        checkpoint = read_checkpoint(self.log, self.key.verifier).checkpoint
        found = compare(
            self.session, PROGRAM.records, self.log, checkpoint, self.key.verifier,
            archived=PROGRAM.archived, say=said.append,
        )  # fmt: skip
        return [(each.kind, each.where) for each in found], said

    def against_log(self, path):
        vkey = str(self.key.verifier)
        return list(check_against_log(ArchiveReader(path), str(self.log_path), vkey, lambda count: None))

    def wrong(self):
        return {each.name: each.offenders for each in self.shop.reconcile().checks if not each.is_ok}


@pytest.fixture
def old(database, tmp_path):
    with open_shop(database) as shop:
        yield OldShop(shop, tmp_path)


PAYMENT = "INSERT INTO shop.payments VALUES ('{0}', 'k-{0}', 500, 'EUR', '{1}')"
TABLE = "SELECT order_id, version, type, step, occurred_at, body FROM shop.order_events ORDER BY 1, 2"


def order_in_the_end(order_id, tx):
    return order_at(order_id, utc_now(), tx)


def diff_of_all(order_id, tx):
    accepted_at = order_history(order_id, tx)[0].event.occurred_at
    return order_diff(order_id, accepted_at, utc_now(), tx)


READS = (order_history, order_in_the_end, diff_of_all)


def test_a_month_is_archived_verified_and_restored_as_it_was(old):
    old.sql("INSERT INTO ordermq.inbox VALUES ('notify', 'o-0:2:notify', 0, 'done')")
    before, wrong = old.rows(TABLE), old.wrong()
    with old.session.transaction() as tx:
        read_before = [read("o-0", tx) for read in READS]
    planned = plan_archive(old.session, old.january)
    assert (planned.orders, len(planned.refused), planned.file) == (3, 2, None)
    assert old.rows(TABLE) == before
    done = old.archive()
    assert (done.orders, done.events, dict(done.refused)) == (
        planned.orders, planned.events, {"o-3": "it is under way", "o-4": "it is under way"},
    )  # fmt: skip
    assert {row[0] for row in old.rows(TABLE)} == {"o-3", "o-4", "o-5"}
    assert len(old.rows(TABLE)) + done.events == len(before)
    assert [each.name for each in done.file.parent.iterdir()] == [done.file.name]

    assert old.wrong() == wrong
    assert old.found() == ([], [f"{done.events} records are archived in {done.file}"])
    assert old.against_log(done.file) == []
    detail = old.shop.show("o-0")
    assert detail.events == []
    assert f"archived   its {detail.order.version} events are in {done.file}" in list(_head(detail))
    assert [(each.place, each.message_id) for each in detail.messages] == [("inbox", "o-0:2:notify")]
    with old.session.transaction() as tx:
        trace = of_order(tx, None, "o-0")
        assert any(str(done.file) in each.text for each in trace.entries)
        assert ("notify", "o-0:2:notify") in trace.messages
        with pytest.raises(OrderArchived, match=f"ordermq archive restore {done.file}"):
            exported("o-0", tx)
        assert [read("o-0", tx) for read in READS] == read_before  # out of the file
        with pytest.raises(OrderNotFound, match="there was nothing of it yet"):
            order_at("o-0", datetime(2024, 1, 1, tzinfo=UTC), tx)
        [refused] = rewind_orders(["o-0"], Step.CAPTURE, tx, **WHY)
        assert f"ordermq archive restore {done.file}" in refused.note
        assert count_cancellations(tx) == {"archived": 3, "stock_rejected": 1}
    with pytest.raises(OrderArchived, match=rf"are archived in {done.file}: restore it first"):
        refuse_archived(SimpleNamespace(archived=PROGRAM.archived, session=lambda name: old.session), "o-0")
    old.publish()  # the action of archiving it is a leaf too
    assert old.found()[0] == []

    moved = done.file.rename(old.folder / "moved.gz")
    for damage in (None, b"other bytes"):
        if damage:
            done.file.write_bytes(damage)
        with (
            old.session.transaction() as tx,
            pytest.raises(OrderArchived, match=f"ordermq archive restore {done.file}"),
        ):
            order_history("o-0", tx)
    done.file.unlink()
    assert restore(moved, old.session, **WHY, dry_run=True).events == done.events
    assert len(old.rows(TABLE)) + done.events == len(before)
    assert restore(moved, old.session, **WHY).orders == 3
    assert old.rows(TABLE) == before
    with old.session.transaction() as tx:
        name = "shop.order_events"
        assert unpositioned(tx, name, PROGRAM.records[name], limit=1) == []
    assert old.rows("SELECT count(*) FROM ordermq.unnumbered WHERE source = 'shop.order_events'") == [(0,)]
    assert (old.found(), old.wrong()) == (([], []), wrong)
    with pytest.raises(OrderConflict, match="was restored at"):
        restore(moved, old.session, **WHY)
    again = old.archive()
    assert again.file.read_bytes() == moved.read_bytes()
    assert old.found()[0] == []


def test_orders_of_one_instant_are_all_found_whatever_is_read_at_once(old, monkeypatch):
    monkeypatch.setattr(choosing, "_BATCH", 2)
    planned = plan_archive(old.session, old.january)
    assert (planned.orders, {each.order_id for each in planned.refused}) == (3, {"o-3", "o-4"})


def test_nothing_happens_to_an_archived_order(old):
    old.archive()
    with old.session.transaction() as tx, pytest.raises(OrderArchived, match="o-0: its events are archived"):
        journal = Journal(tx, ["o-0"])
        journal.record("o-0", EventType.ATTENTION_RAISED, attention="look")
    with pytest.raises(DataRefused, match="orders_in_archives_are_at_rest"):  # as old code would write it
        old.sql("UPDATE shop.orders SET version = version + 1 WHERE order_id = 'o-0'")
    with old.session.transaction() as tx:
        envelope = type("Envelope", (), {"correlation_id": "o-0"})
        ask_for_person("inventory", envelope, "of a stranger", tx)
        assert cancel_order("o-0", tx, "again").is_duplicate
    assert old.shop.order("o-0").attention_reason is None


def test_what_a_service_says_of_an_archived_order_is_kept_in_a_dead_letter(old):
    old.sql(
        PAYMENT.format("o-0", "failed"),
        "INSERT INTO shop.notifications (order_id, template, channel, number, state)"
        " VALUES ('o-0', 'order_cancelled', 'text', 0, 'failed')",
    )
    file = old.archive().file
    capture = CapturePaymentHandler(None, settles_s=0.0)

    def report(result):
        envelope = Envelope("o-0:1:payment", "CapturePayment", 1, "o-0", "", old.now())
        claim = Claim(CapturePayment(order_id="o-0"), envelope, False, 5.0)
        with old.session.transaction() as tx:
            (outcome,) = capture.complete([Finished(claim, result)], tx)
        if isinstance(outcome, Dead):  # as the consumer does
            with old.session.transaction() as tx:
                give_up(Step.CAPTURE, claim.message, outcome.reason, tx)
        return outcome

    assert report(CaptureReply("k-o-0", NEVER_SEEN)) == DONE
    kept = report(CaptureReply("k-o-0", Captured("cap_1")))
    assert isinstance(kept, Dead)
    assert "as cap_1: refund it at the payment service" in kept.reason
    assert str(file) in kept.reason
    assert old.rows("SELECT state, capture_id FROM shop.payments WHERE order_id = 'o-0'") == [
        ("captured", "cap_1")
    ]
    assert report(CaptureReply("k-o-0", Captured("cap_1"))) == DONE  # it is kept already

    def send():
        message = SendNotification(order_id="o-0", template=Template.ORDER_CANCELLED, version=2)
        envelope = Envelope("o-0:2:notify", "SendNotification", 1, "o-0", "", old.now())
        with old.session.transaction() as tx:
            (answer,) = SendNotificationHandler(None).prepare([Claim(message, envelope, False, 5.0)], tx)
        return answer

    refused = send()
    assert isinstance(refused, Dead)
    assert f"ordermq archive restore {file} --reason ..., then ordermq dead replay" in refused.reason
    restore(file, old.session, **WHY)
    assert send().text


def test_an_order_of_which_a_service_may_still_tell_something_is_not_archived(old):
    old.sql(
        "INSERT INTO ordermq.leases VALUES ('notify', 'o-0:3:notify', 'a consumer', '2024-02-02')",
        PAYMENT.format("o-1", "unknown"),
    )
    done = old.archive()
    assert done.orders == 1
    why = dict(done.refused)
    assert why["o-0"] == "a service was asked for it and has not answered yet"
    assert why["o-1"] == "what became of its payment is not known"


@pytest.mark.parametrize("harm", ["cut", "edited", "other"])
def test_a_file_that_is_not_what_was_archived_is_not_restored(old, harm):
    path = old.archive().file
    before = old.rows(TABLE)
    lines = gzip.decompress(path.read_bytes()).splitlines(keepends=True)
    if harm == "cut":
        path.write_bytes(path.read_bytes()[:-20])
    elif harm == "edited":
        path.write_bytes(gzip.compress(b"".join(lines).replace(b"short of", b"long of")))
    else:
        path.write_bytes(gzip.compress(b"".join([*lines[:-2], lines[-1]])))
    with pytest.raises(OrderMQError, match=r"edited archive|damaged or cut"):
        for _ in ArchiveReader(path).events():
            pass
    with pytest.raises(BadInput, match="not a file that was archived here"):
        restore(path, old.session, **WHY)
    assert old.rows(TABLE) == before


@pytest.mark.parametrize(
    "change",
    [{"position": "1"}, {"body": "\ud800"}, {"order_id": 7}, {"step": []}, {"version": 1.0}, {"more": 1}],
)
def test_a_line_of_other_types_is_an_edited_archive(tmp_path, change):
    event = {
        "position": 1, "order_id": "o", "version": 1, "type": "t", "step": None, "occurred_at": "",
        "body": "{}", **change,
    }  # fmt: skip
    path = tmp_path / "a.gz"
    head = {"format": FORMAT, "month": "2024-01"}
    path.write_bytes(gzip.compress("\n".join(map(json.dumps, (head, event))).encode()))
    with pytest.raises(BadInput, match="edited archive"):
        list(ArchiveReader(path).events())


def test_an_archive_with_a_new_last_line_is_found_by_the_log(old):
    path = old.archive().file
    events = [each for each in ArchiveReader(path).events() if each.order_id != "o-1"]
    events[0] = events[0]._replace(body=events[0].body.replace("EUR", "USD"))
    with path.open("wb") as file:
        writer = creating.ArchiveWriter(file, "2024-01")
        for each in events:
            writer.add(each)
        writer.finish()
    assert sum(1 for _ in ArchiveReader(path).events()) == len(events)  # whole, and false
    [found] = old.against_log(path)
    assert (found.kind, "event 1 of order o-0" in found.where) == ("edited archive", True)


def test_events_marked_as_archived_that_no_archive_has_are_found(old):
    old.archive()
    old.sql(
        "UPDATE shop.orders SET archive_id = 1, archived_version = version WHERE order_id = 'o-5'",
        "DELETE FROM shop.order_events WHERE order_id = 'o-5'",
    )
    [(kind, where)] = old.found()[0]
    assert (kind, where.startswith("archive 1, ")) == ("removed row", True)
    assert "archives_agree" in old.wrong()


def raise_no_space(path):
    raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))


def test_a_run_that_dies_before_the_removal_has_removed_nothing_and_the_next_one_goes_on(old, monkeypatch):
    before = old.rows(TABLE)
    monkeypatch.setattr(creating, "_remove", lambda *args, **kwargs: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        old.archive()
    assert old.rows(TABLE) == before
    monkeypatch.undo()
    monkeypatch.setattr(creating, "sync_folder", raise_no_space)
    with pytest.raises(UsageError, match="No space left on device; nothing was archived"):
        old.archive()
    assert (old.rows(TABLE), old.rows("TABLE shop.archives")) == (before, [])
    monkeypatch.undo()
    file = old.archive().file
    assert list(file.parent.iterdir()) == [file]


def test_what_a_transaction_wrote_for_which_the_last_look_waited_is_seen(old):
    """ARC2: a text is about to be sent again; its order has the same version."""
    found, orders = [], {"o-0": old.shop.order("o-0").version}

    def look():
        settings = old.shop.database.settings
        with closing(Session(settings, name="second")) as session, session.transaction() as tx:
            found.extend(changed_since(orders, tx))

    looking = Thread(target=look)
    with old.session.transaction() as tx:
        Journal(tx, ["o-0"])
        tx.execute("INSERT INTO ordermq.leases VALUES ('notify', 'o-0:2:notify', 'a consumer', now())")
        looking.start()
        wait_until(lambda: old.waiting() == 1, 10, what="a lock that is waited for")
    looking.join(10)
    assert [each.why for each in found] == ["a service was asked for it and has not answered yet"]


def test_an_order_that_changes_while_the_file_is_written_stops_the_run(old, monkeypatch):
    before = old.rows(TABLE)
    check_same = creating._check_same

    def change(*args):
        check_same(*args)
        settings = old.shop.database.settings
        with closing(Session(settings, name="late")) as session, session.transaction() as tx:
            journal = Journal(tx, ["o-1"])
            journal.record("o-1", EventType.ATTENTION_RAISED, attention="look")
            journal.write()

    monkeypatch.setattr(creating, "_check_same", change)
    with pytest.raises(OrderConflict, match=r"o-1 \(a person has to look at it\): nothing was archived"):
        old.archive()
    assert len(old.rows(TABLE)) == len(before) + 1
    assert list((old.folder / "archive").iterdir()) == []
    assert old.rows("TABLE shop.archives") == []
    monkeypatch.undo()
    why = dict(old.archive().refused)
    assert why["o-1"] == "a person has to look at it"


def test_of_two_runs_at_once_one_archives_and_its_file_stays(old, monkeypatch):
    """ARC5."""
    before = old.rows(TABLE)
    check_same, done = creating._check_same, []

    def overtake(*args):
        check_same(*args)
        monkeypatch.undo()
        with closing(Session(old.shop.database.settings, name="other")) as other:
            done.append(archive_month(other, old.january, old.folder / "archive", **WHY))

    monkeypatch.setattr(creating, "_check_same", overtake)
    with pytest.raises(OrderConflict, match="it is gone, or archived"):
        old.archive()
    [first] = done
    assert list(first.file.parent.iterdir()) == [first.file]
    restore(first.file, old.session, **WHY)
    assert old.rows(TABLE) == before


def test_of_two_restores_at_once_one_restores(old, monkeypatch):
    before, file = old.rows(TABLE), old.archive().file
    registered = restoring._registered

    def overtake(*args):
        found = registered(*args)
        monkeypatch.undo()
        with closing(Session(old.shop.database.settings, name="other")) as other:
            restore(file, other, **WHY)
        return found

    monkeypatch.setattr(restoring, "_registered", overtake)
    with pytest.raises(OrderConflict, match=r"no order waits for .* it was restored meanwhile"):
        restore(file, old.session, **WHY)
    assert old.rows(TABLE) == before


def test_a_file_that_is_changed_while_it_is_restored_is_refused(old, monkeypatch):
    file = old.archive().file
    before, lines = old.rows(TABLE), gzip.decompress(file.read_bytes()).splitlines(keepends=True)
    edited = [
        event._replace(body=event.body.replace("short of", "long of"))
        for event in ArchiveReader(file).events()
    ]
    registered = restoring._registered

    def edit(*args):
        with file.open("wb") as out:
            writer = creating.ArchiveWriter(out, "2024-01")
            for each in edited:
                writer.add(each)
            writer.finish()
        return registered(*args)

    monkeypatch.setattr(restoring, "_registered", edit)
    with pytest.raises(BadInput, match="changed while it was read: nothing was restored"):
        restore(file, old.session, **WHY)
    assert old.rows(TABLE) == before
    assert len(lines) == len(edited) + 2


def test_what_is_not_in_the_log_yet_and_a_month_that_goes_on_are_refused(old):
    old.reject("o-3")
    old.shop.take("notify", "email")
    assert dict(plan_archive(old.session, old.january).refused)["o-3"] == "an event of it has no position yet"
    while Sequencer()(old.session, is_active=True):
        pass
    assert dict(plan_archive(old.session, old.january).refused)["o-3"] == "it is not in the audit log yet"
    old.publish()
    assert "o-3" not in dict(plan_archive(old.session, old.january).refused)
    old.sql("INSERT INTO ordermq.feeds (feed) VALUES ('kafka:orders.events'), ('events')")
    for feed in ("kafka:orders.events", "events"):
        refused = dict(plan_archive(old.session, old.january).refused)
        assert "has not sent all of its events yet" in refused["o-3"]
        with old.session.transaction() as tx:
            forget_feed(tx, feed)
    assert "o-3" not in dict(plan_archive(old.session, old.january).refused)
    for text in ("2026-13", "january", f"{old.now():%Y-%m}", "9999-12", "0000-01"):
        with pytest.raises(UsageError, match=text):
            month_of(text, old.now())


FINAL = ("shop.order_events", "shop.archives", "shop.restored_archives")
STATEMENTS = (
    "UPDATE {} SET {} = {}", "UPDATE {} SET {} = {} WHERE false",
    "DELETE FROM {}", "DELETE FROM {} WHERE false", "TRUNCATE {} CASCADE",
)  # fmt: skip

_RIGHTS = """
    SELECT grantee, privilege_type FROM information_schema.role_table_grants
     WHERE grantee <> current_user AND privilege_type IN ('UPDATE', 'DELETE', 'TRUNCATE', 'TRIGGER')
       AND table_schema || '.' || table_name = ANY(%s)
"""


def test_no_statement_changes_or_empties_the_history_not_even_its_owner_s(old):
    old.archive()
    for table in FINAL:
        column = {"shop.archives": "orders", "shop.order_events": "version"}.get(table, "restored_by")
        for each in STATEMENTS:
            with pytest.raises(StoreError, match="is refused"):
                old.sql(each.format(table, column, column))
    with old.session.transaction() as tx:
        assert tx.fetch_all(_RIGHTS, (list(FINAL),)) == []
