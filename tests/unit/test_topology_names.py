"""Names of queues: one table of cases for everything that reads or makes one."""

import re

import pytest

from ordermq.config import load
from ordermq.consumer.deadletter import origin
from ordermq.errors import ConfigError
from ordermq.message.envelope import Delivery, Properties
from ordermq.message.payload import Payload
from ordermq.task import DONE, handler
from ordermq.task.handler import handlers_in
from ordermq.task.registry import Registry
from ordermq.topology import build
from ordermq.topology.names import DEAD, check_prefix, is_queue, queue_name, short_name

GOOD = ["payment", "p", "9", "gift-wrap_2", "-", "x" * 60]
BAD = ["", "Payment", "a b", "x" * 61, "orders.payment", "naïve", "pay\n", "pay:1", "ﬁ", "٣"]
OWN = ["dead", "events"]


class Note(Payload):
    pass


def registered(queue):
    @handler(queue=queue, message=Note)
    def note(message, tx):
        return DONE

    return Registry(handlers_in({"note": note}))


def dead_lettered(queue):
    return Delivery(1, 1, queue_name("orders", DEAD), queue, False, Properties(), b"")


@pytest.mark.parametrize("name", GOOD)
def test_a_good_name_is_taken_everywhere(name):
    assert is_queue(name)
    assert queue_name("orders", name) in [queue.name for queue in build("orders", [name]).queues]
    assert registered(name).queues == (name,)
    assert load(None, flags={"topology.queues": [name]}, environ={}).settings.topology.queues == (name,)
    assert origin(dead_lettered(name), "orders", ()) == name
    assert short_name("orders", queue_name("orders", name)) == name


@pytest.mark.parametrize("name", BAD)
def test_a_bad_name_is_refused_everywhere_and_named(name):
    assert not is_queue(name)
    for use in (lambda: build("orders", [name]), lambda: registered(name)):
        with pytest.raises(ConfigError, match=re.escape(f"queue name {name!r}")):
            use()
    with pytest.raises(ConfigError, match=r"topology\.queues = "):
        load(None, flags={"topology.queues": [name]}, environ={})
    assert origin(dead_lettered(name), "orders", ()) == DEAD  # it is of no queue that could exist


@pytest.mark.parametrize("name", OWN)
def test_a_name_of_ordermq_itself_takes_no_handler(name):
    for use in (lambda: build("orders", [name]), lambda: registered(name)):
        with pytest.raises(ConfigError, match=f"'{name}' is taken"):
            use()


@pytest.mark.parametrize("prefix", ["", "9orders", "or.ders", "amq.", "x" * 61, "Orders", "orders\n"])
def test_a_bad_prefix_is_refused_by_the_topology_and_by_the_settings(prefix):
    with pytest.raises(ConfigError, match="prefix"):
        check_prefix(prefix)
    with pytest.raises(ConfigError, match=r"topology\.prefix"):
        load(None, flags={"topology.prefix": prefix}, environ={})
