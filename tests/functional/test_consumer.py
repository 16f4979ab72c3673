"""The consumer runtime on a real broker and a real database."""

import sys
import threading
import time
from collections import defaultdict
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import replace
from datetime import timedelta

import msgspec
import pytest

from ordermq.config.settings import RetrySettings
from ordermq.consumer.runtime import ConsumerState
from ordermq.errors import (
    DataRefused,
    GatewayRefused,
    GatewayUnavailable,
    OutcomeUnknown,
    QueueMissing,
    StoreRefused,
)
from ordermq.message import Properties, encode
from ordermq.message.envelope import MAX_HOP
from ordermq.message.headers import ATTEMPT, to_properties
from ordermq.observe.metrics import REGISTRY
from ordermq.store import Session, inbox, leases, starts
from ordermq.store import dead_letters as letters
from ordermq.store.starts import Started
from ordermq.task import (
    DONE,
    Dead,
    ExternalHandler,
    Postpone,
    Registry,
    Retry,
    RetryOptions,
    external,
    handler,
)
from ordermq.task.handler import handlers_in
from ordermq.testing import wait_until
from tests.support.probe import CallOut, Probe
from tests.support.runtime import PREFIX, declare, probes


def dead_letters(rig, queue):
    return dict(rig.rows("SELECT message_id, reason FROM ordermq.dead_letters WHERE queue = %s", queue))


def settled(rig, queue):
    return dict(rig.rows("SELECT message_id, outcome FROM ordermq.inbox WHERE queue = %s", queue))


@pytest.mark.parametrize("queue", ["batch", "single", "call"])
def test_each_message_has_its_effect_once_however_often_it_is_delivered(rig, queue):
    """SET2: a duplicate writes nothing."""
    messages = probes(120)
    rig.publish(queue, *messages, *messages[:40], *messages[20:60])
    consumer = rig.consumer(queue)

    effects = rig.wait_for_effects(queue, 120)
    wait_until(lambda: rig.rabbit.depth(f"{PREFIX}.{queue}") == 0, 20, what="an empty queue")
    consumer.stop()
    assert consumer.join(10)
    assert consumer.failure is None
    assert rig.effects(queue) == effects == [each.order_id for each in messages]
    assert set(settled(rig, queue).values()) == {"done"}


@pytest.mark.parametrize("queue", ["batch", "single"])
def test_a_message_that_raises_is_retried_by_the_outbox_and_then_dead_and_costs_its_neighbours_nothing(
    rig, queue
):
    good, bad = probes(30), probes(1, "raise", start=900)
    rig.relay()
    rig.consumer(queue)
    rig.publish(queue, *good[:15], *bad, *good[15:])

    assert rig.wait_for_effects(queue, 30) == [each.order_id for each in good]
    wait_until(lambda: dead_letters(rig, queue), 20, what="a dead letter")
    assert dead_letters(rig, queue) == {"o00900": "gave up after 3 attempts: RuntimeError: asked to raise"}
    assert rig.rows("SELECT order_id FROM deaths") == [("o00900",)]
    assert rig.value("SELECT attempt FROM ordermq.dead_letters") == 3
    assert settled(rig, queue)["o00900"] == "dead"


def test_mixed_outcomes_of_one_batch_are_settled_each_by_its_own(rig):
    rig.publish(
        "batch", *probes(10), *probes(1, "dead", 100), *probes(1, "data", 101), *probes(2, "retry", 102)
    )
    rig.consumer("batch")

    assert rig.wait_for_effects("batch", 10) == [each.order_id for each in probes(10)]
    wait_until(lambda: len(dead_letters(rig, "batch")) == 2, 20, what="two dead letters")
    assert dead_letters(rig, "batch")["o00100"] == "asked to die"
    assert dead_letters(rig, "batch")["o00101"].startswith("DataRefused: division by zero")
    wait_until(lambda: len(rig.rows("SELECT FROM ordermq.outbox")) == 2, 20, what="two retries")
    assert rig.rows("SELECT message_id, attempt, hop FROM ordermq.outbox ORDER BY message_id") == [
        ("o00102", 2, 1),
        ("o00103", 2, 1),
    ]


def test_a_postponed_message_comes_back_without_an_attempt_counted(rig):
    rig.publish("single", *probes(1, "postpone"))
    rig.consumer("single")
    wait_until(lambda: rig.rows("SELECT FROM ordermq.outbox"), 20, what="the postponed row")
    assert rig.rows("SELECT message_id, attempt, hop FROM ordermq.outbox") == [("o00000", 1, 1)]


def test_why_a_message_waits_travels_with_it_without_secrets_or_controls(rig):
    @handler(queue="single", message=Probe, key="order_id")
    def failing(message, tx):
        raise RuntimeError("\x1b[31mno password=hunter2 \u202e" + "x" * 900)

    rig.publish("single", *probes(1))
    consumer = rig.consumer("single", registry=Registry(handlers_in({"failing": failing})))
    waiting = "SELECT last_error, first_failed_at, attempt FROM ordermq.outbox"
    [(error, first_failed_at, attempt)] = wait_until(lambda: rig.rows(waiting), 20, what="the retry")
    assert error.startswith("RuntimeError: \\x1b[31mno password=")
    assert error.isprintable()
    assert "hunter2" not in error
    assert len(error) <= 500
    assert attempt == 2
    consumer.stop()
    assert consumer.join(10)

    # When it comes again and has only to wait, it keeps both
    relay = rig.relay()
    wait_until(lambda: rig.value("SELECT count(*) FROM ordermq.outbox") == 0, 20, what="it was sent")
    relay.stop()
    assert relay.join(10)

    @handler(queue="single", message=Probe, key="order_id")
    def waiting_for(message, tx):
        return Postpone("not yet")

    rig.consumer("single", registry=Registry(handlers_in({"waiting_for": waiting_for})))
    [again] = wait_until(lambda: rig.rows(waiting), 20, what="the postponement")
    assert again[1:] == (first_failed_at, 2)
    assert len(again[0]) <= 300
    assert error.startswith(again[0][:200])


