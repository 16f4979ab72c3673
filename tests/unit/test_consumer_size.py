"""How much a consumer takes at once: never more calls than it can make before the broker loses patience."""

from dataclasses import replace

from hypothesis import given
from hypothesis import strategies as st

from ordermq.config.settings import Settings
from ordermq.consumer.runtime import size_of
from ordermq.message.payload import Payload
from ordermq.task import Registry
from ordermq.task.handler import Handler


class Probe(Payload):
    order_id: str


EXTERNAL = Registry([Handler("q", Probe, None, is_external=True)])


def size(**consumer):
    settings = Settings()
    return size_of(EXTERNAL, "q", replace(settings, consumer=replace(settings.consumer, **consumer)))


def test_of_calls_as_usual_a_batch_waits_behind_the_batch_that_is_called():
    assert (size().batch, size().prefetch) == (64, 128)
    assert (size(threads=100).batch, size(threads=100).prefetch) == (200, 400)


@given(threads=st.integers(1, 256), consumer_timeout_s=st.floats(10, 86_400), part=st.floats(0.001, 0.25))
def test_the_last_delivery_is_settled_in_half_the_consumer_timeout_however_slow_the_calls(
    threads, consumer_timeout_s, part
):
    call_timeout_s = consumer_timeout_s * part  # no more, for a lease is at most twice that
    held = size(
        threads=threads, consumer_timeout_s=consumer_timeout_s, call_timeout_s=call_timeout_s
    ).prefetch
    assert held * call_timeout_s / threads <= consumer_timeout_s / 2 * 1.001
    assert held >= 2 * threads


def test_what_the_settings_say_holds():
    assert size(prefetch=500, call_timeout_s=30.0, threads=1).prefetch == 500
