"""The publisher's I/O thread between its channel and its tracker, where no broker can be asked to err."""

from types import SimpleNamespace

import pytest

from ordermq.amqp import _pika
from ordermq.amqp.confirms import PublishOutcome
from ordermq.amqp.publisher import Publisher
from ordermq.amqp.state import ConnectionState
from ordermq.config.settings import BrokerSettings
from ordermq.errors import PublishRefused
from ordermq.message.envelope import Properties, Publishing


class Channel:
    """Refuses what pika's does: a publishing with a float, and a write of nothing."""

    def __init__(self):
        self.written = []

    def confirm(self, on_confirm, on_return, timeout_s):
        self.on_confirm = on_confirm

    def encode(self, publishing):
        if publishing.properties.headers:
            raise PublishRefused("cannot be encoded")
        return publishing.body

    def write(self, frames):
        assert frames
        self.written.append(frames)


def publishing(message_id, headers=None):
    return Publishing("x", "k", Properties(message_id=message_id, headers=headers or {}), b"{}")


@pytest.fixture
def channels():
    return [Channel(), Channel()]


@pytest.fixture
def publisher(channels):
    made = Publisher(BrokerSettings(), name="test")
    made.connection.open_channel = iter(channels).__next__
    made.connection._state = ConnectionState.OPEN
    yield made
    made.connection._state = ConnectionState.NEW
    made.connection.close()


def write(publisher, channel, *publishings):
    batch = publisher._enqueue(publishings)
    publisher._write(channel)
    return batch


def test_a_slice_of_nothing_but_refusals_leaves_the_channel_and_what_is_in_flight_alone(publisher, channels):
    channel = publisher._open_channel()
    before = write(publisher, channel, publishing("m1"))

    refused = write(publisher, channel, publishing("m2", {"price": 1.5}), publishing("m3", {"price": 1.5}))
    after = write(publisher, channel, publishing("m4"))
    channel.on_confirm(2, True, False)

    assert refused.outcomes == [PublishOutcome.REFUSED, PublishOutcome.REFUSED]
    assert (before.outcomes, after.outcomes) == ([PublishOutcome.CONFIRMED], [PublishOutcome.CONFIRMED])
    assert len(channel.written) == 2


def test_a_confirm_of_a_channel_given_up_confirms_nothing_of_the_next(publisher, channels):
    old = publisher._open_channel()
    lost = write(publisher, old, publishing("m1"))
    publisher._abandon("given up")
    new = publisher._open_channel()
    sent = write(publisher, new, publishing("m2"))

    old.on_confirm(1, False, False)
    assert (lost.outcomes, sent.outcomes) == ([PublishOutcome.UNKNOWN], [None])

    new.on_confirm(1, False, False)
    assert sent.outcomes == [PublishOutcome.CONFIRMED]


def test_headers_that_hold_themselves_are_refused_and_end_no_thread():
    connection = SimpleNamespace(frame_max=4096, receiver=SimpleNamespace(forget=lambda channel: None))
    raw = SimpleNamespace(channel_number=1, add_on_close_callback=lambda callback: None)
    headers = {}
    headers["again"] = headers

    with pytest.raises(PublishRefused, match="RecursionError"):
        _pika.Channel(connection, raw).encode(publishing("m1", headers))
