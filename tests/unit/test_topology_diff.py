"""Differences between what is wanted and what exists."""

from dataclasses import replace

from ordermq.topology import BindingSpec, ExchangeSpec, QueueSpec, Topology, build, diff

WANTED = build("orders", ["payment"])


def test_a_topology_does_not_differ_from_itself():
    assert diff(WANTED, WANTED) == []


def test_everything_is_missing_from_an_empty_broker():
    lines = diff(WANTED, Topology())

    assert "exchange orders: missing" in lines
    assert "queue orders.payment: missing" in lines
    assert "binding orders -[payment]-> orders.payment: missing" in lines
    assert len(lines) == len(WANTED.exchanges) + len(WANTED.queues) + len(WANTED.bindings)


def test_a_different_argument_is_named_with_both_values():
    arguments = dict(WANTED.queues[0].arguments, **{"x-delivery-limit": 20, "x-message-ttl": 5000})
    found = replace(WANTED, queues=(QueueSpec("orders.payment", arguments), *WANTED.queues[1:]))

    assert diff(WANTED, found) == [
        "queue orders.payment: x-delivery-limit: wanted 1000000, found 20",
        "queue orders.payment: x-message-ttl: wanted none, found 5000",
    ]


def test_a_different_exchange_type_and_an_alternate_exchange_are_differences():
    found = replace(
        WANTED,
        exchanges=(ExchangeSpec("orders", "topic", {"alternate-exchange": "lost"}), *WANTED.exchanges[1:]),
    )

    assert diff(WANTED, found) == [
        "exchange orders: type: wanted direct, found topic",
        "exchange orders: alternate-exchange: wanted none, found lost",
    ]


def test_a_users_own_queue_on_our_exchange_is_no_difference_but_crossed_wires_are():
    own = BindingSpec("orders", "audit", "payment")
    crossed = BindingSpec("orders", "orders.payment", "shipping")
    found = replace(WANTED, bindings=(*WANTED.bindings, own, crossed))

    assert diff(WANTED, found) == ["binding orders -[shipping]-> orders.payment: not wanted"]
