"""The topology built from a prefix and queue names."""

import pytest

from ordermq.errors import ConfigError
from ordermq.topology import BindingSpec, EventStream, ExchangeSpec, build


def queue(topology, name):
    [found] = [spec for spec in topology.queues if spec.name == name]
    return found


def test_a_queue_is_bound_by_its_own_name_and_dead_letters_under_it():
    topology = build("orders", ["payment"])

    assert BindingSpec("orders", "orders.payment", "payment") in topology.bindings
    assert BindingSpec("orders.dead", "orders.dead", "payment") in topology.bindings
    assert queue(topology, "orders.payment").arguments == {
        "x-queue-type": "quorum",
        "x-dead-letter-exchange": "orders.dead",
        "x-dead-letter-routing-key": "payment",
        "x-dead-letter-strategy": "at-least-once",
        "x-overflow": "reject-publish",
        "x-delivery-limit": 1_000_000,
    }


def test_the_dead_letter_queue_has_an_explicit_limit_and_never_expires_or_refuses():
    dead = queue(build("orders", ["payment"]), "orders.dead")

    assert dead.arguments == {"x-queue-type": "quorum", "x-delivery-limit": 1_000_000}


def test_the_command_exchange_has_no_alternate_exchange():
    assert ExchangeSpec("orders", "direct", {}) in build("orders", []).exchanges


def test_a_classic_queue_is_given_no_argument_only_quorum_queues_know():
    arguments = queue(build("orders", ["payment"], queue_type="classic"), "orders.payment").arguments

    assert arguments["x-queue-type"] == "classic"
    assert arguments["x-overflow"] == "reject-publish"
    assert "x-delivery-limit" not in arguments
    assert "x-dead-letter-strategy" not in arguments


def test_events_are_off_unless_asked_for_and_then_kept_in_a_bounded_stream():
    assert "orders.events" not in [exchange.name for exchange in build("orders", []).exchanges]

    topology = build("orders", [], events=EventStream(max_age_s=7200, max_bytes=10**9))

    assert ExchangeSpec("orders.events", "topic") in topology.exchanges
    log = queue(topology, "orders.events.log")
    assert log.type == "stream"
    assert log.arguments == {
        "x-queue-type": "stream",
        "x-max-age": "7200s",
        "x-max-length-bytes": 10**9,
    }
    assert BindingSpec("orders.events", "orders.events.log", "#") in topology.bindings


def test_a_queue_named_twice_is_declared_once():
    assert build("orders", ["payment", "payment"]) == build("orders", ["payment"])


def test_a_bad_queue_name_is_refused_by_name():
    with pytest.raises(ConfigError, match="queue name 'Payment'"):
        build("orders", ["inventory", "Payment"])


def test_a_bad_prefix_is_refused_by_name():
    with pytest.raises(ConfigError, match=r"prefix 'or\.ders'"):
        build("or.ders", ["payment"])


def test_an_unknown_queue_type_is_refused():
    with pytest.raises(ConfigError, match="'mirrored'"):
        build("orders", ["payment"], queue_type="mirrored")
