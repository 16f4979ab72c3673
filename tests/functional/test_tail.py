"""``ordermq tail``: what consumers settle, while somebody looks."""

import json
import signal

import pytest

from ordermq.cli.tail import Feed
from ordermq.clock import utc_now
from ordermq.consumer.tap import MOST, Tap
from ordermq.store import Session, tail
from ordermq.store.tail import Settled
from ordermq.testing import wait_until
from tests.support.commands import Shop
from tests.support.runtime import probes


def seen(rig):
    with rig.session.transaction() as tx:
        return {(each.message_id, each.outcome) for _, each in tail.read_settled(tx, after=0)}


def tapped(rig, consumer, queue):
    with rig.session.transaction() as tx:
        tap_id = tail.open_tap(tx, queue)
    wait_until(lambda: consumer._control._context.tap.is_open, 10, what="it knows that somebody looks")
    return tap_id


@pytest.mark.parametrize("queue", ["batch", "single", "call", "bare"])
def test_every_way_in_which_a_message_can_be_settled_is_shown(rig, queue):
    consumer = rig.consumer(queue)
    tap_id = tapped(rig, consumer, queue)
    rig.publish(
        queue, *probes(3), *probes(1, "retry", 10), *probes(1, "postpone", 11), *probes(1, "dead", 12)
    )
    ends = {("o00000", "done"), ("o00001", "done"), ("o00002", "done")}
    ends |= {("o00010", "retry"), ("o00011", "postponed"), ("o00012", "dead")}
    wait_until(lambda: seen(rig) >= ends, 20, what="all of them")
    if queue != "bare":  # a handler without inbox knows no duplicates
        rig.publish(queue, *probes(1))
        wait_until(lambda: ("o00000", "duplicate") in seen(rig), 20, what="a duplicate")
    with rig.session.transaction() as tx:
        rows = [each for _, each in tail.read_settled(tx, after=0, correlation_id="o00012")]
        assert [(each.type, each.reason, each.process) for each in rows] == [
            ("Probe", "asked to die", "test")
        ]
        assert tail.read_settled(tx, after=0, type_="Other") == []
        tail.close_tap(tx, tap_id)
    assert seen(rig) == set()  # nothing is kept


def test_while_nobody_looks_nothing_is_noted_and_of_too_much_the_newest_stays(rig):
    rig.consumer("single")
    rig.publish("single", *probes(5))
    rig.wait_for_effects("single", 5)
    assert seen(rig) == set()
    tap = Tap()
    tap.note("q", [None], "done")  # not even looked at
    assert tap.take("p") == []


def test_rows_that_are_seen_late_are_shown_once():
    row = Settled(utc_now(), "q", "T", "c", "m", 1, 0, "done", "", "p")
    feed = Feed(10)
    assert feed.after == 10
    assert len(feed.new([(12, row), (13, row)])) == 2
    assert len(feed.new([(11, row), (12, row), (13, row), (14, row)])) == 2
    assert feed.new([(11, row), (14, row)]) == []
    assert len(feed.new([(100_000, row)])) == 1
    assert 10 < feed.after < 100_000


def test_what_was_noted_is_bounded():
    assert Tap()._noted.maxlen == MOST


def test_an_operator_sees_what_is_settled_until_interrupted(ordermq_stack, vhost, database, tmp_path):
    shop = Shop(ordermq_stack, vhost, database, tmp_path)
    session = Session(database.settings, name="test")
    try:
        shop.start("ordermq-consumer", "--queue", "shipping")
        looking = shop.start("ordermq", "tail", "--queue", "shipping", "--json")
        taps = "SELECT count(*) FROM ordermq.taps"

        def count():
            with session.transaction() as tx:
                return tx.fetch_one(taps)[0]

        wait_until(lambda: count() == 1, 20, what="somebody looks")

        def lines():
            text = looking.log.read_text()
            return [json.loads(line) for line in text.splitlines() if line.startswith("{")]

        number = iter(range(100))

        def settled():
            body = b'{"order_id": "o-%d"}\n' % next(number)
            shop.ok("ordermq-publish", "messages", "--routing-key", "shipping", "-", stdin=body)
            return lines()

        [first, *_] = wait_until(settled, 30, every_s=1.0, what="a message that was settled")
        assert (first["queue"], first["type"]) == ("shipping", "CreateShipment")
        looking.send(signal.SIGINT)
        assert looking.wait(20) == 130
        assert count() == 0
        assert shop.ok("ordermq", "tail", "--for", "1s", "--type", "Other") == ""
        assert shop.run("ordermq", "tail", "--queue", "nowhere").returncode == 64
    finally:
        session.close()
        shop.close()
