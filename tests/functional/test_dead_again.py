"""Dead letters sent again with care: a canary, another queue, another body."""

import json
import sys
import threading
from pathlib import Path

import pytest

from ordermq.cli.dead.canary import STAGES
from ordermq.clock import utc_now
from ordermq.message import Envelope
from ordermq.observe import trace
from ordermq.store import Session, dead_letters, inbox
from ordermq.testing import wait_until
from tests.support.commands import Shop

CAUSE = "timeout after 1 s"
REASON = ("--reason", "it is mended")


@pytest.fixture
def shop(ordermq_stack, vhost, database, tmp_path):
    shop = Shop(ordermq_stack, vhost, database, tmp_path)
    yield shop
    shop.close()


@pytest.fixture
def session(shop, database):
    session = Session(database.settings, name="test")
    yield session
    session.close()


def keep(tx, message_id, reason=CAUSE, *, queue="shipping", type_="CreateShipment", body=None, **changes):
    fixed = {"version": 1, "correlation_id": "o-1", "traceparent": trace.new()}
    envelope = Envelope(message_id=message_id, type=type_, occurred_at=utc_now(), **(fixed | changes))
    dead_letters.keep(tx, queue, [(envelope, body or b'{"order_id": "o-1"}', reason)])


class Consumers:
    """What consumers would make of the messages that are sent again, without any."""

    def __init__(self, session, fate):
        self.seen = []
        self._fate = fate
        self._session = session
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._work)

    def __enter__(self):
        self._thread.start()
        return self

    def __exit__(self, *_):
        self._stop.set()
        self._thread.join(10)

    def _work(self):
        while not self._stop.wait(0.05):
            with self._session.transaction() as tx:
                for queue, message_id, hop, replay_no in tx.fetch_all(
                    "DELETE FROM ordermq.outbox RETURNING routing_key, message_id, hop, replay_no"
                ):
                    self.seen.append(message_id)
                    reason = self._fate(message_id)
                    inbox.settle(tx, queue, [(message_id, hop)], "dead" if reason else "done")
                    if reason:
                        keep(tx, message_id, reason, hop=hop, replay_no=replay_no)


def replay(shop, *more):
    return shop.run("ordermq", "dead", "replay", "--all", "--yes", "--canary", *REASON, *more)


@pytest.fixture
def consumers(database):
    session = Session(database.settings, name="consumers")
    yield lambda fate: Consumers(session, fate)
    session.close()


def test_a_canary_goes_on_from_one_to_ten_to_the_rest(shop, session, consumers):
    with session.transaction() as tx:
        for number in range(25):
            keep(tx, f"m{number:02}")
    assert replay(shop, "--dry-run").stdout == "25 would be replayed\n"
    with consumers(lambda message_id: None) as done:
        found = replay(shop)
        assert (found.returncode, found.stdout) == (0, "25 replayed\n"), found.stderr
        assert "1 handled, then ten" in found.stderr
        assert "10 handled, then the rest" in found.stderr
        wait_until(lambda: len(done.seen) == 25, 10, what="all were sent")


@pytest.mark.parametrize(("first_bad", "sent"), [(0, 1), (5, 1 + STAGES[1])])
def test_a_canary_that_dies_again_stops_the_replay_and_the_rest_stays_open(
    shop, session, consumers, first_bad, sent
):
    with session.transaction() as tx:
        for number in range(25):
            keep(tx, f"m{number:02}")
    with consumers(lambda message_id: "timeout after 7 s" if int(message_id[1:]) >= first_bad else None):
        found = replay(shop)
    assert found.returncode == 1
    assert "died again of the same cause" in found.stderr
    assert found.stdout == f"{sent} replayed\n"
    assert len(shop.lines("ordermq", "dead", "list", "--error", CAUSE)) == 25 - sent
    assert len(shop.lines("ordermq", "actions", "--action", "dead.replay")) == sent


def test_a_canary_that_nobody_handles_is_waited_for_and_nothing_more_is_sent(shop, session):
    with session.transaction() as tx:
        for number in range(3):
            keep(tx, f"m{number:02}")
    found = replay(shop, "--canary-wait", "1s")
    assert (found.returncode, found.stdout) == (75, "1 replayed\n")
    assert "do relay and consumers run?" in found.stderr
    assert len(shop.lines("ordermq", "dead", "list")) == 2


def test_the_rest_stops_where_messages_die_again_of_the_same_cause(shop, session, consumers):
    with session.transaction() as tx:
        for number in range(400):
            keep(tx, f"m{number:03}")
    with consumers(lambda message_id: CAUSE if int(message_id[1:]) >= 11 else None):
        found = replay(shop, "--rate", "50")
    assert found.returncode == 1
    assert "died again of the same cause; no more were replayed" in found.stderr
    assert len(shop.lines("ordermq", "dead", "list", "--error", CAUSE, "--limit", "1000")) > 300


def test_messages_that_a_real_consumer_gives_up_again_stop_a_canary(shop, session):
    with session.transaction() as tx:
        for number in range(3):
            keep(tx, f"m{number}", correlation_id=f"o-{number}", body=b'{"order_id": "o-%d"}' % number)
    shop.start("ordermq-relay")
    shop.start("ordermq-consumer", "--queue", "shipping")
    found = replay(shop)  # there are no such orders
    assert found.returncode == 1
    assert "died again" in found.stderr
    assert found.stdout == "1 replayed\n"


