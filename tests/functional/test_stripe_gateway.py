"""The Stripe adapter against a stub of Stripe: one PaymentIntent for each key, for ever."""

from dataclasses import replace

import pytest

from ordermq.config.secret import Secret
from ordermq.errors import ConfigError, GatewayRefused, GatewayUnavailable, OutcomeUnknown
from ordermq.shop.gateways.payment import (
    Capture,
    Captured,
    Declined,
    GivenBack,
    Refund,
    Refunded,
    RequiresAction,
)
from ordermq.shop.gateways.stripe.gateway import StripeGateway
from ordermq.shop.testing import HttpFaults, PaymentGatewaySuite, ServiceFault
from tests.support import stripe_stub as stub_of
from tests.support.stripe import StripeService, config_of, gateway_of, migrated
from tests.support.stripe_stub import stripe_stub

# Two statements for the key come before the request, and a busy machine takes its time for them.
SOON_S = 1.5


@pytest.fixture
def stub():
    with stripe_stub() as stub:
        yield stub


@pytest.fixture
def faults(stub):
    with HttpFaults(stub.url) as faults:
        yield faults


@pytest.fixture
def service(stub, faults):
    return StripeService(faults, stub)


@pytest.fixture
def tables(database):
    migrated(database)
    return database


@pytest.fixture
def gateway(tables, faults):
    return gateway_of(tables, faults.url)


def a_capture(order_id="o-1", card=stub_of.VISA, **changes):
    return replace(Capture(f"capture:shop:{order_id}", order_id, 1000, "EUR", card), **changes)


class TestStripeGateway(PaymentGatewaySuite):
    """All that every gateway must do."""


def test_a_plain_capture_is_one_request_that_names_order_and_key(gateway, stub):
    taken = gateway.capture(a_capture())
    assert isinstance(taken, Captured)
    (intent,) = stub.intents.values()
    assert intent["id"] == taken.capture_id
    assert intent["metadata"] == {"ordermq_key": "capture:shop:o-1", "ordermq_order": "o-1"}
    assert stub.requests == [("POST", "/v1/payment_intents")]


def test_a_key_is_written_down_before_it_is_used_and_what_it_made_after(gateway, tables, service):
    # SKY1, SKY2
    service.fail_next(ServiceFault.MUTE)
    with pytest.raises(OutcomeUnknown):
        gateway.capture(a_capture(), timeout_s=SOON_S)
    assert tables.sql("SELECT key, order_id, object_id IS NULL FROM stripe.keys") == "capture:shop:o-1|o-1|t"
    taken = gateway.find(a_capture())
    assert tables.sql("SELECT object_id FROM stripe.keys") == taken.capture_id


def test_without_the_table_of_keys_nothing_is_captured(gateway, tables, stub):
    tables.sql("ALTER TABLE stripe.keys RENAME TO gone")
    with pytest.raises(GatewayUnavailable, match=r"the table of Stripe's keys cannot be written"):
        gateway.capture(a_capture())
    assert stub.requests == []


@pytest.mark.parametrize("fault", [ServiceFault.MUTE, ServiceFault.ERROR_DONE])
def test_a_capture_again_after_a_day_is_looked_up_and_no_second_one(gateway, service, stub, fault):
    # STP1: Stripe has forgotten the key, and nothing was asked in between.
    service.fail_next(fault)
    with pytest.raises(OutcomeUnknown):
        gateway.capture(a_capture(), timeout_s=SOON_S)
    service.forget_keys()
    assert isinstance(gateway.capture(a_capture()), Captured)
    assert isinstance(gateway.capture(a_capture()), Captured)
    assert len(stub.intents) == 1


def test_what_the_search_does_not_show_yet_is_in_the_list(gateway, service, stub):
    # STP1: the search of Stripe may be an hour behind.
    service.fail_next(ServiceFault.MUTE)
    with pytest.raises(OutcomeUnknown):
        gateway.capture(a_capture(), timeout_s=SOON_S)
    assert stub.indexed == set()
    assert isinstance(gateway.find(a_capture()), Captured)


def test_what_is_too_old_for_the_list_is_searched(gateway, service, stub, tables):
    service.fail_next(ServiceFault.MUTE)
    with pytest.raises(OutcomeUnknown):
        gateway.capture(a_capture(), timeout_s=SOON_S)
    (intent,) = stub.intents.values()
    intent["created"] -= 200_000
    tables.sql("UPDATE stripe.keys SET called_at = now() - interval '200000 s'")
    stub.index()
    assert isinstance(gateway.find(a_capture()), Captured)
    assert ("GET", "/v1/payment_intents/search") in stub.requests


def test_the_list_is_read_to_its_end(gateway, service, stub):
    service.fail_next(ServiceFault.MUTE)
    with pytest.raises(OutcomeUnknown):
        gateway.capture(a_capture(), timeout_s=SOON_S)
    for number in range(150):
        gateway.capture(a_capture(f"later-{number}"))
    assert isinstance(gateway.find(a_capture()), Captured)
    assert stub.requests.count(("GET", "/v1/payment_intents")) == 2


