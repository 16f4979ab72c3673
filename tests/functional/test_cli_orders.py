"""The commands on a real stack: orders go in through a file and come out completed, visible all the way."""

import gzip
import io
import json
import os
import re
import signal
from contextlib import closing, contextmanager

import pytest

from ordermq.cli.bulk import Pace
from ordermq.cli.progress import Input
from ordermq.cli.rejects import RejectsFile
from ordermq.clock import utc_now
from ordermq.errors import CommitUnknown
from ordermq.message import Envelope
from ordermq.observe import trace
from ordermq.shop.cli.placing import Placer, Transactions
from ordermq.shop.commands import ReserveStock
from ordermq.shop.events import Step
from ordermq.shop.handlers.batch import give_up
from ordermq.shop.intake import read_orders
from ordermq.shop.intake.generate import generate, json_line
from ordermq.store import Session, dead_letters
from ordermq.testing import wait_until
from tests.support.commands import Shop, page

ORDERS = [order for order in generate(60, 11) if order.card_token.endswith("0001")]
FILE = b"".join(json_line(order) for order in ORDERS)


@pytest.fixture
def shop(ordermq_stack, vhost, database, sandbox, tmp_path):
    shop = Shop(
        ordermq_stack, vhost, database, tmp_path,
        ORDERMQ_SHOP_PAYMENT_URL=sandbox.payment_url, ORDERMQ_SHOP_SMS_URL=sandbox.sms_url,
    )  # fmt: skip
    yield shop
    shop.close()


def load_stock_for(shop, data, cover="1"):
    (shop.folder / "stock.csv").write_text(
        shop.ok("ordermq", "stock", "from-orders", "-", "--cover", cover, stdin=data)
    )
    return shop.ok("ordermq", "stock", "load", "stock.csv")


def test_an_order_that_was_cancelled_and_comes_again_is_counted_by_itself(shop):
    # IMP1
    load_stock_for(shop, FILE)
    shop.json("ordermq-publish", "orders", "-", stdin=FILE)
    shop.ok("ordermq", "order", "cancel", ORDERS[0].order_id, "--reason", "changed my mind")
    again = shop.json("ordermq-publish", "orders", "-", stdin=FILE)
    assert (again["accepted"], again["duplicate"], again["cancelled"]) == (0, len(ORDERS) - 1, 1)
    text = shop.ok("ordermq-publish", "orders", "-", stdin=FILE)
    assert "+ cancelled before 1 " in text


def test_orders_of_a_file_are_completed_and_reconcile(shop):
    load_stock_for(shop, FILE)
    shop.start_all()
    placed = shop.json("ordermq-publish", "orders", "-", stdin=gzip.compress(FILE))
    assert (placed["in"], placed["accepted"], placed["rejects"]) == (len(ORDERS), len(ORDERS), None)
    shop.wait_at_rest()

    counts = shop.json("ordermq", "order", "counts")
    assert counts["completed"] == len(ORDERS)
    detail = shop.json("ordermq", "order", "show", ORDERS[0].order_id)
    assert detail["order"]["status"] == "completed"
    assert [event["version"] for event in detail["events"]] == list(range(1, len(detail["events"]) + 1))
    assert isinstance(detail["events"][0]["body"], dict)
    assert {"inventory", "payment"} <= {message["queue"] for message in detail["messages"]}
    text = shop.ok("ordermq", "order", "show", ORDERS[0].order_id)
    assert "completed" in text
    assert ORDERS[0].contact.phone not in text
    assert max(map(len, text.splitlines())) <= 80
    assert "reconcile: OK" in shop.ok("ordermq", "reconcile")

    check_refund_and_return(shop, ORDERS[0])
    shop.wait_at_rest()
    detail = shop.json("ordermq", "order", "show", ORDERS[0].order_id)
    assert [each["state"] for each in detail["refunds"]] == ["refunded", "returned"]
    assert detail["order"]["refunded_minor"] == 125
    assert "paid back  1.25" in shop.ok("ordermq", "order", "show", ORDERS[0].order_id)
    assert "reconcile: OK" in shop.ok("ordermq", "reconcile")