def test_a_handler_s_own_retry_policy_is_over_the_settings(rig):
    @handler(
        queue="single", message=Probe, key="order_id",
        retry=RetryOptions(attempts=1, fatal=(KeyError,), retryable=(LookupError,)),
    )  # fmt: skip
    def failing(message, tx):
        raise KeyError("fatal") if message.do == "dead" else IndexError("again")

    rig.publish("single", *probes(1, "dead"), *probes(1, start=1))
    rig.consumer("single", registry=Registry(handlers_in({"failing": failing})))
    wait_until(lambda: len(dead_letters(rig, "single")) == 2, 20, what="two dead letters")
    assert dead_letters(rig, "single") == {
        "o00000": "KeyError: 'fatal'",
        "o00001": "gave up after 1 attempts: IndexError: again",
    }


def test_complete_gets_the_error_of_a_call_as_its_handler_named_it_and_else_as_unknown(rig):
    @external(
        queue="call", message=Probe, key="order_id",
        retry=RetryOptions(
            retryable=(ConnectionError,), fatal=(LookupError,), unknown=(ConnectionResetError,)
        ),
    )  # fmt: skip
    class Named(CallOut):
        def call(self, message):
            raise {
                "refused": ConnectionRefusedError, "reset": ConnectionResetError, "key": KeyError,
                "own": GatewayRefused, "bug": ZeroDivisionError, "exit": SystemExit,
            }[message.do]("no")  # fmt: skip

        def complete(self, finished, tx):
            rows = [(each.claim.message.do, type(each.result).__name__) for each in finished]
            tx.execute_values("INSERT INTO effects (order_id, queue) VALUES %s", rows)
            return [DONE] * len(finished)

    told = {
        "refused": "GatewayUnavailable", "reset": "OutcomeUnknown", "key": "GatewayRefused",
        "own": "GatewayRefused", "bug": "OutcomeUnknown", "exit": "OutcomeUnknown",
    }  # fmt: skip
    for number, do in enumerate(told):
        rig.publish("call", *probes(1, do, start=number))
    rig.consumer("call", registry=Registry(handlers_in({"Named": Named})))
    wait_until(lambda: len(rig.rows("SELECT FROM effects")) == len(told), 20, what="all completed")
    assert dict(rig.rows("SELECT order_id, queue FROM effects")) == told


def test_a_full_disk_pauses_the_work_under_its_own_name(rig):
    @handler(queue="single", message=Probe, key="order_id")
    def writing(message, tx):
        tx.execute(
            "DO $$ BEGIN IF EXISTS (SELECT FROM deaths) THEN"
            " RAISE EXCEPTION 'could not extend file' USING ERRCODE = 'disk_full'; END IF; END $$"
        )
        tx.execute("INSERT INTO effects (order_id, queue) VALUES (%s, 'single')", (message.order_id,))

    def paused(reason):
        return REGISTRY.get_sample_value("ordermq_paused", {"queue": "single", "reason": reason})

    with rig.session.transaction() as tx:
        tx.execute("INSERT INTO deaths VALUES ('full', 'full')")
    consumer = rig.consumer("single", registry=Registry(handlers_in({"writing": writing})))
    rig.publish("single", *probes(1))
    wait_until(lambda: "paused" in str(consumer._health.ready().reasons), 20, what="the pause")
    assert "the database has room on its disk" in str(consumer._health.ready().reasons)
    assert (paused("disk full"), paused("database") or 0) == (1, 0)
    with rig.session.transaction() as tx:
        tx.execute("DELETE FROM deaths")
    assert rig.wait_for_effects("single", 1) == ["o00000"]
    wait_until(lambda: consumer._health.ready().is_good, 10, what="ready again")
    assert paused("disk full") == 0


def test_unreadable_messages_are_dead_letters_with_their_bytes_and_neighbours_are_handled(rig):
    poison = [
        (None, b"\xff\xfe"),
        (None, b""),
        (None, b'{"order_id": 7}'),
        (None, b'{"order_id":"a","order_id":"b"}'),
        (None, b"[" * 100_000),
        (Properties(type="Strange"), b"{}"),
        (Properties(message_id="has space"), b'{"order_id":"x"}'),
        (Properties(content_encoding="gzip"), b"\x1f\x8b"),
        (Properties(headers={ATTEMPT: "many"}), b'{"order_id":"y"}'),
    ]
    rig.publish("batch", *probes(3))
    rig.publish_raw("batch", *poison)
    rig.publish("batch", *probes(3, start=3))
    rig.consumer("batch")

    rig.wait_for_effects("batch", 6)
    wait_until(
        lambda: len(dead_letters(rig, "batch")) == len(poison), 20, what="a dead letter of every poison"
    )
    bodies = {bytes(row[0]) for row in rig.rows("SELECT body FROM ordermq.dead_letters")}
    assert bodies == {body for _, body in poison}


