"""Limits on calls to a service: ``ordermq limits``."""

import threading
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta

import pytest

from ordermq.clock import monotonic_s, utc_now
from ordermq.config.settings import RetentionSettings
from ordermq.message import Payload
from ordermq.store import Session, limits, retention
from ordermq.store.limits import Limit
from ordermq.store.retention import START, Table
from ordermq.task import DONE, ExternalHandler, Registry, external
from ordermq.task.handler import handlers_in
from ordermq.testing import wait_until
from tests.support.commands import Shop
from tests.support.runtime import PREFIX
from tests.support.shop import an_order


class Charge(Payload):
    """A call of one merchant."""

    order_id: str
    merchant: str = ""


@external(queue="call", message=Charge, key="order_id", dependency="payment", limit_key="merchant")
class ChargeOut(ExternalHandler):
    def prepare(self, claims, tx):
        return [each.message for each in claims]

    def call(self, message):
        CALLED.append((message.order_id, message.merchant))

    def complete(self, finished, tx):
        return [DONE] * len(finished)


CALLED = []
CHARGE = Registry(handlers_in({"charge": ChargeOut}))


@pytest.fixture(autouse=True)
def nothing_called():
    CALLED.clear()


def set_limit(rig, *values):
    with rig.session.transaction() as tx:
        limits.set_limit(tx, Limit("payment", *values), by="ann", reason="their contract")


def charges(count, merchant="", start=0):
    return [Charge(order_id=f"o{n:05}", merchant=merchant) for n in range(start, start + count)]


def publish(rig, messages, **envelope):
    rig.publish("call", *messages, type="Charge", **envelope)


def done(rig):
    return rig.value("SELECT count(*) FROM ordermq.inbox WHERE queue = 'call' AND outcome = 'done'")


def test_consumers_that_share_a_limit_call_no_more_than_it_gives_and_lose_nothing(rig):
    """MET1: as many calls as tokens; without any more of them nothing is called."""
    set_limit(rig, 1e-6, 30.0)
    consumers = [rig.consumer("call", registry=CHARGE, owner=f"c{n}") for n in range(3)]
    publish(rig, [*charges(100), *charges(20)])  # duplicates need no token
    wait_until(lambda: len(CALLED) >= 30, 20, what="the burst")
    wait_until(
        lambda: rig.value("SELECT short_at IS NOT NULL FROM ordermq.buckets"), 20, what="more was asked for"
    )
    assert len(CALLED) == 30
    assert rig.value("SELECT count(*) FROM ordermq.outbox") == 0  # they wait in the queue
    with rig.session.transaction() as tx:
        assert limits.remove_limit(tx, "payment")
        assert not limits.remove_limit(tx, "payment")
    wait_until(lambda: done(rig) == 100, 20, what="the others, without a limit")
    assert Counter(CALLED).most_common(1)[0][1] == 1
    assert all(each.failure is None for each in consumers)


def test_a_limit_is_changed_while_calls_wait_for_it(rig):
    consumer = rig.consumer("call", registry=CHARGE)
    publish(rig, charges(10))
    wait_until(lambda: done(rig) == 10, 20, what="no limit, no wait")
    assert rig.rows("SELECT FROM ordermq.buckets") == []  # and no statement
    set_limit(rig, 1e-6, 1.0)
    wait_until(lambda: consumer._limits.by_dependency, 20, what="it has heard of it")
    publish(rig, charges(200, start=100))
    wait_until(lambda: done(rig) == 11, 20, what="one, and no other")
    set_limit(rig, 1e6, 1e6)
    wait_until(lambda: done(rig) == 210, 20, what="all of them")