def check_refund_and_return(shop, order):
    """Pay an amount back, and take a unit back, each asked for twice."""
    refund = ("ordermq", "order", "refund", order.order_id, "--amount", "1.25", "--reason", "late")
    assert "refund 1 of 1.25 EUR would be under way" in shop.ok(*refund, "--dry-run")
    assert "refund 1 of 1.25 EUR is under way" in shop.ok(*refund)
    assert "nothing was changed" in shop.ok(*refund)
    unit = ("--line", "1", "--quantity", "1", "--no-refund", "--reason", "broken")
    returned = shop.json("ordermq", "order", "return", order.order_id, *unit)
    assert (returned["refund_no"], returned["amount_minor"]) == (2, 0)
    assert returned["restocked"] == {order.items[0].product_id: 1}
    assert shop.json("ordermq", "order", "return", order.order_id, *unit)["is_duplicate"]
    too_much = shop.run(*refund[:4], "--line", "1", "--quantity", "99", "--reason", "x")
    assert (too_much.returncode, "are left" in too_much.stderr) == (65, True)
    alone = shop.run(*refund[:4], "--line", "1", "--reason", "x")
    assert (alone.returncode, "each --line needs one --quantity" in alone.stderr) == (64, True)
    subjects = {each["action"]: each["subject"] for each in shop.lines("ordermq", "actions")}
    assert subjects["order.refund"] == subjects["order.return"] == f"order {order.order_id}"
    assert subjects["stock.restock"] == f"product {order.items[0].product_id}"


