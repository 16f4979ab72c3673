"""What a handler may ask a consumer for, and what a consumer refuses it: its context, and unknown queues."""

from dataclasses import replace

from ordermq.message import Command
from ordermq.task import DONE, Registry, Retry, handler
from ordermq.task.delivery import DeliveryInfo
from ordermq.task.handler import handlers_in
from ordermq.testing import wait_until
from tests.support.probe import Probe
from tests.support.runtime import probes


def test_a_handler_that_asks_for_its_context_gets_attempt_hop_and_what_is_left_of_its_time(rig):
    seen = []

    @handler(queue="single", message=Probe, key="order_id")
    def asking(message, tx, delivery: DeliveryInfo):
        seen.append(delivery)
        return Retry("once more", 0.0) if delivery.attempt == 1 else DONE

    rig.relay()
    rig.consumer("single", registry=Registry(handlers_in({"asking": asking})), handler_deadline_s=60.0)
    rig.publish("single", *probes(1))
    wait_until(lambda: len(seen) == 2, 20, what="the second attempt")
    assert [(each.message_id, each.attempt, each.hop) for each in seen] == [
        ("o00000", 1, 0),
        ("o00000", 2, 1),
    ]
    assert (seen[0].first_failed_at, seen[1].first_failed_at is None) == (None, False)
    assert all(0 < each.deadline.left_s <= 60.0 for each in seen)


def test_a_batch_handler_that_asks_gets_the_context_of_each_message_in_order(rig):
    seen = []

    @handler(queue="batch", message=Probe, key="order_id", batch=50)
    def asking(messages, tx, deliveries):
        seen.extend(zip([each.order_id for each in messages], deliveries, strict=True))
        return [DONE] * len(messages)

    rig.publish("batch", *probes(20))
    rig.consumer("batch", registry=Registry(handlers_in({"asking": asking})), threads=1)
    wait_until(lambda: len(seen) == 20, 20, what="twenty messages")
    assert [(order_id, delivery.message_id) for order_id, delivery in seen] == [
        (each.order_id, each.order_id) for each in probes(20)
    ]


def test_a_command_to_a_queue_that_nothing_works_is_its_message_s_failure_and_names_the_setting(rig):
    @handler(queue="single", message=Probe, key="order_id")
    def sending(message, tx):
        queue = "nowhere" if message.order_id == "o00000" else "elsewhere"
        tx.send([Command(queue, f"from:{message.order_id}", message.order_id, message)])
        return DONE

    rig.settings = replace(
        rig.settings,
        topology=replace(rig.settings.topology, queues=("elsewhere",)),
        retry=replace(rig.settings.retry, attempts=1),
    )
    rig.publish("single", *probes(2))
    rig.consumer("single", registry=Registry(handlers_in({"sending": sending})))
    wait_until(lambda: rig.value("SELECT count(*) FROM ordermq.inbox") == 2, 20, what="both settled")
    assert rig.rows("SELECT routing_key FROM ordermq.outbox") == [("elsewhere",)]
    [(message_id, reason)] = rig.rows("SELECT message_id, reason FROM ordermq.dead_letters")
    assert message_id == "o00000"
    assert "nowhere" in reason
    assert "topology.queues" in reason