def test_what_is_over_a_key_s_share_waits_in_the_outbox_for_its_slot_and_others_pass(rig):
    """MET2: no attempt, no age; at its slot it needs no other token."""
    set_limit(rig, 1000.0, 1000.0, 0.1, 2.0)
    failed_at = utc_now() - timedelta(hours=1)
    publish(rig, charges(5, "big"), first_failed_at=failed_at, attempt=3, hop=2, last_error="their error")
    publish(rig, charges(2, "small", start=100))
    publish(rig, charges(2, start=200))  # without a key
    rig.consumer("call", registry=CHARGE)
    wait_until(lambda: done(rig) == 6, 20, what="two of each, and those without a key")
    wait_until(lambda: rig.value("SELECT count(*) FROM ordermq.outbox") == 3, 20, what="the rest")
    assert Counter(merchant for _, merchant in CALLED) == {"big": 2, "small": 2, "": 2}
    held = rig.rows(
        "SELECT attempt, hop, last_error, extract(epoch FROM available_at - now())::float8,"
        " extract(epoch FROM first_failed_at - %s)::float8 FROM ordermq.outbox ORDER BY available_at",
        failed_at,
    )
    assert {row[:3] for row in held} == {(3, 3, "their error")}
    for number, (*_, wait_s, shift_s) in enumerate(held, start=1):
        assert 10 * number - 10 < wait_s <= 10 * number  # one slot every ten seconds
        assert abs(shift_s - 10 * number) < 7.5  # the hold is no part of the age
    assert rig.value("SELECT count(*) FROM ordermq.slots") == 3
    # Its slot has come; the key's bucket is still empty.
    with rig.session.transaction() as tx:
        tx.execute("UPDATE ordermq.outbox SET available_at = now()")
    rig.relay()
    wait_until(lambda: done(rig) == 9, 20, what="those that had a slot")
    assert rig.value("SELECT count(*) FROM ordermq.slots") == 0


def test_deliveries_that_a_limit_keeps_waiting_are_handed_back_before_the_broker_takes_them(rig):
    set_limit(rig, 1e-6, 1.0)
    consumer = rig.consumer("call", registry=CHARGE, consumer_timeout_s=10.0, handler_deadline_s=4.0)
    publish(rig, charges(20))
    wait_until(lambda: done(rig) == 1, 20, what="the one there is a token for")
    marks = set()
    wait_until(lambda: marks.add(consumer._mark[1]) or len(marks) > 2, 20, what="they were handed back")
    assert consumer.failure is None
    assert rig.rabbit.depth(f"{PREFIX}.call") <= 19
    with rig.session.transaction() as tx:
        limits.remove_limit(tx, "payment")
    wait_until(lambda: done(rig) == 20, 20, what="all")
    assert sorted(each for each, _ in CALLED) == [each.order_id for each in charges(20)]


def test_the_time_in_which_a_limit_is_used_up_is_no_part_of_a_message_s_age(rig):
    hour_ago = utc_now() - timedelta(hours=1)
    with rig.session.transaction() as tx:
        tx.execute(
            "INSERT INTO ordermq.metered (dependency, short_since, short_at)"
            " VALUES ('payment', now() - interval '2 hours', now() - interval '20 minutes')"
        )
        tx.execute(
            "INSERT INTO ordermq.buckets"
            " VALUES ('payment', '', 0, now(), now() - interval '15 minutes', now())"
        )
    consumer = rig.consumer("call", registry=CHARGE)
    wait_until(lambda: consumer._control.may_begin, 10, what="its first look")
    held_s = consumer._control._context.held.seconds(hour_ago, utc_now())
    assert 3600 - 300 - 10 < held_s <= 3600 - 300 + 10  # all but the five minutes between the two


def test_spans_are_joined_over_a_minute_and_short_ones_are_not_kept(rig):
    """What a bucket remembers of the time in which more was asked for than there was."""
    set_limit(rig, 1e-6, 1.0)

    def ask():
        with rig.session.transaction() as tx:
            return limits.take_tokens(tx, {"payment": 5})["payment"]

    def shift(minutes):
        """Let time pass."""
        with rig.session.transaction() as tx:
            tx.execute(
                "UPDATE ordermq.buckets SET short_since = short_since - %(m)s * interval '1 minute',"
                " short_at = short_at - %(m)s * interval '1 minute'",
                {"m": minutes},
            )

    assert ask()[0] == 1
    shift(0.9)
    assert ask()[0] == 0
    shift(0.9)
    ask()
    assert rig.rows("SELECT FROM ordermq.metered") == []  # it goes on
    shift(5)
    ask()
    [(lasted_s,)] = rig.rows("SELECT extract(epoch FROM short_at - short_since)::float8 FROM ordermq.metered")
    assert abs(lasted_s - 108) < 5
    shift(5)
    ask()
    assert len(rig.rows("SELECT FROM ordermq.metered")) == 1  # a moment is not kept