def test_running_a_file_again_places_nothing_twice_and_counts_add_up(shop):
    bad = b'{"order_id": "half"\n'
    first = shop.json("ordermq-publish", "orders", "-", stdin=FILE[: len(FILE) // 2] + b"\n" + bad)
    again = shop.json("ordermq-publish", "orders", "-", stdin=FILE + bad)
    for summary in (first, again):
        assert summary["in"] == summary["accepted"] + summary["duplicate"] + summary["rejected"]
    assert again["duplicate"] == first["accepted"]
    assert again["accepted"] + again["duplicate"] == len(ORDERS)
    rejects = [json.loads(line) for line in (shop.folder / "rejects.jsonl").read_text().splitlines()]
    assert [each["line"] for each in rejects] == [len(ORDERS) + 1]
    assert rejects[0]["record"] == bad.decode().rstrip("\n")
    assert (shop.folder / "rejects.jsonl").stat().st_mode & 0o077 == 0


def test_an_order_id_with_other_content_is_rejected_as_a_conflict(shop):
    shop.ok("ordermq-publish", "orders", "-", stdin=FILE)
    changed = json.loads(json_line(ORDERS[0])) | {"customer_id": "somebody-else"}
    found = shop.run("ordermq-publish", "orders", "-", "--json", stdin=json.dumps(changed).encode())
    summary = json.loads(found.stdout)
    assert found.returncode == 65  # it was the only record
    assert (summary["rejected"], summary["reasons"]) == (1, {"conflict": 1})


def test_a_dry_run_places_and_changes_nothing(shop):
    assert "would set" in shop.ok(
        "ordermq", "stock", "load", "-", "--dry-run", stdin=b"product_id,units\nP,1\n"
    )
    summary = shop.json("ordermq-publish", "orders", "-", "--dry-run", stdin=FILE)
    assert summary["accepted"] == len(ORDERS)
    assert shop.lines("ordermq", "order", "list") == []
    assert shop.lines("ordermq", "stock", "show") == []


def test_an_order_can_be_cancelled_once_and_a_missing_one_not(shop):
    shop.ok("ordermq-publish", "orders", "-", stdin=FILE)
    order_id = ORDERS[0].order_id
    cancel = ("ordermq", "order", "cancel", order_id, "--reason", "changed mind")
    shop.ok(*cancel, "--dry-run")
    assert shop.json("ordermq", "order", "show", order_id)["order"]["status"] == "placed"
    assert shop.ok(*cancel) == f"order {order_id} is cancelled\n"
    for again in (cancel, (*cancel, "--dry-run")):
        assert shop.ok(*again) == f"order {order_id} is cancelled already: nothing was changed\n"
    assert shop.ok("ordermq", "actions").count("order.cancel") == 1
    missing = shop.run("ordermq", "order", "cancel", "nobody", "--reason", "x")
    assert missing.returncode == 1
    assert missing.stderr == "ordermq: error: no order 'nobody'\n"


def test_reconcile_fails_with_the_ids_of_orders_that_are_not_at_rest(shop):
    shop.ok("ordermq-publish", "orders", "-", stdin=FILE)
    found = shop.run("ordermq", "reconcile", "--json")
    assert found.returncode == 1
    report = json.loads(found.stdout)
    assert report["ok"] is False
    wrong = [check for check in report["checks"] if check["wrong"]]
    assert any(ORDERS[0].order_id in offender for check in wrong for offender in check["offenders"])


def test_a_message_that_dies_is_listed_shown_and_replayed_once(shop):
    consumer = shop.start("ordermq-consumer", "--queue", "inventory:2")
    shop.ok(
        "ordermq-publish", "messages", "-", "--routing-key", "inventory", "--type", "ReserveStock",
        "--message-id-field", "id", stdin=b'{"id": 7, "order": "none"}\n',
    )  # fmt: skip
    (letter,) = letters_when(shop, 1)
    number = str(letter["dead_letter_id"])
    assert (letter["queue"], letter["message_id"]) == ("inventory", "7")
    assert letter["reason"][:40] in shop.ok("ordermq", "dead", "show", number)
    assert number in shop.ok("ordermq", "dead", "list", "--queue", "inventory")

    replay = ("ordermq", "dead", "replay", number, "--reason", "try it")
    assert "would be replayed" in shop.ok(*replay, "--dry-run")
    assert shop.ok(*replay).startswith("replayed ")
    assert "replayed before" in shop.ok(*replay)
    shop.start("ordermq-relay")
    assert [(each["message_id"], each["replay_no"]) for each in letters_when(shop, 2)] == [("7", 1), ("7", 0)]
    assert shop.run("ordermq", "dead", "show", "999999").returncode == 1

    consumer.send(signal.SIGTERM)
    assert consumer.wait(30) == 0
    first, *_ = shop.logged("ordermq-consumer", "--queue", "inventory:2")
    assert first["service.node.name"] == "ordermq-consumer@inventory:2"


def letters_when(shop, count):
    def enough():
        letters = shop.lines("ordermq", "dead", "list", "--closed")
        return letters if len(letters) == count else None

    return wait_until(enough, 30.0, every_s=0.2)


def test_messages_nobody_takes_are_reported_and_kept(shop):
    found = shop.run(
        "ordermq-publish",
        "messages",
        "-",
        "--routing-key",
        "nowhere",
        "--json",
        stdin=b'{"a": 1}\n{"a": 2}\n',
    )
    assert found.returncode == 69
    assert "matched no queue" in found.stderr
    summary = json.loads(found.stdout)
    assert (summary["in"], summary["returned"], summary["confirmed"]) == (2, 2, 0)
    rejects = [json.loads(line) for line in (shop.folder / "rejects.jsonl").read_text().splitlines()]
    assert [(each["line"], each["record"]) for each in rejects] == [(1, '{"a": 1}'), (2, '{"a": 2}')]


def test_a_database_that_does_not_answer_stops_the_file_and_it_can_be_run_again(shop, database):
    publish = ("ordermq-publish", "orders", "-", "--patience", "0.5")
    blocker = Session(database.settings, name="test")
    with blocker.transaction() as tx:
        tx.execute("LOCK TABLE shop.orders")
        found = shop.run(*publish, stdin=FILE, ORDERMQ_DATABASE_LOCK_TIMEOUT_S="0.2")
    blocker.close()
    assert found.returncode == 75
    assert "run it again to go on" in found.stderr
    assert "in 0 = " in found.stdout
    assert f"accepted {len(ORDERS)} " in shop.ok(*publish, stdin=FILE)


def test_a_database_that_answers_again_in_time_costs_nothing(shop, database):
    blocker = Session(database.settings, name="test")
    with blocker.transaction() as tx:
        tx.execute("LOCK TABLE shop.orders")
        (shop.folder / "orders.jsonl").write_bytes(FILE)
        waiting = shop.start(
            "ordermq-publish", "orders", "orders.jsonl", ORDERMQ_DATABASE_LOCK_TIMEOUT_S="0.2"
        )
        wait_until(lambda: "trying again" in waiting.log.read_text(), 20.0)
    blocker.close()
    assert waiting.wait(30) == 0
    assert f"accepted {len(ORDERS)} " in waiting.log.read_text()


class AnswerLost(Session):
    """A session whose first commit happens, and whose answer to it is lost."""

    lost = False

    @contextmanager
    def transaction(self, **options):
        with super().transaction(**options) as tx:
            yield tx
        if not self.lost:
            self.lost = True
            raise CommitUnknown("the connection broke during COMMIT")


def test_orders_whose_commit_is_unknown_are_placed_again_as_duplicates(shop, database):
    """IMP1, IMP2."""
    session = AnswerLost(database.settings, name="test")
    with Input(os.devnull) as source, closing(RejectsFile(shop.folder / "rejects", source)) as rejects:
        place = Transactions(session, retry_for_s=30.0).place
        placer = Placer(place, rejects=rejects, pace=Pace(0))
        placer.place(read_orders(io.BytesIO(FILE), "native"), lambda records: None)
    session.close()
    counts = placer.counts
    assert (counts.read, counts.accepted, counts.duplicate) == (len(ORDERS), 0, len(ORDERS))
    assert shop.json("ordermq", "order", "counts")["placed"] == len(ORDERS)


def test_stock_is_shown_and_a_bad_file_loads_nothing(shop):
    shop.ok("ordermq", "stock", "load", "-", stdin=b"product_id,units\nP-1,5\nP-2,0\n")
    assert re.search(r"P-1 +5 +5 +0 +0", shop.ok("ordermq", "stock", "show"))
    found = shop.run("ordermq", "stock", "load", "-", stdin=b"product_id,units\nP-1,7\nP-2,minus\n")
    assert found.returncode == 65
    assert "line 3" in found.stderr
    assert shop.json("ordermq", "stock", "show", "P-1")["loaded"] == 5


def test_stock_is_corrected_with_a_reason_that_is_kept(shop):
    shop.ok("ordermq", "stock", "load", "-", stdin=b"product_id,units\nP-1,5\n")
    lost = ("ordermq", "stock", "correct", "P-1", "--by", "-2", "--reason", "broken")
    assert "would have 3 units on hand" in shop.ok(*lost, "--dry-run")
    assert shop.ok(*lost).strip() == "product P-1 has 3 units on hand, 3 loaded"
    assert shop.run("ordermq", "stock", "correct", "P-1", "--by", "-4", "--reason", "x").returncode == 65
    [action] = shop.lines("ordermq", "actions", "--json")
    assert (action["action"], action["subject"], action["reason"]) == (
        "stock.correct", "product P-1", "by -2: broken",
    )  # fmt: skip


def test_a_dry_run_of_a_stock_file_exits_as_the_load_would(shop):
    shop.ok("ordermq", "stock", "load", "-", stdin=b"product_id,units\nP-1,5\n")
    for data in (
        b"product_id,units\nP-1,7\nP-1,8\n",
        b"product_id,units\nP 1,7\n",
        b"product_id,units\nP-1,9007199254740993\n",
        b"product_id,units\rP-1,7\r",
    ):
        found = [shop.run("ordermq", "stock", "load", "-", *flag, stdin=data) for flag in ([], ["--dry-run"])]
        assert [each.returncode for each in found] == [65, 65], found
        assert found[0].stderr == found[1].stderr
    assert "would set 1 products" in shop.ok(
        "ordermq", "stock", "load", "-", "--dry-run", stdin=b"product_id,units\nP-1,7\n"
    )
    assert shop.json("ordermq", "stock", "show", "P-1")["loaded"] == 5


def test_nothing_is_placed_from_a_damaged_file_or_without_a_place_for_rejects(shop):
    (shop.folder / "cut.jsonl.gz").write_bytes(gzip.compress(FILE)[:-7])
    assert shop.run("ordermq-publish", "orders", "cut.jsonl.gz").returncode == 65
    (shop.folder / "bad.jsonl").write_bytes(FILE + b"{\n")
    found = shop.run("ordermq-publish", "orders", "bad.jsonl", "--rejects", "nowhere/rejects")
    assert found.returncode == 64
    assert shop.lines("ordermq", "order", "list") == []


def test_a_list_cut_at_its_limit_says_so(shop):
    shop.ok("ordermq-publish", "orders", "-", stdin=FILE)
    for argv in (("order", "list"), ("order", "stuck", "--older-than", "0")):
        cut = shop.run("ordermq", *argv, "--limit", "2", "--json")
        assert (len(cut.stdout.splitlines()), cut.returncode) == (2, 0)
        assert "there are more: only 2 are shown" in cut.stderr
        assert shop.run("ordermq", *argv, "--limit", str(len(ORDERS)), "--json").stderr == ""


def test_a_cancelled_order_says_why_and_which_product_was_short(shop):
    shop.ok("ordermq", "stock", "load", "-", stdin=b"product_id,units\nP-1,5\nP-2,1\n")
    short = b"order_id,customer_id,currency,product_id,quantity,unit_price,card_token\n"
    short += b"A-1,C-1,EUR,P-1,1,1.00,tok_1\nA-1,C-1,EUR,P-2,2,1.00,tok_1\nA-2,C-1,EUR,P-1,1,1.00,tok_1\n"
    shop.ok("ordermq-publish", "orders", "-", stdin=short)
    shop.ok("ordermq", "order", "cancel", "A-2", "--reason", "the customer called")
    shop.start("ordermq-relay")
    shop.start("ordermq-consumer", "--queue", "inventory")
    wait_until(lambda: shop.json("ordermq", "order", "counts")["cancelled"] == 2, 30.0, every_s=0.2)
    assert re.search(
        r"^because +not enough stock of P-2$", shop.ok("ordermq", "order", "show", "A-1"), re.MULTILINE
    )
    assert shop.json("ordermq", "order", "show", "A-2")["because"] == "asked for: the customer called"


def test_what_reconcile_finds_is_acknowledged_and_a_cancelled_order_is_reopened(shop, database):
    shop.ok("ordermq-publish", "orders", "-", stdin=FILE)
    first, second = (order.order_id for order in ORDERS[:2])
    database.sql(
        "INSERT INTO ordermq.inbox (queue, message_id, hop, outcome) VALUES ('points', 'x', 0, 'dead')"
    )
    acknowledge = ("ordermq", "reconcile", "acknowledge", "dead_letters_kept")
    missing = shop.run(*acknowledge, "nobody", "--reason", "x")
    assert (missing.returncode, "finds no 'nobody'" in missing.stderr) == (65, True)
    line = "points x: given up, and there is no dead letter"
    for what, flags in ((line, ("--dry-run",)), ("points x", ())):
        assert line in shop.ok(*acknowledge, what, "--reason", "pruned", *flags)
    report = json.loads(shop.run("ordermq", "reconcile", "--json").stdout)
    assert [check["wrong"] for check in report["checks"] if check["name"] == "dead_letters_kept"] == [0]
    assert shop.ok("ordermq", "actions", "--action", "reconcile.acknowledge").count("pruned") == 1
    database.sql(
        "INSERT INTO ordermq.inbox (queue, message_id, hop, outcome)"
        " SELECT 'points', 'y' || lpad(n::text, 2, '0'), 0, 'dead' FROM generate_series(1, 30) AS n"
    )
    assert "and 10 more" in shop.run("ordermq", "reconcile").stdout
    assert "points y30: given up" in shop.ok(*acknowledge, "points y30", "--reason", "not printed")
    assert shop.run(*acknowledge, "points y01", "--all", "--reason", "both").returncode == 64
    assert shop.run(*acknowledge, "--reason", "neither").returncode == 64
    assert shop.ok(*acknowledge, "--all", "--reason", "rest").count("is acknowledged") == 29
    assert shop.ok(*acknowledge, "--all", "--reason", "rest") == ""

    shop.ok("ordermq", "order", "cancel", first, "--reason", "mistake")
    refused = shop.run("ordermq", "order", "reopen", first, "--reason", "x")
    assert (refused.returncode, "must end first" in refused.stderr) == (65, True)
    assert shop.ok("ordermq", "order", "reopen", second, "--reason", "x").endswith("nothing was changed\n")
    by_hand = ("--by-hand", "1.00", "--reference", "re_1", "--reason", "x")
    assert shop.run("ordermq", "order", "refunded", first, *by_hand).returncode == 65


def test_the_topology_is_verified_and_a_difference_is_named(shop, vhost):
    assert "as it should be" in shop.ok("ordermq", "topology", "verify")
    changed = shop.run("ordermq", "topology", "verify", "--json", ORDERMQ_TOPOLOGY_QUEUES="gifts")
    assert changed.returncode == 1
    assert any("orders.gifts: missing" in each for each in json.loads(changed.stdout)["differences"])


def test_the_tables_are_listed_and_a_missing_migration_stops_every_process(shop, database):
    assert all(each["applied"] for each in shop.json("ordermq", "db", "status"))
    assert shop.ok("ordermq", "db", "migrate") == "nothing to apply\n"
    database.sql("DELETE FROM ordermq.migrations WHERE scope = 'shop'")
    assert shop.run("ordermq", "db", "status").returncode == 1
    for argv in (
        ("ordermq-relay",),
        ("ordermq-consumer", "--queue", "inventory"),
        ("ordermq-publish", "orders", "-"),
    ):
        found = shop.run(*argv)
        assert found.returncode == 78
        assert "ordermq db migrate" in found.stderr


def gauges(shop):
    """Return what the running relay's metrics say of what waits."""
    addresses = [
        each["labels.http_address"] for each in shop.logged("ordermq-relay") if "labels.http_address" in each
    ]
    lines = page(addresses[-1], "/metrics").splitlines()
    names = ("orders_stuck", "orders_attention", "dead_letters_open", "outbox_refused")
    return {
        name: float(line.split()[1])
        for name in names
        for line in lines
        if line.startswith(f"ordermq_{name} ")
    }


def test_what_stands_still_and_who_is_waited_for_is_listed_checked_and_measured(shop, database):
    assert shop.ok("ordermq", "order", "stuck", "--older-than", "0", "--check") == ""
    shop.ok("ordermq-publish", "orders", "-", stdin=FILE)
    asked, *stuck = [order.order_id for order in ORDERS]
    session = Session(database.settings, name="test")
    with session.transaction() as tx:
        tx.execute("UPDATE shop.orders SET accepted_at = now() - interval '1 hour'")
        tx.execute(
            "UPDATE shop.orders SET updated_at = now() - interval '20 min' WHERE order_id <> %s", (asked,)
        )
        (message,) = tx.fetch_all(
            "DELETE FROM ordermq.outbox WHERE correlation_id = %s RETURNING message_id", (asked,)
        )
        envelope = Envelope(message[0], "ReserveStock", 1, asked, trace.new(), utc_now())
        dead_letters.keep(tx, "inventory", [(envelope, b"{}", "no")])
        give_up(Step.RESERVE, ReserveStock(order_id=asked), "no", tx)
    session.close()
    found = shop.lines("ordermq", "order", "stuck", "--older-than", "10m")
    assert {each["order_id"] for each in found} == set(stuck)
    assert {(each["status"], each["payment_state"]) for each in found} == {("placed", None)}
    assert shop.lines("ordermq", "order", "stuck", "--older-than", "30m") == []
    assert shop.run("ordermq", "order", "stuck", "--check").returncode == 1
    assert [each["order_id"] for each in shop.lines("ordermq", "order", "list", "--attention")] == [asked]

    shop.start("ordermq-relay")
    wanted = {"orders_stuck": len(stuck), "orders_attention": 1, "dead_letters_open": 1, "outbox_refused": 0}
    wait_until(lambda: any("labels.http_address" in each for each in shop.logged("ordermq-relay")), 30.0)
    wait_until(lambda: gauges(shop) == wanted, 30.0, what=f"{wanted}, not {gauges(shop)}")

    resolve = ("ordermq", "order", "resolve", asked, "--reason", "called the customer")
    assert "would be resolved: reservation_failed: no" in shop.ok(*resolve, "--dry-run")
    resolved = shop.json(*resolve)
    assert {**resolved, "orders": [], "seconds": 0} == {
        "in": 1, "resolved": 1, "unchanged": 0, "refused": 0, "discarded": 1, "orders": [], "seconds": 0,
        "dry_run": False,
    }  # fmt: skip
    assert (resolved["orders"][0]["order_id"], len(resolved["orders"][0]["discarded"])) == (asked, 1)
    again = shop.ok(*resolve)
    assert f"order {asked} does not need a person: nothing was changed\n" in again
    assert (
        "pending: notify_cancelled; if nothing happens to the order: ordermq-publish replay --order" in again
    )
    assert shop.lines("ordermq", "order", "list", "--attention") == []
    assert (
        shop.lines("ordermq", "actions", "--subject", f"order {asked}")[0]["reason"] == "called the customer"
    )


def test_an_order_whose_card_was_declined_is_paid_by_another_or_opened_again_with_one(shop):
    shop.ok("ordermq", "stock", "load", "-", stdin=b"product_id,units\nP-1,5\n")
    two = b"order_id,customer_id,currency,product_id,quantity,unit_price,card_token\n"
    two += b"A-1,C-1,EUR,P-1,1,1.00,tok_0002\nA-2,C-1,EUR,P-1,1,1.00,tok_0002\n"
    shop.ok("ordermq-publish", "orders", "-", stdin=two)
    shop.start("ordermq-relay")
    for queue in ("inventory", "payment", "notify"):
        shop.start("ordermq-consumer", "--queue", queue, ORDERMQ_SHOP_PAYMENT_GRACE_S="3600")

    def counts(status, number):
        wait_until(lambda: shop.json("ordermq", "order", "counts")[status] == number, 30.0, every_s=0.2)

    counts("payment_due", 2)
    assert re.search(r"^pay until +\d{4}-", shop.ok("ordermq", "order", "show", "A-1"), re.MULTILINE)
    pay = ("ordermq", "order", "pay", "A-1", "--reason", "called")
    assert shop.ok(*pay, "--card-token", "-", "--dry-run", stdin=b"tok_4242\n") == (
        "order A-1 would be charged to this card\n"
    )
    paid = shop.json(*pay, "--card-token", "-", stdin=b"tok_4242\n")
    assert paid == {"order_id": "A-1", "status": "reserved", "is_duplicate": False}
    counts("paid", 1)
    assert shop.json(*pay, "--card-token", "tok_4242")["is_duplicate"]
    assert shop.run(*pay, "--card-token", "").returncode == 65
    refused = shop.run("ordermq", "order", "pay", "A-9", "--card-token", "tok_1", "--reason", "x")
    assert refused.returncode == 1

    shop.ok("ordermq", "order", "cancel", "A-2", "--reason", "gives up")
    wait_until(lambda: not shop.json("ordermq", "order", "show", "A-2")["order"]["pending"], 30.0)
    reopen = ("ordermq", "order", "reopen", "A-2", "--reason", "wants it")
    refused = shop.run(*reopen)
    assert (refused.returncode, "a new card is needed" in refused.stderr) == (65, True)
    assert shop.json(*reopen, "--card-token", "tok_4242")["status"] == "placed"
    counts("paid", 2)
    done = [each["action"] for each in shop.lines("ordermq", "actions")]
    assert (done.count("order.pay"), done.count("order.reopen")) == (1, 1)