BROKEN = {ATTEMPT: "many"}  # of an envelope that is not believed


@pytest.mark.parametrize("queue", ["single", "batch", "call"])
@pytest.mark.parametrize("broken", [{"headers": BROKEN}, {"type": "Strange"}], ids=["envelope", "type"])
def test_what_no_handler_can_read_is_a_dead_letter_whatever_was_settled_under_its_id(rig, queue, broken):
    """SET3: before the message whose id it bears, beside it and after it; and that is handled."""
    [probe] = probes(1)
    properties = Properties(message_id=probe.order_id, **broken)
    rig.publish_raw(queue, (properties, b'{"order_id": "before"}'))
    rig.publish(queue, probe)
    rig.publish_raw(queue, (properties, b'{"order_id": "beside"}'))
    rig.consumer(queue)
    rig.wait_for_effects(queue, 1)
    rig.publish_raw(queue, (properties, b'{"order_id": "after"}'))
    count = "SELECT count(*) FROM ordermq.dead_letters"
    wait_until(lambda: rig.value(count) == 3, 20, what="a dead letter of each")
    rig.publish_raw(queue, (properties, b'{"order_id": "after"}'), (properties, b'{"order_id": "last"}'))
    wait_until(lambda: rig.value(count) == 4, 20, what="no second letter of the same bytes")
    assert rig.effects(queue) == [probe.order_id]


def test_a_message_is_neither_lost_nor_left_without_a_letter_after_a_million_hops(rig):
    rig.publish("single", *probes(1, "postpone"), hop=999_999)
    rig.publish("single", *probes(1, "postpone", start=1), hop=MAX_HOP)
    rig.relay()
    rig.consumer("single")
    hop = "SELECT hop FROM ordermq.inbox WHERE message_id = 'o00000'"
    wait_until(lambda: rig.rows(hop) and rig.value(hop) > 1_000_001, 20, what="more hops than a million")
    wait_until(lambda: dead_letters(rig, "single"), 20, what="the letter of the other")
    assert "sent again 2147483647 times" in rig.value("SELECT reason FROM ordermq.dead_letters")
    with rig.session.transaction() as tx:
        [letter] = letters.select(tx)
        letters.replay(tx, letter, by="me", reason="mended")
    replayed = "SELECT replay_no FROM ordermq.dead_letters WHERE replayed_at IS NULL"
    wait_until(lambda: rig.rows(replayed) == [(1,)], 20, what="the death of the replay")


def test_a_service_that_says_come_back_at_once_is_asked_later_and_later(rig):
    @external(queue="call", message=Probe, key="order_id")
    class Refusing(ExternalHandler):
        def prepare(self, claims, tx):
            return [each.message for each in claims]

        def call(self, message):
            raise GatewayUnavailable("503", retry_after_s=0.0)

        def complete(self, finished, tx):
            return [Postpone(str(each.result), each.result.retry_after_s) for each in finished]

    rig.settings = replace(rig.settings, retry=RetrySettings(postpone_s=600.0, cap_s=86_400.0))
    rig.publish("call", *probes(20), hop=20)
    rig.consumer("call", registry=Registry(handlers_in({"refusing": Refusing})), breaker_failures=1000)
    waits = "SELECT extract(epoch FROM available_at - now()) FROM ordermq.outbox"
    wait_until(lambda: len(rig.rows(waits)) == 20, 20, what="every message postponed")
    assert sum(row[0] > 600.0 for row in rig.rows(waits)) > 10


def test_a_foreign_body_without_any_property_is_handled_once(rig):
    rig.publish_raw("single", (None, b'{"order_id": "foreign"}'), (None, b'{"order_id": "foreign"}'))
    rig.consumer("single")
    assert rig.wait_for_effects("single", 1) == ["foreign"]
    wait_until(lambda: len(settled(rig, "single")) == 1, 10)


def test_a_stop_finishes_what_runs_returns_what_waits_and_loses_nothing(rig):
    rig.publish("single", *probes(40, "sleep", seconds=0.2))
    first = rig.consumer("single", threads=2, prefetch=20)
    rig.wait_for_effects("single", 2)

    first.stop()
    assert first.join(10)
    assert first.failure is None
    assert first.state is ConsumerState.STOPPED
    handled = len(rig.effects("single"))
    assert 2 <= handled < 40
    wait_until(
        lambda: rig.rabbit.depth(f"{PREFIX}.single") == 40 - handled, 20, what="the rest back in the queue"
    )

    rig.consumer("single", threads=16)
    assert rig.wait_for_effects("single", 40) == [each.order_id for each in probes(40)]


@pytest.mark.parametrize("queue", ["single", "call"])
def test_stops_in_a_row_make_no_message_a_killer(rig, queue):
    """Each stop returns what waits, and all of it comes back with the flag of a suspect."""
    rig.publish(queue, *probes(80, "sleep", seconds=0.1))
    for _ in range(10):
        handled = len(rig.effects(queue))
        consumer = rig.consumer(queue, threads=2, prefetch=80)
        rig.wait_for_effects(queue, handled + 1)
        consumer.stop()
        assert consumer.join(10)
        assert consumer.failure is None
    assert len(rig.effects(queue)) < 80
    assert rig.value("SELECT count(*) FROM ordermq.starts") == 0
    rig.relay()
    rig.consumer(queue, threads=16)
    assert rig.wait_for_effects(queue, 80) == [each.order_id for each in probes(80)]
    assert rig.value("SELECT count(*) FROM ordermq.dead_letters") == 0


