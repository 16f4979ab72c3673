"""Webhooks of Stripe, sent to the WSGI application over HTTP: an order that waits goes on at once."""

import http.client
from contextlib import closing

import pytest

from ordermq.cli.program import Program
from ordermq.cli.settings import load_settings
from ordermq.errors import ConfigError, SchemaOutdated
from ordermq.shop.gateways.stripe.webhook import MAX_BYTES, StripeWebhook
from ordermq.shop.gateways.stripe.wsgi import application
from ordermq.store import Session
from tests.support.endpoint import Endpoint
from tests.support.shop import Shop, an_order
from tests.support.stripe import WEBHOOK_SECRET, config_of, migrated
from tests.support.stripe_stub import StripeStub


@pytest.fixture
def shop(database):
    """A shop with two orders whose captures wait for ten minutes."""
    migrated(database)
    shop = Shop(database)
    shop.load(p_1=10)
    shop.place(an_order("o-1"), an_order("o-2"))
    shop.handle(*shop.take("inventory"))
    database.sql("UPDATE ordermq.outbox SET available_at = now() + interval '600 s'")
    yield shop
    shop.session.close()


@pytest.fixture
def endpoint(shop, database):
    settings = config_of(database, "http://127.0.0.1:1").extra["stripe"]
    session = Session(database.settings, name="stripe webhook")
    endpoint = Endpoint(StripeWebhook(settings, session))
    yield endpoint
    endpoint.close()
    session.close()


STUB = StripeStub()


def succeeded(order_id="o-1", **changes):
    intent = {"id": f"pi_{order_id}", "object": "payment_intent", "metadata": {"ordermq_order": order_id}}
    return STUB.event("payment_intent.succeeded", intent | changes)


def waiting(shop):
    """The orders whose capture is not due yet."""
    return shop.database.sql(
        "SELECT correlation_id FROM ordermq.outbox WHERE available_at > now() ORDER BY 1"
    ).split()


def test_an_event_lets_the_messages_of_its_order_go_at_once(shop, endpoint):
    assert waiting(shop) == ["o-1", "o-2"]
    assert endpoint.post(succeeded()) == 200
    assert waiting(shop) == ["o-2"]
    assert shop.order().status == "reserved"  # nothing else is believed


def test_an_event_of_a_refund_or_charge_is_known_by_its_payment_intent(shop, endpoint):
    shop.database.sql(
        "INSERT INTO stripe.keys (key, order_id, object_id) VALUES ('capture:shop:o-2', 'o-2', 'pi_2')"
    )
    refund = {"id": "re_1", "object": "refund", "payment_intent": "pi_2", "metadata": {}}
    assert endpoint.post(STUB.event("refund.updated", refund)) == 200
    assert waiting(shop) == ["o-1"]


def test_an_event_that_comes_again_changes_nothing(shop, endpoint):
    # WHK2
    event = succeeded()
    endpoint.post(event)
    shop.database.sql("UPDATE ordermq.outbox SET available_at = now() + interval '600 s'")
    assert endpoint.post(event) == 200
    assert waiting(shop) == ["o-1", "o-2"]
    assert shop.database.sql("SELECT count(*) FROM stripe.events") == "1"


def test_an_event_that_was_not_written_down_is_sent_again_by_stripe(shop, endpoint):
    # WHK2
    event = succeeded()
    shop.database.sql("ALTER TABLE stripe.events RENAME TO away")
    assert endpoint.post(event) == 503
    assert waiting(shop) == ["o-1", "o-2"]
    shop.database.sql("ALTER TABLE stripe.away RENAME TO events")
    assert endpoint.post(event) == 200
    assert waiting(shop) == ["o-2"]


@pytest.mark.parametrize(
    "body", [{"metadata": {}}, {"metadata": None, "id": "pi_9"}, {"metadata": {"ordermq_order": "other"}}]
)
def test_events_of_other_systems_of_the_account_are_taken_and_change_nothing(shop, endpoint, body):
    assert endpoint.post(STUB.event("charge.refunded", body)) == 200
    assert waiting(shop) == ["o-1", "o-2"]


def test_events_are_forgotten_after_a_month(shop, endpoint):
    shop.database.sql(
        "INSERT INTO stripe.events"
        " SELECT 'old-' || n, now() - interval '31 days' FROM generate_series(1, 5) AS n"
    )
    for number in range(3):
        endpoint.post(succeeded(f"x-{number}"))
    assert shop.database.sql("SELECT count(*) FROM stripe.events") == "3"


@pytest.mark.parametrize(
    ("changes", "status"),
    [
        ({"method": "GET"}, 405),
        ({"method": "PUT"}, 405),
        ({"Content_Type": "text/plain"}, 415),
        ({"secret": "whsec_wrong"}, 400),
        ({"Stripe_Signature": ""}, 400),
        ({"Stripe_Signature": "t=1,v1=" + "0" * 64}, 400),
        ({"body": b"{"}, 400),
        ({"body": b"[]"}, 400),
        ({"body": b'{"id": ""}'}, 400),
        ({"body": b'{"id": "evt\\u0000"}'}, 400),
        ({"body": b"[" * 100_000}, 400),
        ({"body": b" " * (MAX_BYTES + 1)}, 413),
    ],
)
def test_what_is_no_signed_event_is_refused_and_changes_nothing(shop, endpoint, changes, status):
    # WHK1
    assert endpoint.post(succeeded(), **changes) == status
    assert waiting(shop) == ["o-1", "o-2"]
    assert shop.database.sql("SELECT count(*) FROM stripe.events") == "0"


def test_a_body_without_a_length_is_not_read(shop, endpoint):
    # WHK1
    with closing(http.client.HTTPConnection("127.0.0.1", endpoint._server.server_port)) as connection:
        connection.putrequest("POST", "/")
        connection.putheader("Content-Type", "application/json")
        connection.endheaders()
        assert connection.getresponse().status == 411


def test_the_application_needs_its_secret_and_its_tables(database, monkeypatch):
    for name, value in {
        "CONFIG": "", "MODULES": "ordermq.shop,ordermq.shop.gateways.stripe",
        "DATABASE_HOST": database.settings.host, "DATABASE_PORT": str(database.settings.port),
        "DATABASE_NAME": database.name, "DATABASE_USERNAME": database.settings.username,
        "DATABASE_PASSWORD": database.settings.password.reveal(),
    }.items():  # fmt: skip
        monkeypatch.setenv(f"ORDERMQ_{name}", value)

    def program():
        return Program(*load_settings(None), lambda: load_settings(None)[0])

    with pytest.raises(ConfigError, match=r"stripe\.webhook_secret is empty"):
        application(program())
    monkeypatch.setenv("ORDERMQ_STRIPE_WEBHOOK_SECRET", WEBHOOK_SECRET)
    with pytest.raises(SchemaOutdated):
        application(program())
    migrated(database)
    assert isinstance(application(program()), StripeWebhook)
