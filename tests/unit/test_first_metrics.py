"""What processes show before they have done anything, and once they do nothing. Nothing connects."""

from types import SimpleNamespace

from ordermq.config.settings import Settings
from ordermq.observe import metrics
from ordermq.observe.health import Health
from ordermq.relay import Relay


def shown(name, **labels):
    return metrics.REGISTRY.get_sample_value(f"ordermq_{name}", labels)


def test_a_relay_on_standby_shows_no_outbox_of_when_it_was_active():
    settings = Settings()
    relay = Relay(SimpleNamespace(), settings.database, settings.relay, exchange="x", health=Health())
    metrics.outbox_pending.set(70)
    metrics.outbox_oldest_seconds.set(40)
    relay._gauge(is_active=False)
    assert (shown("outbox_pending"), shown("outbox_oldest_seconds")) == (0.0, 0.0)