def test_a_deleted_queue_is_not_a_silent_end(rig):
    """RUN2: a cancel sent by the broker is a lost connection."""
    consumer = rig.consumer("single")
    rig.publish("single", *probes(1))
    rig.wait_for_effects("single", 1)

    rig.rabbit.delete_queue(f"{PREFIX}.single")
    wait_until(lambda: not consumer._health.ready().is_good, 10, what="the consumer to notice")
    declare(rig.settings)
    rig.publish("single", *probes(1, start=1))
    rig.wait_for_effects("single", 2)
    assert consumer.state is ConsumerState.RUNNING


def test_a_permission_taken_from_a_running_consumer_is_waited_for(rig):
    consumer = rig.consumer("single")
    rig.publish("single", *probes(1))
    rig.wait_for_effects("single", 1)
    user, vhost = rig.settings.broker.username, rig.settings.broker.vhost
    rig.stack.broker.set_permissions(user, vhost, read="^$")
    try:
        rig.rabbit.close_connections()
        wait_until(lambda: "ACCESS_REFUSED" in str(consumer._health.ready().reasons), 20, what="the refusal")
    finally:
        rig.stack.broker.set_permissions(user, vhost)
    rig.publish("single", *probes(1, start=1))
    assert rig.wait_for_effects("single", 2) == ["o00000", "o00001"]
    assert consumer.failure is None


def test_a_long_pause_gives_the_deliveries_back_and_ends_with_a_new_subscription(rig):
    """WRK1: what has not committed is not acked, so the broker gets it back."""
    rig.publish("single", *probes(30))
    rig.relay()  # the first tries end as retries
    with contend(rig, "LOCK TABLE ordermq.inbox"):
        consumer = rig.consumer("single", threads=2, consumer_timeout_s=1.0)
        wait_until(lambda: rig.rabbit.depth(f"{PREFIX}.single") < 30, 20, what="the first deliveries")
        wait_until(lambda: rig.rabbit.depth(f"{PREFIX}.single") == 30, 20, what="all back in the queue")
        assert consumer.failure is None
    assert rig.wait_for_effects("single", 30) == [each.order_id for each in probes(30)]
    wait_until(lambda: rig.rabbit.depth(f"{PREFIX}.single") == 0, 20, what="an empty queue")
    assert len(rig.effects("single")) == 30


def test_a_queue_that_never_existed_ends_the_start_with_what_to_do(rig):
    rig.rabbit.delete_queue(f"{PREFIX}.single")
    consumer = rig.consumer("single")
    assert consumer.join(20)
    assert isinstance(consumer.failure, QueueMissing)
    assert consumer.failure.exit_code == 78
    assert "ordermq topology apply" in str(consumer.failure)


def test_a_connection_closed_by_the_broker_comes_back_and_every_message_is_handled_once(rig):
    rig.publish("batch", *probes(500))
    rig.consumer("batch", batch=10)
    rig.wait_for_effects("batch", 50)
    rig.rabbit.close_connections()
    rig.publish("batch", *probes(100, start=500))
    assert rig.wait_for_effects("batch", 600) == [each.order_id for each in probes(600)]
    wait_until(lambda: rig.rabbit.depth(f"{PREFIX}.batch") == 0, 20, what="an empty queue")
    assert len(rig.effects("batch")) == 600


def test_what_was_begun_on_a_lost_channel_is_not_acked_on_the_next(rig):
    """RUN1: a tag of an earlier epoch is dropped."""
    """Tags begin anew with each channel: the third of the last is not the third of the next."""

    @handler(queue="single", message=Probe, key="order_id")
    def held(message, tx):
        begun.append(message.order_id)
        gates[message.order_id].wait(20)
        tx.execute("INSERT INTO effects (order_id, queue) VALUES (%s, 'single')", (message.order_id,))

    begun, gates = [], defaultdict(threading.Event)
    gates["o00000"].set()
    gates["o00001"].set()
    consumer = rig.consumer("single", registry=Registry(handlers_in({"held": held})), threads=1, prefetch=9)
    rig.publish("single", *probes(5))
    wait_until(lambda: "o00002" in begun, 20, what="the third begun, two acked")
    rig.rabbit.close_connections()
    wait_until(lambda: consumer._epoch >= 3 and consumer._frontier.unsettled == 3, 20, what="all three again")

    gates["o00002"].set()  # its tag was the third, which now is that of the last
    wait_until(lambda: "o00003" in begun and consumer._frontier.unsettled <= 2, 20, what="the fourth begun")
    rig.rabbit.close_connections()
    gates["o00003"].set()
    gates["o00004"].set()
    assert rig.wait_for_effects("single", 5) == [each.order_id for each in probes(5)]


def test_a_lost_database_pauses_the_work_and_costs_no_attempt(rig):
    consumer = rig.consumer("single", threads=2)
    rig.publish("single", *probes(20))
    rig.wait_for_effects("single", 20)

    rig.stack.postgres.kill()
    try:
        rig.publish("single", *probes(20, start=20))
        wait_until(lambda: "paused" in str(consumer._health.ready().reasons), 20, what="the pause")
    finally:
        rig.stack.postgres.start()
    rig.session.close()
    assert rig.wait_for_effects("single", 40) == [each.order_id for each in probes(40)]
    assert rig.value("SELECT count(*) FROM ordermq.dead_letters") == 0
    assert rig.value("SELECT count(*) FROM ordermq.outbox") == 0
    wait_until(lambda: consumer._health.ready().is_good, 10, what="ready again")


