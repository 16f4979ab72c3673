"""What processes show before they have done anything, and once they do nothing. Nothing connects."""

from types import SimpleNamespace

from ordermq.config.settings import Settings
from ordermq.consumer.runtime import Consumer
from ordermq.observe import metrics
from ordermq.observe.health import Health
from ordermq.relay import Relay
from ordermq.task.handler import handlers_in
from ordermq.task.registry import Registry
from tests.support import probe


def shown(name, **labels):
    return metrics.REGISTRY.get_sample_value(f"ordermq_{name}", labels)


def test_a_consumer_shows_zeros_before_its_first_delivery():
    for each in (metrics.settled, metrics.delivered, metrics.redelivered):
        each.clear()
    registry = Registry(handlers_in(vars(probe)))
    consumer = Consumer("single", registry, Settings(), config=None, owner="o", health=Health())
    consumer._manager.close()
    outcomes = ("done", "duplicate", "retry", "postponed", "dead")
    assert [shown("settled_total", queue="single", outcome=each) for each in outcomes] == [0.0] * 5
    assert shown("delivered_total", queue="single") == 0.0
    assert shown("redelivered_total", queue="single") == 0.0


def test_a_relay_on_standby_shows_no_outbox_of_when_it_was_active():
    settings = Settings()
    relay = Relay(SimpleNamespace(), settings.database, settings.relay, exchange="x", health=Health())
    metrics.outbox_pending.set(70)
    metrics.outbox_oldest_seconds.set(40)
    relay._gauge(is_active=False)
    assert (shown("outbox_pending"), shown("outbox_oldest_seconds")) == (0.0, 0.0)
