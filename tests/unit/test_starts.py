"""What follows from starts that never ended: a table of how often, and of what is then still tried."""

from datetime import UTC, datetime

import pytest

from ordermq.consumer.received import Readable, Received, Unreadable
from ordermq.consumer.starts import Suspect, dead_reason, decode_suspect
from ordermq.message.envelope import Envelope
from ordermq.message.payload import Payload
from ordermq.store.starts import Started
from ordermq.task.handler import Handler
from ordermq.task.registry import Registry


class Probe(Payload):
    order_id: str


REGISTRY = Registry([Handler("q", Probe, None)])


def suspect(starts, body=b'{"order_id": "o1"}'):
    envelope = Envelope("m1", "Probe", 1, "", "", datetime.now(UTC))
    return Suspect(Received(envelope, body, 1, (1,), True), Started(starts))


@pytest.mark.parametrize(("starts", "is_dead"), [(1, False), (2, False), (3, True), (5, True)])
def test_a_message_is_dead_after_three_starts_and_still_decoded_for_its_on_dead(starts, is_dead):
    assert isinstance(decode_suspect(suspect(starts), "q", REGISTRY), Readable)
    assert bool(dead_reason(Started(starts))) is is_dead


@pytest.mark.parametrize(("starts", "asks_modules"), [(6, True), (8, True), (9, False), (30, False)])
def test_after_six_starts_it_is_not_decoded_and_after_nine_no_module_is_asked(starts, asks_modules):
    message = decode_suspect(suspect(starts), "q", REGISTRY)
    assert isinstance(message, Unreadable)
    assert message.asks_modules is asks_modules
    assert message.fault.startswith(f"started {starts} times and never ended")


def test_a_body_that_cannot_be_read_is_unreadable_for_its_own_reason():
    message = decode_suspect(suspect(1, b"{"), "q", REGISTRY)
    assert (type(message), message.asks_modules) == (Unreadable, True)
    assert message.fault.startswith("MalformedMessage")


def test_a_start_past_its_deadline_says_so():
    assert dead_reason(Started(3, 1)).endswith("it ran past its deadline")
