"""The consumer of what the broker dead-lettered: from ``<prefix>.dead`` into ``dead_letters``."""

import time
from threading import Event

import pytest
from msgspec.structs import replace

from ordermq.errors import HandlerOverdue
from ordermq.message import Properties, Publishing
from ordermq.store import leases, starts
from ordermq.task import Registry, handler
from ordermq.task.handler import handlers_in
from ordermq.testing import wait_until
from tests.support.probe import Probe
from tests.support.runtime import PREFIX, probes
from tests.support.shop import an_order

DEAD = f"{PREFIX}.dead"
REJECTED = "dead-lettered by the broker: rejected"


def letters(rig):
    return rig.rows("SELECT queue, message_id, reason FROM ordermq.dead_letters ORDER BY message_id")


def wait_until_drained(rig):
    wait_until(lambda: rig.rabbit.depth(DEAD) == 0, 20.0, what="an empty dead-letter queue")


@pytest.mark.parametrize("queue_type", ["quorum", "classic"])
def test_what_another_client_rejects_is_a_dead_letter_with_all_that_follows(rig, queue_type):
    rig.use(queue_type)
    rig.consumer("dead")
    rig.publish("single", *probes(2))
    rig.rabbit.reject(f"{PREFIX}.single", 2)
    wait_until(lambda: len(letters(rig)) == 2, 20.0, what="two dead letters")
    assert letters(rig) == [("single", "o00000", REJECTED), ("single", "o00001", REJECTED)]
    assert rig.rows("SELECT order_id FROM deaths ORDER BY 1") == [("o00000",), ("o00001",)]
    wait_until_drained(rig)


def test_what_was_done_already_is_no_dead_letter_and_what_came_twice_is_one(rig):
    rig.consumer("single")
    rig.publish("single", *probes(1))
    rig.wait_for_effects("single", 1)
    to_dead = [probes(1)[0], *probes(1, start=1), *probes(1, start=1)]
    rig.rabbit.publish(*(Publishing(DEAD, "single", *rig.as_published(each)) for each in to_dead))
    rig.consumer("dead")
    wait_until(lambda: letters(rig), 20.0, what="a dead letter")
    wait_until_drained(rig)
    assert [message_id for _, message_id, _ in letters(rig)] == ["o00001"]
    assert rig.rows("SELECT order_id FROM deaths") == [("o00001",)]


def test_unreadable_bytes_are_kept_as_they_are(rig):
    rig.rabbit.publish(
        Publishing(DEAD, "single", Properties(message_id="broken"), b"\xff\xfe"),
        Publishing("", DEAD, Properties(message_id="lost", type="Probe"), b'{"order_id": "o"}'),
    )
    rig.consumer("dead")
    wait_until(lambda: len(letters(rig)) == 2, 20.0, what="two dead letters")
    [broken, lost] = letters(rig)
    assert broken[:2] == ("single", "broken")
    assert "does not say why; MalformedMessage" in broken[2]
    assert lost[:2] == ("dead", "lost")
    assert "nothing says which queue it died in" in lost[2]
    bodies = {bytes(body) for (body,) in rig.rows("SELECT body FROM ordermq.dead_letters")}
    assert bodies == {b"\xff\xfe", b'{"order_id": "o"}'}


def test_what_may_have_been_called_goes_back_to_the_handler_that_can_ask(rig):
    with rig.session.transaction() as tx:
        leases.take(tx, "call", ["o00000"], owner="somebody who died", lease_s=0.2)
    rig.publish("call", *probes(1))
    rig.rabbit.reject(f"{PREFIX}.call")
    rig.consumer("dead")
    rig.relay()
    rig.consumer("call")
    rig.wait_for_effects("call", 1)
    assert rig.rows("SELECT resumed FROM calls") == [(True,)]
    assert letters(rig) == []


def with_on_dead(on_dead):
    """Return a registry whose one handler, of queue ``single``, has ``on_dead`` follow from a death."""

    @handler(queue="single", message=Probe, key="order_id", on_dead=on_dead)
    def never(message, tx):
        raise AssertionError("it is dead")

    return Registry(handlers_in({"never": never}))


def dead_suspects(rig, *payloads):
    for payload in payloads:
        properties, body = rig.as_published(payload)
        properties = replace(properties, headers={**properties.headers, "x-acquired-count": 1})
        rig.rabbit.publish(Publishing(DEAD, "single", properties, body))


def test_what_was_begun_before_becomes_a_dead_letter_alone(rig):
    def watched(message, reason, tx):
        running.append(message.order_id)
        time.sleep(0.1)
        beside.setdefault(message.order_id, set()).update(running)
        running.remove(message.order_id)

    running, beside = [], {}
    with rig.session.transaction() as tx:
        starts.begin(tx, "single", ["o00000", "o00001"])
    dead_suspects(rig, *probes(6))
    rig.consumer("dead", threads=6, registry=with_on_dead(watched))
    wait_until(lambda: len(letters(rig)) == 6, 20.0, what="six dead letters")
    assert (beside["o00000"], beside["o00001"]) == ({"o00000"}, {"o00001"})
    assert rig.value("SELECT count(*) FROM ordermq.starts") == 0


def test_what_follows_from_a_death_and_never_returns_is_held_against_the_message_it_is_about(rig):
    may_go = Event()
    rig.publish("single", *probes(1))
    rig.rabbit.reject(f"{PREFIX}.single")
    consumer = rig.consumer(
        "dead",
        handler_deadline_s=0.2,
        registry=with_on_dead(lambda *_: may_go.wait(30.0)),
        drain_deadline_s=5.0,
    )
    try:
        assert consumer.join(20.0)
        assert isinstance(consumer.failure, HandlerOverdue)
        assert rig.rows("SELECT queue, message_id, starts, overdue FROM ordermq.starts") == [
            ("single", "o00000", 1, 1)
        ]
    finally:
        may_go.set()


def test_an_order_whose_message_was_rejected_by_another_client_asks_for_a_person(pipeline):
    pipeline.stock(p_1=1)
    pipeline.begin("relay", "dead")
    pipeline.place([an_order("o-1")])
    pipeline.rabbit.reject("orders.inventory")
    needs = "SELECT attention_reason FROM shop.orders WHERE attention_reason IS NOT NULL"
    wait_until(lambda: pipeline.rows(needs), 20.0, what="the order to ask for a person")
    [letter] = pipeline.lines("ordermq", "dead", "list")
    assert (letter["queue"], letter["reason"]) == ("inventory", REJECTED)
    assert REJECTED in pipeline.value(needs)
    assert pipeline.stop() == {"relay": 0, "dead": 0}
