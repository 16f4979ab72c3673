"""A log of a shop's events and actions: whatever is changed later is found and named (CMP1, PBL1, PBL2)."""

import json
import shutil
from random import Random

import pytest

from ordermq.audit import publishing
from ordermq.audit.checking import check_consistency
from ordermq.audit.comparing import compare
from ordermq.audit.entries import entry_of
from ordermq.audit.folder import LogFolder
from ordermq.audit.publishing import LogPublisher, only_publisher
from ordermq.audit.signing import new_key, opened
from ordermq.audit.source import read_checkpoint
from ordermq.audit.tiles import TILE_WIDTH, bundle
from ordermq.cli import app
from ordermq.cli.program import Program
from ordermq.cli.run import run
from ordermq.errors import NotProven, UsageError
from ordermq.shop import cancel_order, module, place_orders
from ordermq.store import Session, actions
from ordermq.store.bundles import bundles_between
from ordermq.store.numbering import Sequencer
from ordermq.store.positions import count_positions, records_between
from tests.support.audit_log import independent, needs_aics
from tests.support.shop import an_order

SOURCES = Program(None, (module,), None).records
ORDERS = 300


class ShopLog:
    """A shop whose events and actions are in a log."""

    def __init__(self, database, folder, key):
        self.postgres, self.name = database.postgres, database.name
        self.session = Session(database.settings, name="test")
        self.folder, self.key = folder, key
        self.files = LogFolder(folder)
        self.next = 0

    def place(self, count):
        """Place so many orders, and record an action of each fifty."""
        some = [an_order(f"A-{self.next + n}") for n in range(count)]
        self.next += count
        with self.session.transaction() as tx:
            place_orders(some, tx)
            for each in some[::50]:
                actions.record(tx, "anna@desk", "order.resolve", [f"order {each.order_id}"], "as they asked")
        Sequencer()(self.session, is_active=True)

    def publisher(self, key=None, folder=None):
        return LogPublisher(self.session, SOURCES, folder or self.folder, key or self.key)

    def publish(self):
        return self.publisher().publish()

    def as_superuser(self, *statements):
        """Change rows while no trigger fires."""
        for each in statements:
            sql = f"SET session_replication_role = replica; {each} RETURNING 1"
            assert self.postgres.sql(sql, database=self.name, superuser=True).strip(), each

    def found(self, key=None):
        """Return what verify --full finds: kind and place of each."""
        key = (key or self.key).verifier
        checkpoint = read_checkpoint(self.files, key).checkpoint
        found = compare(self.session, SOURCES, self.files, checkpoint, key)
        return [(each.kind, each.where.removeprefix(str(self.folder))) for each in found]


@pytest.fixture
def log(database, tmp_path):
    made = ShopLog(database, tmp_path / "log", new_key("audit.example.com/shop"))
    made.place(200)
    made.publish()
    made.place(ORDERS - 200)
    assert made.publish().checkpoint.size == ORDERS + ORDERS // 50
    yield made
    made.session.close()


def test_what_was_published_is_what_the_tables_have(log):
    assert log.found() == []
    assert log.publish().added == 0
    log.place(3)
    assert log.found() == []  # what is not published yet is no fault
    assert log.publish().added == 4
    assert log.found() == []


def test_the_database_puts_rows_of_all_sources_together_as_the_log_has_them(log):
    with log.session.transaction() as tx:
        count = count_positions(tx)
        found = records_between(tx, SOURCES, 0, count)
        made = bundles_between(tx, SOURCES, 0, count, TILE_WIDTH)
    entries = [entry_of(*each[1:4], each.content) for each in found]
    assert made == {
        first: bundle(entries[first : first + TILE_WIDTH]) for first in range(0, count, TILE_WIDTH)
    }


