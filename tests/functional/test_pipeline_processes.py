"""The pipeline as a whole while its processes are killed, stopped and replaced."""

import signal

from ordermq.clock import monotonic_s
from ordermq.config.settings import ConsumerSettings
from ordermq.shop.intake.generate import generate
from ordermq.testing import wait_until
from tests.support.pipeline import PROCESSES, QUEUES

# What each consumer writes in the transaction in whose middle it is to die.
WRITES = {
    "inventory": "shop.stock",
    "payment": "shop.payments",
    "shipping": "shop.shipments",
    "points": "shop.points",
    "notify": "shop.notifications",
}
CALLS_UNDER_WAY = "SELECT count(*) FROM ordermq.leases WHERE queue = %s"
AT_ONCE = 30


def test_a_relay_killed_between_confirm_and_delete_sends_again_and_the_inbox_absorbs_it(pipeline):
    orders = list(generate(AT_ONCE, 1))
    pipeline.load(orders)
    pipeline.begin(*QUEUES)
    pipeline.place(orders)
    pipeline.begin("relay", ORDERMQ_FAILPOINT="relay.after_publish:hang")
    pipeline.wait_failpoint("relay")  # all is confirmed, and nothing deleted
    pipeline.kill("relay")
    pipeline.begin("relay")
    pipeline.wait_at_rest(AT_ONCE)
    wait_until(lambda: pipeline.duplicates("inventory") == AT_ONCE, 10.0)
    pipeline.end_well(AT_ONCE)


def test_each_consumer_killed_in_the_middle_of_its_transaction_loses_and_doubles_nothing(pipeline):
    orders = list(generate(AT_ONCE * len(WRITES), 3))
    pipeline.load(orders, cover=0.97)
    pipeline.begin()
    for number, (queue, table) in enumerate(WRITES.items()):
        with pipeline.held(table):
            pipeline.place(orders[number * AT_ONCE : (number + 1) * AT_ONCE])
            pipeline.wait_for_waiting(queue)
            pipeline.kill(queue)
        pipeline.begin(queue)
    pipeline.end_well(len(orders))


def test_consumers_killed_during_their_calls_outside_charge_once_and_tell_at_most_once(pipeline, sandbox):
    orders = list(generate(80, 5))
    pipeline.load(orders)
    sandbox.behave("payment", latency_ms=250)
    sandbox.behave("sms", latency_ms=900)  # a call is still under way when its consumer is killed
    pipeline.begin()
    with pipeline.customers(orders, per_s=50):
        pipeline.wait_for(5, "completed")
        for queue in ("payment", "notify"):
            wait_until(lambda queue=queue: pipeline.value(CALLS_UNDER_WAY, queue), 20.0)
            pipeline.kill(queue)
            pipeline.begin(queue)
    sandbox.behave("sms", latency_ms=50)
    pipeline.end_well(len(orders))
    # Nobody knows whether the messages under way were sent: said aloud, and never sent again.
    unknown = pipeline.rows("SELECT order_id FROM shop.notifications WHERE state = 'unknown'")
    assert unknown
    assert set(unknown) == set(
        pipeline.rows("SELECT order_id FROM shop.orders WHERE attention_reason IS NOT NULL")
    )


def test_all_processes_stopped_under_load_drain_in_time_and_their_successors_finish(pipeline, sandbox):
    orders = list(generate(120, 7))
    pipeline.load(orders, cover=0.97)
    sandbox.behave("payment", latency_ms=100)
    pipeline.begin()
    with pipeline.customers(orders, per_s=60):
        pipeline.wait_for(20, "completed")
        began_s = monotonic_s()
        codes = pipeline.stop()
        took_s = monotonic_s() - began_s
        assert codes == dict.fromkeys(PROCESSES, 0)
        assert took_s < ConsumerSettings().drain_deadline_s
        assert pipeline.count("completed") < len(orders) / 2  # there was enough left to do
        pipeline.begin()
    pipeline.end_well(len(orders))


def test_a_second_signal_ends_a_consumer_at_once_and_loses_nothing(pipeline):
    orders = list(generate(AT_ONCE, 11))
    pipeline.load(orders)
    pipeline.begin()
    with pipeline.held("shop.points"):
        pipeline.place(orders)
        pipeline.wait_for_waiting("points")
        stubborn = pipeline.process("points")
        stubborn.send(signal.SIGTERM)
        wait_until(lambda: pipeline.has_logged("points", "SIGTERM: stopping"), 10.0)
        assert stubborn.exit_code is None
        stubborn.send(signal.SIGTERM)
        assert stubborn.wait(3) == 128 + signal.SIGTERM
    pipeline.begin("points")
    pipeline.end_well(AT_ONCE)


def test_what_freezes_in_mid_transaction_is_overtaken_and_does_no_harm_when_it_thaws(pipeline):
    orders = list(generate(AT_ONCE, 29))
    pipeline.load(orders)
    pipeline.env |= {
        "ORDERMQ_DATABASE_IDLE_IN_TRANSACTION_S": "2",  # so long a frozen process keeps its locks
        "ORDERMQ_BROKER_CONFIRM_TIMEOUT_S": "1",
        "ORDERMQ_RELAY_STANDBY_S": "0.2",
    }
    pipeline.place(orders)
    for name, failpoint in (("relay", "relay.before_commit"), ("inventory", "settle.before_commit")):
        pipeline.begin(name, ORDERMQ_FAILPOINT=f"{failpoint}:sleep=1")
        pipeline.wait_failpoint(name)
        pipeline.process(name).send(signal.SIGSTOP)
        pipeline.begin(f"{name}:2")
    pipeline.begin(*QUEUES[1:])
    pipeline.cut_connections()  # as the broker does when heartbeats stop
    pipeline.wait_at_rest(len(orders))

    for name in ("relay", "inventory"):
        pipeline.process(name).send(signal.SIGCONT)
    wait_until(lambda: pipeline.duplicates("inventory") > 0, 20.0)
    pipeline.end_well(len(orders))
