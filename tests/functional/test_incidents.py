"""An incident of docs/operations.md, from the first look to everything resolved, by the commands there."""

from ordermq.testing import wait_until
from tests.support.rabbit import Rabbit
from tests.support.shop import an_order

ORDERS = 20


def test_a_deleted_queue_is_seen_made_anew_and_what_it_held_is_sent_again(pipeline, vhost):
    pipeline.stock(p_1=1000)
    pipeline.begin("relay", "inventory", "payment", "notify", "points")
    pipeline.place([an_order(f"o-{number}") for number in range(ORDERS)])
    wait_until(lambda: pipeline.depth("shipping") >= ORDERS, 60, what="all wait for shipping")
    rabbit = Rabbit(vhost.broker, vhost.settings)
    rabbit.delete_queue("orders.shipping")
    rabbit.close()
    pipeline.place([an_order("later")])
    refused = "SELECT count(*) FROM ordermq.outbox WHERE refusals > 0"
    wait_until(lambda: pipeline.value(refused) == 1, 60, what="the relay waits for the queue")

    assert "MISSING: ordermq topology apply" in pipeline.ok("ordermq", "status")
    assert "It waits for ship: queue shipping, which is MISSING" in pipeline.ok("ordermq", "trace", "o-7")
    assert "created queue orders.shipping" in pipeline.ok("ordermq", "topology", "apply")
    pipeline.begin("shipping")
    lost = ("--stuck", "--older-than", "0")
    assert "sent 2" in pipeline.ok("ordermq-publish", "replay", *lost, "--reason", "deleted", "--yes")
    pipeline.end_well(ORDERS + 1)