EVENT = ("shop.order_events A-7 1",)
CHANGES = {
    "edited body": (
        "UPDATE shop.order_events SET body = convert_to(replace(convert_from(body, 'UTF8'), 'A-7', 'A-8'),"
        " 'UTF8') WHERE order_id = 'A-7'",
        ("edited row", "shop.order_events A-7 1"),
    ),
    "edited column": (
        "UPDATE shop.order_events SET occurred_at = occurred_at - interval '1 s' WHERE order_id = 'A-7'",
        ("edited row", "shop.order_events A-7 1"),
    ),
    "removed": (
        "DELETE FROM shop.order_events WHERE order_id = 'A-7'",
        ("removed row", "shop.order_events A-7 1"),
    ),
    "inserted": (
        "INSERT INTO shop.order_events SELECT order_id, 2, type, step, occurred_at, body"
        " FROM shop.order_events WHERE order_id = 'A-7'",
        ("inserted row", "shop.order_events A-7 2"),
    ),
    "reordered": (
        "UPDATE ordermq.positions SET subjects[1] = subjects[2], subjects[2] = subjects[1]"
        " WHERE source = 'shop.order_events' AND subjects[1] = 'A-0'",
        ("reordered row", "ordermq.positions {first}"),
    ),
    "changed action": (
        "UPDATE ordermq.actions SET actor = 'eve@desk' WHERE action_id = 2",
        ("changed operator action", "ordermq.actions 2"),
    ),
    "removed action": (
        "DELETE FROM ordermq.actions WHERE action_id = 2",
        ("removed row", "ordermq.actions 2"),
    ),
    "truncated": (
        "DELETE FROM ordermq.positions"
        " WHERE first_position = (SELECT max(first_position) FROM ordermq.positions)",
        ("truncated tail", "ordermq.positions"),
    ),
    "removed checkpoint": (
        "DELETE FROM ordermq.checkpoints WHERE size = (SELECT max(size) FROM ordermq.checkpoints)",
        ("removed row", "ordermq.checkpoints"),
    ),
}


@pytest.mark.parametrize("name", CHANGES)
def test_a_row_that_a_superuser_changed_with_the_triggers_off_is_named(log, name):
    statement, (kind, where) = CHANGES[name]
    with log.session.transaction() as tx:
        [first] = tx.fetch_one(
            "SELECT min(first_position) FROM ordermq.positions WHERE source = 'shop.order_events'"
        )
    log.as_superuser(statement)
    assert (kind, where.format(first=first)) in log.found()


@pytest.mark.parametrize(
    ("name", "kind"),
    [
        ("tile/0/000", "replaced tile"),
        ("tile/1/000.p/1", "replaced tile"),
        ("tile/entries/000", "edited archive"),
    ],
)
def test_a_file_of_the_log_that_was_changed_is_named_and_no_row_is_blamed(log, name, kind):
    path = log.folder / name
    data = bytearray(path.read_bytes())
    data[Random(7).randrange(31)] ^= 1
    path.write_bytes(data)
    assert {each for each, _ in log.found()} == {kind}


def test_an_older_checkpoint_and_a_swapped_key_are_named(log):
    older = log.files.read("checkpoint")
    log.place(10)
    log.publish()
    newer = log.files.read("checkpoint")
    log.files.put_checkpoint(older)
    assert log.found() == [("older checkpoint", "/checkpoint")]
    log.files.put_checkpoint(newer)
    assert log.found() == []

    other = new_key(log.key.name)
    with pytest.raises(NotProven, match="swapped key"):
        log.publisher(key=other).publish()
    log.files.put_checkpoint(other.sign(opened(newer, log.key.verifier).checkpoint).encode())
    with pytest.raises(NotProven, match="swapped key"):
        log.found()
    assert {kind for kind, _ in log.found(other)} == {"swapped key"}


def test_who_has_database_and_key_can_fork_and_a_checkpoint_that_was_kept_shows_it(log):
    """No check on the spot finds a history that was signed anew. Who kept a checkpoint does, as a witness."""
    kept = opened(log.files.read("checkpoint"), log.key.verifier).checkpoint
    log.as_superuser(CHANGES["edited body"][0], "DELETE FROM ordermq.checkpoints")
    shutil.rmtree(log.folder)
    log.publish()
    assert log.found() == []
    forked = read_checkpoint(log.files, log.key.verifier).checkpoint
    assert forked.size == kept.size
    with pytest.raises(NotProven, match="forked history"):
        check_consistency(log.files, kept, forked)


def test_pbl1_nothing_is_signed_that_does_not_continue_what_was_signed(log, tmp_path):
    log.as_superuser(CHANGES["edited body"][0])
    with pytest.raises(NotProven, match="forked history"):
        log.publisher(folder=tmp_path / "another").publish()
    log.as_superuser("DELETE FROM ordermq.checkpoints")
    with pytest.raises(NotProven, match="the database does not know"):
        log.publish()
    log.as_superuser("DELETE FROM ordermq.positions")
    with pytest.raises(NotProven, match="truncated tail"):
        log.publish()


def test_a_record_that_is_gone_before_it_was_published_stops_the_log(log):
    log.place(2)
    log.as_superuser("DELETE FROM shop.order_events WHERE order_id = 'A-300'")
    with pytest.raises(NotProven, match=r"removed row: shop\.order_events A-300 1"):
        log.publish()