def test_a_message_that_never_ended_three_starts_is_dead(rig):
    suspect = probes(1)[0]
    with rig.session.transaction() as tx:
        tx.execute(
            "INSERT INTO ordermq.starts (queue, message_id, starts) VALUES ('batch', %s, 3)",
            (suspect.order_id,),
        )
    rig.publish_raw("batch", suspected(rig, suspect))
    rig.publish("batch", *probes(5, start=1))
    rig.consumer("batch")
    rig.wait_for_effects("batch", 5)
    wait_until(lambda: dead_letters(rig, "batch"), 20, what="the killer's dead letter")
    assert "kills the process" in dead_letters(rig, "batch")["o00000"]
    assert rig.value("SELECT count(*) FROM ordermq.starts") == 0


@pytest.mark.parametrize("queue", ["batch", "single", "call"])
def test_a_suspect_that_was_settled_before_is_not_held_against_it_for_ever(rig, queue):
    probe = probes(1)[0]
    rig.publish(queue, probe)
    rig.consumer(queue)
    rig.wait_for_effects(queue, 1)
    before = duplicates(queue)
    rig.publish_raw(queue, suspected(rig, probe))
    wait_until(lambda: duplicates(queue) > before, 20.0, what="the duplicate is recognised")
    assert rig.value("SELECT count(*) FROM ordermq.starts") == 0
    assert len(rig.effects(queue)) == 1


def duplicates(queue):
    return REGISTRY.get_sample_value("ordermq_settled_total", {"queue": queue, "outcome": "duplicate"}) or 0


def suspected(rig, probe):
    """Return ``probe`` as the broker delivers it for the fourth time."""
    properties = to_properties(rig.envelope(probe))
    headers = {**properties.headers, "x-delivery-count": 3}
    return Properties(
        message_id=properties.message_id, type=properties.type, headers=headers
    ), f'{{"order_id":"{probe.order_id}"}}'.encode()


def test_external_calls_run_beside_each_other(rig):
    rig.publish("call", *probes(40, seconds=0.25))
    rig.consumer("call", threads=20)
    rig.wait_for_effects("call", 40, timeout_s=5.0)  # one after the other would take 10 s
    assert rig.value("SELECT count(*) FROM calls") == 40
    wait_until(lambda: rig.value("SELECT count(*) FROM ordermq.leases") == 0, 10, what="no lease left")


def test_a_message_under_a_foreign_live_lease_waits_for_its_end_uncounted(rig):
    """EXT2: no attempt is counted for the wait."""
    lease(rig, "o00000", "+1.5 s")
    rig.relay()
    rig.consumer("call")
    rig.publish("call", *probes(1))
    wait_until(lambda: rig.rows("SELECT FROM ordermq.outbox"), 10, what="the postponed row")
    assert rig.effects("call") == []
    rig.wait_for_effects("call", 1)
    assert rig.rows("SELECT resumed FROM calls") == [(True,)]
    assert settled(rig, "call") == {"o00000": "done"}


def test_an_expired_lease_is_taken_over_and_the_handler_knows(rig):
    lease(rig, "o00000", "-1 s")
    rig.consumer("call")
    rig.publish("call", *probes(2))
    rig.wait_for_effects("call", 2)
    assert dict(rig.rows("SELECT order_id, resumed FROM calls")) == {"o00000": True, "o00001": False}


def test_what_a_call_raises_reaches_complete_and_attempts_are_bounded(rig):
    rig.relay()
    rig.consumer("call")
    rig.publish("call", *probes(1, "raise"), *probes(3, start=1))
    rig.wait_for_effects("call", 3)
    wait_until(lambda: dead_letters(rig, "call"), 20, what="a dead letter")
    assert "gave up after 3 attempts" in dead_letters(rig, "call")["o00000"]
    assert rig.value("SELECT count(*) FROM calls WHERE order_id = 'o00000'") == 3
    assert rig.rows("SELECT order_id FROM deaths") == [("o00000",)]
    assert rig.value("SELECT count(*) FROM ordermq.leases") == 0


def test_a_stop_during_external_calls_waits_for_them_and_settles_them(rig):
    rig.publish("call", *probes(8, seconds=0.5))
    consumer = rig.consumer("call", threads=4)
    wait_until(lambda: rig.value("SELECT count(*) FROM calls") >= 4, 10, what="calls under way")
    consumer.stop()
    assert consumer.join(10)
    assert consumer.failure is None
    handled = len(rig.effects("call"))
    assert handled >= 4
    # What was prepared and not called any more is in the outbox.
    uncalled = rig.value("SELECT count(*) FROM ordermq.outbox")
    wait_until(
        lambda: rig.rabbit.depth(f"{PREFIX}.call") == 8 - handled - uncalled, 20, what="the rest in the queue"
    )
    assert rig.value("SELECT count(*) FROM ordermq.leases") == 0


def test_a_late_duplicate_of_an_earlier_hop_is_recognised(rig):
    rig.publish("single", *probes(1), hop=2)
    rig.consumer("single")
    rig.wait_for_effects("single", 1)
    rig.publish("single", *probes(1), hop=1)
    rig.publish("single", *probes(1), hop=5)
    rig.publish("single", *probes(1, start=1))
    rig.wait_for_effects("single", 2)
    assert rig.effects("single") == ["o00000", "o00001"]


