"""What the broker's dead letters say of where and why they died; all of it may be a lie."""

import pytest

from ordermq.consumer.deadletter import origin, why
from ordermq.message.envelope import Delivery, Properties

QUEUES = frozenset({"payment", "notify"})


def dead(routing_key="", headers=None, exchange="orders.dead"):
    return Delivery(1, 1, exchange, routing_key, False, Properties(headers=headers or {}), b"{}")


def death(queue, reason="rejected"):
    return {"queue": queue, "reason": reason, "count": 1}


@pytest.mark.parametrize(
    ("delivery", "queue"),
    [
        (dead("payment"), "payment"),
        (dead("gifts"), "gifts"),  # bound there, so declared, though this process has no handler of it
        (dead("payment", {"x-first-death-queue": "orders.notify"}), "payment"),
        (dead("orders.dead", {"x-death": [death("orders.notify")]}, exchange=""), "notify"),
        (dead("x", {"x-death": [death("their.delay"), death("orders.notify")]}, exchange=""), "notify"),
        (dead("x", {"x-first-death-queue": "orders.payment"}, exchange=""), "payment"),
        (dead("x", {"x-first-death-queue": "orders.gifts"}, exchange=""), "dead"),
        (dead("DROP TABLE"), "dead"),
        (dead("x", {"x-death": "none", "x-first-death-queue": 7}, exchange=""), "dead"),
        (dead("x", {"x-death": [7, {"queue": ["x"]}, {}]}, exchange=""), "dead"),
    ],
)
def test_the_queue_it_died_in(delivery, queue):
    assert origin(delivery, "orders", QUEUES) == queue


@pytest.mark.parametrize(
    ("headers", "words"),
    [
        ({"x-death": [death("q", "maxlen"), death("q", "expired")]}, "by the broker: maxlen"),
        ({"x-death": [], "x-first-death-reason": "delivery_limit"}, "by the broker: delivery_limit"),
        ({"x-death": [death("q", "\x1b[31m")]}, "does not say why"),
        ({}, "does not say why"),
    ],
)
def test_why_it_died(headers, words):
    assert words in why(dead("payment", headers))