def test_a_folder_that_was_lost_is_written_again_from_the_database(log):
    before = {
        path.relative_to(log.folder): path.read_bytes() for path in log.folder.rglob("*") if path.is_file()
    }
    shutil.rmtree(log.folder)
    assert log.publish().added == 0
    after = {
        path.relative_to(log.folder): path.read_bytes() for path in log.folder.rglob("*") if path.is_file()
    }
    assert set(after) <= set(before)  # without the tiles that only earlier checkpoints need
    assert all(before[each] == after[each] for each in after)
    assert log.found() == []


class Crashed(Exception):
    pass


@pytest.mark.parametrize("where", ["add_checkpoint", "put_checkpoint"])
def test_pbl2_a_crash_while_publishing_is_made_good_by_the_next_run(log, monkeypatch, where):
    def crash(*_):
        raise Crashed

    log.place(5)
    with monkeypatch.context() as patch:
        patch.setattr(LogFolder if where == "put_checkpoint" else publishing, where, crash)
        with pytest.raises(Crashed):
            log.publish()
    log.place(1)
    log.publish()
    assert log.found() == []
    with log.session.transaction() as tx:
        assert read_checkpoint(log.files, log.key.verifier).checkpoint.size == count_positions(tx)


def test_two_publishers_do_not_write_into_one_folder(log):
    with only_publisher(log.folder), pytest.raises(UsageError, match="another process"):
        log.publish()


def test_the_log_holds_no_personal_data(log):
    everything = b"".join(path.read_bytes() for path in log.folder.rglob("*") if path.is_file())
    for personal in (b"4930123456", b"someone@somewhere.example", b"Some One", b"tok_0001", b"anna@desk"):
        assert personal not in everything
    assert b"A-7" in everything


@pytest.fixture
def environment(ordermq_stack, database_settings, monkeypatch):
    """Have commands that are called here find the test's database."""
    for name, value in ordermq_stack.environment().items():
        monkeypatch.setenv(name, value)
    monkeypatch.setenv("ORDERMQ_DATABASE_NAME", database_settings.name)


@pytest.fixture
def audit(log, environment, tmp_path, capfdbinary):
    """Run ``ordermq audit`` on the test's database and log; return the exit code, stdout and stderr."""
    key_file = tmp_path / "audit.key"
    key_file.write_text(log.key.file_text())

    def command(name, *words):
        key = ("--key-file", key_file) if name == "publish" else ("--key", log.key.verifier)
        where = () if "--offline" in words else ("--log", log.folder)
        code = run(app.app, "ordermq", [str(each) for each in ("audit", name, *words, *where, *key)])
        return code, *capfdbinary.readouterr()

    return command


def test_the_commands_publish_verify_and_prove_an_order_to_who_has_nothing_else(log, audit, tmp_path):
    with log.session.transaction() as tx:
        cancel_order("A-7", tx, reason="changed their mind")
    Sequencer()(log.session, is_active=True)
    code, out, _ = audit("publish", "--json")
    assert (code, json.loads(out)["added"]) == (0, 1)
    code, out, _ = audit("verify", "--full")
    assert (code, b"OK: all of it is what was signed" in out) == (0, True)
    code, proof, _ = audit("prove", "A-7")
    path = tmp_path / "A-7.tlog-proof"
    path.write_bytes(proof)
    code, out, _ = audit("verify", "--offline", path)
    assert code == 0
    assert out.decode().splitlines()[:2] == ["shop.order_events A-7 2", "shop.order_events A-7 1"]
    code, out, _ = audit("prove", "--action", 2)
    assert (code, b"c2sp.org/tlog-proof@v1" in out) == (0, True)
    code, _, error = audit("prove", "A-none")
    assert (code, b"nothing of A-none" in error) == (1, True)
    log.as_superuser(CHANGES["changed action"][0], CHANGES["edited column"][0])
    code, out, error = audit("verify", "--full", "--json")
    assert (code, {each["kind"] for each in json.loads(out)["findings"]}) == (
        1, {"edited row", "changed operator action"},
    )  # fmt: skip
    assert b"3 things in the log of audit.example.com/shop are not what was signed" in error
    code, _, error = audit("prove", "A-7")
    assert (code, b"'ordermq audit verify --full' says so" in error) == (1, True)


@needs_aics
def test_another_implementation_verifies_the_log_of_a_shop_and_the_proof_of_an_order(log, audit, tmp_path):
    assert f"size={ORDERS + ORDERS // 50}" in independent(log.folder, str(log.key.verifier))
    _, proof, _ = audit("prove", "A-7")
    path = tmp_path / "A-7.tlog-proof"
    path.write_bytes(proof)
    assert "shop.order_events', b'A-7', b'1'" in independent("--proof", path, str(log.key.verifier))