def outbox(session):
    with session.transaction() as tx:
        return tx.fetch_all(
            "SELECT routing_key, message_id, type, correlation_id, attempt, replay_no,"
            " convert_from(body, 'UTF8') FROM ordermq.outbox"
        )


def test_a_letter_is_redirected_to_a_queue_that_takes_it_and_to_no_other(shop, session):
    with session.transaction() as tx:
        keep(tx, "wrong", queue="points", type_="SendNotification", body=b'{"order_id": "o-1", "event": "x"}')
        keep(tx, "odd", queue="points", type_="CreateShipment", body=b'{"order": 1}')
        keep(tx, "right", queue="points", type_="CreateShipment")
    ids = {each["message_id"]: str(each["dead_letter_id"]) for each in shop.lines("ordermq", "dead", "list")}
    redirect = ("ordermq", "dead", "redirect", "--to", "shipping", *REASON)
    assert "would be redirected" in shop.ok(*redirect, ids["right"], "--dry-run")
    found = shop.run(*redirect, *ids.values(), "--json")
    assert found.returncode == 65
    outcomes = {each["message_id"]: each["outcome"] for each in map(json.loads, found.stdout.splitlines())}
    assert outcomes["right"] == "redirected"
    assert outcomes["wrong"].startswith("refused: queue shipping takes CreateShipment, not SendNotification")
    assert outcomes["odd"].startswith("refused: ")
    assert [row[:6] for row in outbox(session)] == [("shipping", "right", "CreateShipment", "o-1", 1, 1)]
    assert "replayed before" in shop.ok(*redirect, ids["right"])
    [action] = shop.lines("ordermq", "actions", "--action", "dead.redirect")
    assert (action["subject"], action["reason"]) == (
        f"dead_letter {ids['right']}",
        "to shipping: it is mended",
    )
    assert shop.run(*redirect[:4], "nowhere", *REASON, ids["odd"]).returncode == 65


def test_a_body_is_mended_and_sent_as_a_new_message_that_names_the_old(shop, session, tmp_path):
    with session.transaction() as tx:
        keep(tx, "m1", body=b'{"order_id": "o-1,"}')
    [letter] = shop.lines("ordermq", "dead", "list")
    number = letter["dead_letter_id"]
    edit = ("ordermq", "dead", "edit", str(number), *REASON)
    editor = tmp_path / "editor"
    editor.write_text('#!/bin/sh\nsed -i "s/o-1,/o-2/" "$1"\ntouch -d "+5 seconds" "$1"\n')
    editor.chmod(0o755)
    shown = shop.run(*edit, "--dry-run", EDITOR=str(editor))
    assert shown.returncode == 0, shown.stderr
    assert '-  "order_id": "o-1,"' in shown.stdout
    assert '+  "order_id": "o-2"' in shown.stdout
    assert "would be sent" in shown.stdout
    assert outbox(session) == []
    assert shop.run(*edit, EDITOR=str(editor)).returncode == 64  # nobody to ask
    sent = shop.run(*edit, "--yes", "--json", EDITOR=str(editor))
    assert json.loads(sent.stdout) == {
        "dead_letter_id": number, "outcome": "sent", "queue": "shipping",
        "message_id": f"m1.edited-{number}",
    }  # fmt: skip
    assert outbox(session) == [
        ("shipping", f"m1.edited-{number}", "CreateShipment", "o-2", 1, 0, '{"order_id":"o-2"}')
    ]
    [action] = shop.lines("ordermq", "actions", "--action", "dead.edit")
    assert action["reason"] == f"as message m1.edited-{number}: it is mended"
    assert len(shop.lines("ordermq", "actions", "--action", "dead.show_body")) == 3
    assert shop.run(*edit, "--yes", EDITOR=str(editor)).returncode == 65  # it is closed


def test_an_edit_of_a_letter_that_somebody_else_closes_meanwhile_is_refused(shop, session, tmp_path):
    with session.transaction() as tx:
        keep(tx, "m1", body=b'{"order_id": "o-1,"}')
    number = shop.lines("ordermq", "dead", "list")[0]["dead_letter_id"]
    editor = tmp_path / "editor"
    discard = f"{Path(sys.executable).parent / 'ordermq'} dead discard {number} --reason wrong"
    mend = 'sed -i "s/o-1,/o-2/" "$1"; touch -d "+5 seconds" "$1"'
    editor.write_text(f"#!/bin/sh\n{mend}\n{discard}\n")
    editor.chmod(0o755)
    found = shop.run("ordermq", "dead", "edit", str(number), "--yes", *REASON, EDITOR=str(editor))
    assert found.returncode == 65
    assert f"dead letter {number} was replayed or discarded while you looked at it" in found.stderr
    assert outbox(session) == []


def test_a_body_that_the_handler_cannot_read_or_that_was_not_changed_is_not_sent(shop, session):
    with session.transaction() as tx:
        keep(tx, "m1")
    [letter] = shop.lines("ordermq", "dead", "list")
    edit = ("ordermq", "dead", "edit", str(letter["dead_letter_id"]), "--yes", "--body", "-", *REASON)
    wrong = shop.run(*edit, stdin=b'{"order_id": 7}')
    assert (wrong.returncode, "the new body is not a CreateShipment" in wrong.stderr) == (65, True)
    assert shop.ok(*edit, stdin=b'{"order_id":   "o-1"}').startswith("not changed")
    assert outbox(session) == []
    assert len(shop.lines("ordermq", "dead", "list")) == 1
    assert shop.run("ordermq", "dead", "edit", "999", *REASON).returncode == 1