def test_after_a_restored_backup_a_key_is_searched_before_it_is_used(tables, stub, faults):
    # Given a capture that the database does not know any more, and a Stripe that does not know its key
    gateway_of(tables, faults.url).capture(a_capture())
    tables.sql("DELETE FROM stripe.keys")
    stub.forget_keys()
    # When it is captured again
    taken = gateway_of(tables, faults.url, search_first=True).capture(a_capture())
    # Then it is the same
    assert isinstance(taken, Captured)
    assert len(stub.intents) == 1


def test_a_declined_payment_can_never_be_paid_later(gateway, stub):
    # STP2
    assert gateway.capture(a_capture(card=stub_of.DECLINED)) == Declined("insufficient_funds")
    (intent,) = stub.intents.values()
    assert intent["status"] == "canceled"
    assert gateway.find(a_capture()) == Declined("insufficient_funds")


def test_a_payment_that_cannot_be_cancelled_is_not_called_declined(gateway, service, stub):
    # STP2
    service.fail_next(ServiceFault.BUSY, times=2)
    with pytest.raises(OutcomeUnknown):
        gateway.capture(a_capture(card=stub_of.DECLINED))
    with pytest.raises(OutcomeUnknown):
        gateway.capture(a_capture(card=stub_of.DECLINED))
    assert isinstance(gateway.capture(a_capture(card=stub_of.DECLINED)), Declined)
    assert [each["status"] for each in stub.intents.values()] == ["canceled"]


def test_a_customer_who_confirms_while_it_is_cancelled_has_paid(gateway, stub):
    waiting = gateway.capture(a_capture(card=stub_of.THREE_D_SECURE))
    assert isinstance(waiting, RequiresAction)
    stub.authenticate(waiting.payment_id)
    assert gateway.cancel(a_capture()) == Captured(waiting.payment_id)


def test_the_amount_is_in_the_units_of_stripe(gateway, stub):
    gateway.capture(a_capture("isk", currency="ISK", amount_minor=500))
    (intent,) = stub.intents.values()
    assert (intent["amount"], intent["currency"]) == (50_000, "isk")
    (taken,) = (each for page in gateway.ledger() for each in page)
    assert (taken.amount_minor, taken.currency) == (500, "ISK")
    with pytest.raises(GatewayRefused, match="cannot take"):
        gateway.capture(a_capture("kwd", currency="KWD", amount_minor=1001))
    assert len(stub.intents) == 1


def test_a_refund_again_after_a_day_is_looked_up_and_no_second_one(gateway, service, stub):
    taken = gateway.capture(a_capture())
    part = Refund("refund:capture:shop:o-1", taken.capture_id, 400, "EUR")
    service.fail_next(ServiceFault.MUTE)
    with pytest.raises(OutcomeUnknown):
        gateway.refund(part, timeout_s=SOON_S)
    service.forget_keys()
    assert isinstance(gateway.refund(part), Refunded)
    assert service.movements("o-1") == [("capture", 1000), ("refund", 400)]


def test_a_charge_that_was_paid_before_is_refunded_by_its_own_name(gateway, stub):
    gateway.capture(a_capture())
    (charge,) = stub.charges
    assert isinstance(gateway.refund(Refund("refund:paid:o-9", charge, 300, "EUR")), Refunded)
    assert stub.charges[charge]["amount_refunded"] == 300


def test_money_that_went_back_at_stripe_is_seen(gateway, stub):
    taken = gateway.capture(a_capture())
    stub.refund_by_hand(taken.capture_id)
    assert gateway.find(a_capture()) == GivenBack(taken.capture_id, "refunded")
    again = gateway.refund(Refund("refund:capture:shop:o-1", taken.capture_id, 1000, "EUR"))
    assert again == GivenBack(taken.capture_id, "charge_already_refunded")
    assert [each.kind for page in gateway.ledger() for each in page] == ["capture", "refund"]


def test_no_error_repeats_what_stripe_says_in_words(gateway, stub):
    taken = gateway.capture(a_capture())
    with pytest.raises(GatewayRefused) as refused:
        gateway.refund(Refund("refund:x", taken.capture_id, 9999, "EUR"))
    assert "parameter_invalid_integer" in str(refused.value)
    assert "jenny" not in str(refused.value)


def test_a_wrong_key_of_the_account_is_waited_for_and_named(tables, faults):
    gateway = gateway_of(tables, faults.url, secret_key=Secret("sk_test_wrong"))
    with pytest.raises(GatewayUnavailable, match=r"401 .*check stripe\.secret_key") as refused:
        gateway.capture(a_capture())
    assert "sk_test_wrong" not in str(refused.value)


def test_a_key_of_the_account_that_was_changed_in_its_file_is_used_at_once(tables, faults, tmp_path):
    path = tmp_path / "secret_key"
    path.write_text("sk_test_old\n")
    gateway = gateway_of(tables, faults.url, secret_key=Secret.in_file(path))
    with pytest.raises(GatewayUnavailable):
        gateway.capture(a_capture())
    path.write_text(stub_of.SECRET_KEY + "\n")
    assert isinstance(gateway.capture(a_capture()), Captured)


def test_an_adapter_without_its_module_or_its_key_does_not_start(tables, faults):
    config = config_of(tables, faults.url)
    with pytest.raises(ConfigError, match="modules = "):
        StripeGateway.from_config(replace(config, extra={"shop": config.extra["shop"]}))
    with pytest.raises(ConfigError, match=r"stripe\.secret_key is empty"):
        gateway_of(tables, faults.url, secret_key=Secret())
