"""``ordermq dead`` and ``ordermq actions`` on a real stack: what an operator decides at night."""

import json

import pytest

from ordermq.cli.operator import actor
from ordermq.clock import utc_now
from ordermq.message import Envelope
from ordermq.observe import trace
from ordermq.store import Session, dead_letters
from ordermq.testing import wait_until
from tests.support.commands import Shop

SECRET = b'{"order_id": "o-1", "note": "call +4930123456"}'


@pytest.fixture
def shop(ordermq_stack, vhost, database, tmp_path):
    shop = Shop(ordermq_stack, vhost, database, tmp_path)
    yield shop
    shop.close()


@pytest.fixture
def letters(shop, database):
    """Three dead letters of one cause, one of another, and one that nobody can ever read."""
    session = Session(database.settings, name="test")
    with session.transaction() as tx:
        for number, reason in enumerate(
            ("timeout after 1 s", "timeout after 2 s", "timeout after 30 s", "no")
        ):
            keep(tx, f"m{number}", reason)
        keep(tx, "broken", "MalformedMessage", version=0, type="")
    yield session
    session.close()


def keep(tx, message_id, reason, **changes):
    fixed = {"type": "AwardPoints", "version": 1, "correlation_id": "o-1", "traceparent": trace.new()}
    envelope = Envelope(message_id=message_id, occurred_at=utc_now(), **(fixed | changes))
    dead_letters.keep(tx, "points", [(envelope, SECRET, reason)])


def recorded(shop, action):
    return [
        (each["subject"], each["reason"]) for each in shop.lines("ordermq", "actions", "--action", action)
    ]


@pytest.mark.parametrize(
    "option", ["--queue", "--error", "--fingerprint", "--correlation-id", "--message-id"]
)
def test_an_empty_filter_is_refused_and_chooses_nothing(shop, letters, option):
    refused = shop.run("ordermq", "dead", "discard", option, "", "--reason", "an unset variable", "--yes")
    assert (refused.returncode, "is empty" in refused.stderr) == (64, True)
    assert len(shop.lines("ordermq", "dead", "list")) == 5


def test_a_group_is_replayed_by_its_fingerprint_and_what_was_done_is_recorded(shop, letters):
    group = shop.lines("ordermq", "dead", "group", "--error", "timeout")[0]
    assert (group["count"], group["queue"], group["reason"]) == (3, "points", "timeout after 30 s")
    replay = ("ordermq", "dead", "replay", "--fingerprint", group["fingerprint"], "--reason", "it is back")
    assert shop.ok(*replay, "--dry-run") == "3 would be replayed\n"
    assert recorded(shop, "dead.replay") == []
    unasked = shop.run(*replay)
    assert unasked.returncode == 64
    assert "3 dead letters will be replayed" in unasked.stderr
    told = [json.loads(line) for line in shop.ok(*replay, "--yes", "--limit", "2", "--json").splitlines()]
    assert [(each["message_id"], each["outcome"]) for each in told] == [
        ("m0", "replayed"),
        ("m1", "replayed"),
    ]
    assert shop.ok(*replay, "--yes", "--rate", "20") == "1 replayed\n"  # the rest: run again, it goes on
    assert len(recorded(shop, "dead.replay")) == 3
    assert {each["actor"] for each in shop.lines("ordermq", "actions")} == {actor()}
    assert shop.ok(*replay, "--yes") == "none\n"


def test_what_can_never_be_handled_is_refused_and_the_others_are_replayed(shop, letters):
    found = shop.run("ordermq", "dead", "replay", "--all", "--reason", "all of it", "--yes")
    assert found.returncode == 65
    assert "4 replayed" in found.stdout
    assert "can never be handled" in found.stdout
    left = shop.lines("ordermq", "dead", "list")
    assert [each["message_id"] for each in left] == ["broken"]
    number = str(left[0]["dead_letter_id"])
    assert shop.ok("ordermq", "dead", "discard", number, "--reason", "junk").startswith("discarded ")
    assert "discarded before" in shop.ok("ordermq", "dead", "replay", number, "--reason", "hope")
    assert shop.lines("ordermq", "dead", "list") == []
    assert len(shop.lines("ordermq", "dead", "list", "--closed")) == 5
    assert recorded(shop, "dead.discard") == [(f"dead_letter {number}", "junk")]


@pytest.mark.parametrize(
    "argv",
    [("replay", "--reason", "x"), ("replay", "1", "--queue", "points", "--reason", "x"), ("replay", "1"),
     ("discard", "--all", "--reason", " "), ("discard", "--older-than", "soon", "--reason", "x")],
)  # fmt: skip
def test_a_bulk_that_does_not_say_which_or_why_is_refused(shop, argv):
    assert shop.run("ordermq", "dead", *argv).returncode == 64


def test_a_body_is_shown_only_when_asked_for_and_that_is_recorded(shop, letters):
    (letter,) = shop.lines("ordermq", "dead", "list", "--message-id", "m0")
    number = str(letter["dead_letter_id"])
    shown = shop.ok("ordermq", "dead", "show", number), json.dumps(letter), shop.ok("ordermq", "dead", "list")
    assert not any("+4930" in text for text in shown)
    assert f"{len(SECRET)}" in shown[0]
    assert recorded(shop, "dead.show_body") == []
    assert (
        shop.json("ordermq", "dead", "show", number, "--show-body", "--reason", "ticket 7")["body"]
        == SECRET.decode()
    )
    assert recorded(shop, "dead.show_body") == [(f"dead_letter {number}", "ticket 7")]


def test_a_number_that_is_none_stops_the_whole_command(shop, letters):
    (letter,) = shop.lines("ordermq", "dead", "list", "--message-id", "m0")
    found = shop.run("ordermq", "dead", "replay", str(letter["dead_letter_id"]), "999999", "--reason", "x")
    assert found.returncode == 1
    assert "no dead letter 999999" in found.stderr
    assert recorded(shop, "dead.replay") == []


def test_what_dies_again_is_a_dead_letter_of_its_own_under_the_same_message_id(shop, letters):
    shop.start("ordermq-consumer", "--queue", "points")
    shop.start("ordermq-relay")
    # There is no order o-1: each replay ends in another death.
    for replay_no in (1, 2):
        replay = ("ordermq", "dead", "replay", "--message-id", "m0", "--yes", "--reason", "again")
        assert shop.ok(*replay) == "1 replayed\n"
        wait_until(
            lambda replay_no=replay_no: [
                each["replay_no"] for each in shop.lines("ordermq", "dead", "list", "--message-id", "m0")
            ] == [replay_no],
            30.0, every_s=0.2, what="the next death",
        )  # fmt: skip
    letters = shop.lines("ordermq", "dead", "list", "--message-id", "m0", "--closed")
    assert [(each["replay_no"], each["attempt"], each["hop"]) for each in letters] == [
        (2, 1, 2), (1, 1, 1), (0, 1, 0),
    ]  # fmt: skip