def test_many_who_take_tokens_at_the_same_moment_get_exactly_what_there_is(rig, database_settings):
    set_limit(rig, 1e-6, 500.0, 1e-6, 3.0)
    start = threading.Barrier(6)

    def take(number):
        session = Session(database_settings, name="test")
        start.wait(10)
        got, over = 0, 0
        for turn in range(40):
            with session.transaction() as tx:
                got += limits.take_tokens(tx, {"payment": 7})["payment"][0]
            keys = {f"m{number}.{turn}.{n}": f"k{(n + number) % 4}" for n in range(4)}
            with session.transaction() as tx:
                over += len(limits.take_key_tokens(tx, "payment", "call", keys))
        session.close()
        return got, over

    with ThreadPoolExecutor(6) as pool:
        results = list(pool.map(take, range(6)))
    assert sum(got for got, _ in results) == 500
    assert sum(over for _, over in results) == 6 * 40 * 4 - 4 * 3


def test_old_slots_and_the_buckets_of_old_keys_are_pruned_and_those_of_services_stay(rig):
    with rig.session.transaction() as tx:
        for age in ("1 day", "40 days"):
            tx.execute("INSERT INTO ordermq.slots VALUES ('call', %s, now() - %s::interval)", (age, age))
            for key in ("", "merchant"):
                tx.execute(
                    "INSERT INTO ordermq.buckets (dependency, limit_key, tokens, filled_at)"
                    " VALUES (%s, %s, 1, now() - %s::interval)",
                    (age, key, age),
                )
        horizon = retention.horizon(tx, RetentionSettings())
        for table in (Table.SLOTS, Table.BUCKETS):
            assert retention.count(tx, table, horizon, after=START, limit=10).rows == 1
            assert retention.delete(tx, table, horizon, after=START, limit=10).rows == 1
    assert rig.value("SELECT count(*) FROM ordermq.slots") == 1
    assert rig.value("SELECT count(*) FROM ordermq.buckets WHERE limit_key = ''") == 2


def test_four_processes_together_never_call_more_than_the_limit_gives(pipeline, sandbox):
    """MET1, with processes: at each look no more calls than burst and time give, and in the end all."""
    rate, burst, orders = 20, 5, 60
    pipeline.stock(p_1=1000)
    pipeline.ok(
        "ordermq",
        "limits",
        "set",
        "payment",
        f"{rate}/s",
        "--burst",
        str(burst),
        "--reason",
        "their contract",
    )
    began_s = monotonic_s()
    pipeline.begin("relay", "inventory", *(f"payment:{number}" for number in range(4)))
    pipeline.place([an_order(f"o-{number}") for number in range(orders)])
    looks = []

    def all_captured():
        calls = len(sandbox.ledger("payment"))
        looks.append((calls, burst + rate * (monotonic_s() - began_s)))
        return calls == orders

    wait_until(all_captured, 60, every_s=0.05, what="all are captured")
    assert not [look for look in looks if look[0] > look[1]]
    pipeline.wait_for(orders, "paid")


def test_limits_are_set_shown_and_removed_from_the_command_line(ordermq_stack, vhost, database, tmp_path):
    shop = Shop(ordermq_stack, vhost, database, tmp_path)
    try:
        by = ("--reason", "their contract")
        assert shop.ok("ordermq", "limits", "set", "payment", "50/s", *by, "--dry-run").startswith("would be")
        assert shop.lines("ordermq", "limits", "show") == []
        made = shop.json("ordermq", "limits", "set", "payment", "600/h", "--burst", "100", *by)
        assert (made["rate"], made["burst"], made["outcome"]) == (pytest.approx(1 / 6), 100.0, "set")
        assert "payment" in (shown := shop.ok("ordermq", "limits", "show"))
        assert "10/m, burst 100" in shown
        [limit] = shop.lines("ordermq", "limits", "show")
        assert (limit["is_used_up"], limit["postponed"], limit["reason"]) == (False, 0, "their contract")
        for wrong in (
            ("set", "payment", "fast", *by), ("set", "payment", "0/s", *by), ("set", "payment", "5/s"),
            ("set", "paypal", "5/s", *by), ("set", "payment", "5/s", "--key-burst", "2", *by),
        ):  # fmt: skip
            assert shop.run("ordermq", "limits", *wrong).returncode == 64, wrong
        assert shop.ok("ordermq", "limits", "remove", "payment", *by) == "removed: payment\n"
        assert shop.ok("ordermq", "limits", "remove", "payment", *by) == "no limit: payment\n"
        actions = [
            each["action"] for each in shop.lines("ordermq", "actions", "--subject", "service payment")
        ]
        assert actions == ["limits.remove", "limits.set"]
    finally:
        shop.close()
