"""Duplicates and disorder between relay and consumers: effects stay single, nothing is lost."""

from ordermq.shop.intake.generate import generate
from ordermq.testing import Injector, wait_until
from tests.support.pipeline import QUEUES
from tests.support.rabbit import Rabbit


def test_every_message_one_to_five_times_and_shuffled_has_its_effect_once(pipeline, vhost, sandbox):
    # INJ1
    orders = list(generate(40, 53))
    pipeline.load(orders, cover=0.97)
    with Injector(vhost.settings, exchange="orders", queues=QUEUES, seed=53) as injector:
        pipeline.begin()
        pipeline.place(orders)
        pipeline.wait_at_rest(len(orders), 60.0)
        assert injector.published > 1.5 * injector.taken > 0
    pipeline.end_well(len(orders))
    captures = [line["order_id"] for line in sandbox.ledger("payment") if line["kind"] == "capture"]
    assert len(captures) == len(set(captures))
    assert pipeline.rows("SELECT order_id FROM shop.notifications WHERE state = 'unknown'") == []


def test_afterwards_the_bindings_are_as_they_were_and_nothing_is_left_behind(pipeline, vhost):
    # INJ2
    rabbit = Rabbit(vhost.broker, vhost.settings)
    pipeline.load(orders := list(generate(30, 59)))
    with Injector(vhost.settings, exchange="orders", queues=["inventory"], copies=1) as injector:
        pipeline.begin("relay")
        pipeline.place(orders)
        wait_until(lambda: injector.taken > 0, 20.0)
        injector_saw = injector
    assert injector_saw.published == injector_saw.taken
    wait_until(lambda: rabbit.depth("orders.inventory") == len(orders), 10.0)
    assert [name for name in queues_of(vhost) if name.endswith("injector")] == []
    pipeline.ok("ordermq", "topology", "verify")
    rabbit.close()


def queues_of(vhost):
    return [queue["name"] for queue in vhost.broker.api("GET", f"queues/{vhost.name}")]