def lease(rig, message_id, until):
    with rig.session.transaction() as tx:
        tx.execute(
            "INSERT INTO ordermq.leases VALUES ('call', %s, 'another', now() + %s::interval)",
            (message_id, until),
        )


# --- what goes wrong beside the message ---------------------------------------


def contend(rig, statement):
    """Hold a lock in a transaction of its own until ``release()``; the consumers wait 0.2 s for it."""
    rig.settings = replace(rig.settings, database=replace(rig.settings.database, lock_timeout_s=0.2))
    holder = Session(rig.settings.database, name="holder")
    held = ExitStack()
    held.callback(holder.close)
    held.enter_context(rollback(holder)).execute(statement)
    return held


@contextmanager
def rollback(session):
    with suppress(_Undo), session.transaction() as tx:
        yield tx
        raise _Undo


class _Undo(Exception):
    pass


def wait_for_lock_timeouts(rig, count):
    """Wait until statements have waited for a lock in vain ``count`` times."""
    waits = set()

    def look():
        waits.update(
            rig.rows(
                "SELECT pid, query_start FROM pg_stat_activity"
                " WHERE datname = current_database() AND wait_event_type = 'Lock'"
            )
        )
        return len(waits) > count

    wait_until(look, 20, what=f"{count} lock timeouts")


def test_a_lock_that_keeps_a_message_from_being_settled_is_waited_for(rig):
    held = contend(rig, "INSERT INTO ordermq.inbox VALUES ('single', 'o00000', 0, 'retry')")
    with held:
        consumer = rig.consumer("single", threads=1)
        rig.publish("single", *probes(2, "retry"))
        wait_for_lock_timeouts(rig, 5)
    wait_until(lambda: len(rig.rows("SELECT FROM ordermq.outbox")) == 2, 20, what="two retries")
    assert consumer.failure is None
    wait_until(lambda: consumer._health.ready().is_good, 10, what="ready again")


@pytest.mark.parametrize("queue", ["single", "batch", "call"])
def test_a_thread_that_hangs_while_it_settles_is_seen_and_one_that_waits_or_works_is_not(rig, queue):
    """WRK3"""
    consumer = rig.consumer(queue, lease_s=60.0)
    rig.publish(queue, *probes(1, "sleep", seconds=1.0))
    wait_until(consumer._running.runs, 20, what="a handler at work")
    assert consumer._workers.silent_for_s() == 0.0
    rig.wait_for_effects(queue, 1)
    held = contend(rig, f"INSERT INTO ordermq.inbox VALUES ('{queue}', 'o00001', 0, 'retry')")  # noqa: S608 # a test's own
    with held:
        rig.publish(queue, *probes(1, start=1))
        wait_until(lambda: consumer._workers.silent_for_s() > 1.0, 20, what="a thread that is silent")
    rig.wait_for_effects(queue, 2)
    wait_until(lambda: consumer._workers.silent_for_s() < 0.6, 10, what="a sign of life")


@pytest.mark.parametrize("queue", ["single", "call"])
def test_a_lock_in_what_follows_from_a_death_does_not_skip_it(rig, queue):
    with contend(rig, "LOCK TABLE deaths"):
        rig.consumer(queue, threads=1)
        rig.publish(queue, *probes(1, "dead"))
        wait_for_lock_timeouts(rig, 3)
    wait_until(lambda: dead_letters(rig, queue), 20, what="the dead letter")
    assert dead_letters(rig, queue) == {"o00000": "asked to die"}
    assert rig.rows("SELECT order_id, reason FROM deaths") == [("o00000", "asked to die")]


def test_a_lock_that_keeps_a_dead_letter_from_being_written_has_no_other_message_called_again(rig):
    prepared, called = [], []

    @external(queue="call", message=Probe, key="order_id")
    class Refusing(CallOut):
        def prepare(self, claims, tx):
            prepared.extend(each.message.order_id for each in claims)
            return [Dead("never") if each.message.do == "dead" else each.message for each in claims]

        def call(self, message):
            called.append(message.order_id)

    registry = Registry(handlers_in({"refusing": Refusing}))
    rig.publish("call", *probes(1), *probes(1, "dead", start=1))
    with contend(rig, "LOCK TABLE ordermq.dead_letters"):
        rig.consumer("call", registry=registry, threads=1)
        wait_until(lambda: prepared.count("o00001") >= 2, 60, what="the second try of the dead letter")
    wait_until(lambda: dead_letters(rig, "call"), 20, what="the dead letter")
    rig.wait_for_effects("call", 1)
    assert (prepared.count("o00000"), called) == (1, ["o00000"])


def test_the_result_of_a_call_is_kept_while_a_lock_keeps_it_from_being_written(rig):
    with contend(rig, "LOCK TABLE effects"):
        rig.consumer("call")
        rig.publish("call", *probes(3))
        wait_for_lock_timeouts(rig, 8)
    assert rig.wait_for_effects("call", 3) == [each.order_id for each in probes(3)]
    assert rig.value("SELECT count(*) FROM calls") == 3
    assert rig.value("SELECT count(*) FROM ordermq.outbox") == 0
    assert set(settled(rig, "call").values()) == {"done"}


def test_the_result_of_a_call_is_written_although_a_stop_was_heard_meanwhile(rig):
    with contend(rig, "LOCK TABLE effects"):
        consumer = rig.consumer("call")
        rig.publish("call", *probes(3))
        wait_for_lock_timeouts(rig, 8)
        consumer.stop()
        wait_for_lock_timeouts(rig, 3)
    assert consumer.join(20)
    assert consumer.failure is None
    assert rig.effects("call") == [each.order_id for each in probes(3)]
    wait_until(lambda: rig.rabbit.depth(f"{PREFIX}.call") == 0, 10, what="an empty queue")


def test_a_handler_that_swallows_the_error_of_a_statement_loses_no_message(rig):
    @handler(queue="single", message=Probe, key="order_id")
    def careless(message, tx):
        tx.execute("INSERT INTO effects (order_id, queue) VALUES (%s, 'single')", (message.order_id,))
        with suppress(DataRefused):
            tx.execute("SELECT 1 / 0")

    rig.relay()
    rig.consumer("single", registry=Registry(handlers_in({"careless": careless})))
    rig.publish("single", *probes(1))
    wait_until(lambda: dead_letters(rig, "single"), 20, what="the dead letter")
    assert "failed statement" in dead_letters(rig, "single")["o00000"]


def test_a_message_that_is_slow_and_never_ends_is_given_up_and_its_neighbours_are_handled(rig):
    @handler(queue="single", message=Probe, key="order_id")
    def dreaming(message, tx):
        tx.execute("INSERT INTO effects (order_id, queue) VALUES (%s, 'single')", (message.order_id,))
        time.sleep(message.seconds)

    rig.settings = replace(rig.settings, database=replace(rig.settings.database, idle_in_transaction_s=0.2))
    rig.relay()
    rig.consumer("single", registry=Registry(handlers_in({"dreaming": dreaming})), threads=1)
    rig.publish("single", *probes(1, seconds=0.5), *probes(2, start=1))
    wait_until(lambda: dead_letters(rig, "single"), 30, what="the dead letter")
    assert "idle" in dead_letters(rig, "single")["o00000"]
    assert rig.wait_for_effects("single", 2) == ["o00001", "o00002"]


def test_a_handler_that_ends_its_thread_has_failed_and_the_thread_goes_on(rig):
    @handler(queue="batch", message=Probe, key="order_id", batch=10, on_dead=sys.exit)
    def exiting(messages, tx):
        if any(message.do == "exit" for message in messages):
            sys.exit("had enough")
        rows = [(message.order_id, "batch") for message in messages]
        tx.execute_values("INSERT INTO effects (order_id, queue) VALUES %s", rows)
        return [DONE] * len(messages)

    rig.relay()
    rig.publish("batch", *probes(1, "exit"), *probes(5, start=1))
    consumer = rig.consumer("batch", registry=Registry(handlers_in({"exiting": exiting})), threads=1)
    assert rig.wait_for_effects("batch", 5) == [each.order_id for each in probes(5, start=1)]
    wait_until(lambda: dead_letters(rig, "batch"), 20, what="the dead letter")
    assert "SystemExit: had enough; then on_dead failed" in dead_letters(rig, "batch")["o00000"]
    assert consumer.failure is None


def test_a_death_whose_reason_postgresql_cannot_hold_is_a_dead_letter(rig):
    @handler(queue="single", message=Probe, key="order_id")
    def garbled(message, tx):
        return Dead("the service said \x00\ud800")

    rig.consumer("single", registry=Registry(handlers_in({"garbled": garbled})))
    rig.publish("single", *probes(1))
    wait_until(lambda: dead_letters(rig, "single"), 20, what="the dead letter")
    assert dead_letters(rig, "single") == {"o00000": "the service said ?"}


# --- external handlers that misbehave, and leases -----------------------------


class Forgetful(CallOut):
    """Completes nothing."""

    def complete(self, finished, tx):
        return [None for _ in finished]


class Exiting(CallOut):
    """Its call ends the thread it runs on."""

    def call(self, message):
        raise SystemExit(1)


def registry_of(external_class):
    marked = external(queue="call", message=Probe, key="order_id")(external_class)
    return Registry(handlers_in({"marked": marked}))


def test_a_complete_that_answers_nothing_loses_no_message(rig):
    rig.relay()
    rig.consumer("call", registry=registry_of(Forgetful))
    rig.publish("call", *probes(2))
    wait_until(lambda: len(dead_letters(rig, "call")) == 2, 20, what="two dead letters")
    assert "HandlerMisbehaved" in dead_letters(rig, "call")["o00000"]
    assert rig.value("SELECT count(*) FROM ordermq.leases") == 0


def test_a_call_that_ends_its_thread_has_an_unknown_outcome(rig):
    rig.relay()
    rig.consumer("call", registry=registry_of(Exiting), threads=1)
    rig.publish("call", *probes(3))
    wait_until(lambda: len(dead_letters(rig, "call")) == 3, 20, what="three dead letters")
    assert "SystemExit" in dead_letters(rig, "call")["o00000"]


class _Unspeakable(Exception):
    def __str__(self):
        raise LookupError("no such text")


@pytest.mark.parametrize(
    "error", [GatewayUnavailable("busy", "30"), GatewayUnavailable("busy", float("nan")), _Unspeakable()]
)
def test_a_call_whose_error_is_itself_broken_costs_no_thread(rig, error):
    class Breaking(CallOut):
        def call(self, message):
            if message.do == "raise":
                raise error
            return "called"

        def complete(self, finished, tx):
            told.extend(each.result for each in finished)
            return [DONE] * len(finished)

    told = []
    consumer = rig.consumer("call", registry=registry_of(Breaking), threads=1)
    rig.publish("call", *probes(1, "raise"), *probes(1, start=1))
    wait_until(lambda: len(told) == 2, 10, what="both results")
    assert sum(isinstance(each, GatewayUnavailable | OutcomeUnknown) for each in told) == 1
    assert consumer.failure is None


@pytest.mark.parametrize(
    "outcome", [Retry(ValueError("not text")), Retry("soon", "5"), Postpone("soon", timedelta(1)), Dead(None)]
)
def test_an_outcome_of_the_wrong_types_is_its_message_s_failure(rig, outcome):
    @handler(queue="single", message=Probe, key="order_id", retry=RetryOptions(attempts=1))
    def mistyped(message, tx):
        return outcome

    consumer = rig.consumer("single", registry=Registry(handlers_in({"mistyped": mistyped})), threads=1)
    rig.publish("single", *probes(1))
    wait_until(lambda: dead_letters(rig, "single"), 10, what="the dead letter")
    assert "HandlerMisbehaved" in dead_letters(rig, "single")["o00000"]
    assert consumer.failure is None


def test_an_error_that_cannot_be_put_into_words_is_its_message_s_failure(rig):
    @handler(queue="single", message=Probe, key="order_id", retry=RetryOptions(attempts=1))
    def unspeakable(message, tx):
        raise _Unspeakable

    consumer = rig.consumer("single", registry=Registry(handlers_in({"unspeakable": unspeakable})), threads=1)
    rig.publish("single", *probes(1))
    wait_until(lambda: dead_letters(rig, "single"), 10, what="the dead letter")
    assert "_Unspeakable" in dead_letters(rig, "single")["o00000"]
    assert consumer.failure is None


def test_a_duplicate_that_arrives_as_its_message_is_settled_is_not_called_again(rig):
    """EXT4: the inbox is read after the lease was taken."""
    lease(rig, "o00000", "+60 s")
    other = Session(rig.settings.database, name="other")
    with other.transaction() as tx:
        inbox.complete(tx, "call", [("o00000", 0)])
        leases.release(tx, "call", ["o00000"], "another")
        tx.execute("SELECT 1")  # sends what is held back
        rig.consumer("call")
        rig.publish("call", *probes(2))
        wait_for_lock(rig)
    other.close()
    rig.wait_for_effects("call", 1)
    wait_until(lambda: rig.value("SELECT count(*) FROM ordermq.leases") == 0, 10, what="no lease left")
    wait_until(lambda: rig.rabbit.depth(f"{PREFIX}.call") == 0, 10, what="an empty queue")
    assert rig.rows("SELECT order_id FROM calls") == [("o00001",)]


def wait_for_lock(rig):
    wait_until(
        lambda: rig.rows(
            "SELECT FROM pg_stat_activity WHERE datname = current_database() AND wait_event_type = 'Lock'"
        ),
        10,
        what="a statement that waits for a lock",
    )


# --- suspects -----------------------------------------------------------------


def suspects(rig, queue, *payloads):
    """Publish as the broker delivers what came back to it twice."""
    for payload in payloads:
        properties = to_properties(rig.envelope(payload))
        headers = {**properties.headers, "x-delivery-count": 2}
        rig.publish_raw(queue, (msgspec.structs.replace(properties, headers=headers), encode(payload)))


def test_a_suspect_that_the_database_keeps_waiting_is_started_once(rig):
    @handler(queue="single", message=Probe, key="order_id")
    def forbidden(message, tx):
        tries.append(message.order_id)
        if len(tries) < 6:
            raise StoreRefused("as if a permission were missing")
        tx.execute("INSERT INTO effects (order_id, queue) VALUES (%s, 'single')", (message.order_id,))

    tries = []
    rig.consumer("single", registry=Registry(handlers_in({"forbidden": forbidden})), threads=1)
    suspects(rig, "single", *probes(1))
    assert rig.wait_for_effects("single", 1) == ["o00000"]
    assert rig.value("SELECT count(*) FROM ordermq.dead_letters") == 0


def test_what_was_begun_before_runs_alone_and_the_rest_of_what_came_back_together(rig):
    """STA2: nothing else of the process runs beside it."""

    @handler(queue="single", message=Probe, key="order_id")
    def watched(message, tx):
        running.append(message.order_id)
        time.sleep(message.seconds)
        beside.setdefault(message.order_id, set()).update(running)
        running.remove(message.order_id)
        tx.execute("INSERT INTO effects (order_id, queue) VALUES (%s, 'single')", (message.order_id,))

    running, beside = [], {}
    begun, others = probes(4, seconds=0.02), probes(20, seconds=0.02, start=4)
    with rig.session.transaction() as tx:
        starts.put(tx, "single", {each.order_id: Started(1) for each in begun})
    suspects(rig, "single", *others[:10], *begun, *others[10:])
    rig.consumer("single", registry=Registry(handlers_in({"watched": watched})), threads=4)
    rig.wait_for_effects("single", 24)
    assert [beside[each.order_id] for each in begun] == [{each.order_id} for each in begun]
    assert any(len(beside[each.order_id]) > 1 for each in others)
    assert rig.value("SELECT count(*) FROM ordermq.starts") == 0
