"""The gateways over HTTP do what every gateway must; gateways that are wrong are found out."""

import pytest

from ordermq.errors import GatewayUnavailable, OutcomeUnknown
from ordermq.shop.gateways.http import JsonClient
from ordermq.shop.gateways.http_payment import HttpPaymentGateway
from ordermq.shop.gateways.http_text import HttpTextGateway
from ordermq.shop.gateways.payment import Capture, Captured, Declined
from ordermq.shop.testing import (
    HttpFaults,
    PaymentGatewaySuite,
    PaymentService,
    TextGatewaySuite,
    TextService,
)
from tests.support.suites import failures


class SandboxPaymentService(PaymentService):
    good_card = "tok_good_card"
    declined_card = "tok_0002"
    pending_card = "tok_0007"

    def __init__(self, sandbox, faults):
        super().__init__(faults)
        self._sandbox = sandbox

    def forget_keys(self):
        self._sandbox.behave("payment", forget_keys_s=0.001)
        self.faults.forget_keys()

    def movements(self, order_id):
        entries = self._sandbox.ledger("payment")
        return [(each["kind"], each["amount_minor"]) for each in entries if each["order_id"] == order_id]

    def decide(self):
        """The sandbox says pending once."""


class SandboxTextService(TextService):
    good_number = "+4915112345678"
    refused_number = "+4915110000002"

    def __init__(self, sandbox, faults):
        super().__init__(faults)
        self._sandbox = sandbox

    def texts(self, number):
        return [each["text"] for each in self._sandbox.ledger("sms") if each["to"] == number]


def client(url):
    return JsonClient(url, connect_timeout_s=1.0, timeout_s=5.0)


@pytest.fixture
def faults(sandbox):
    with HttpFaults(sandbox.payment_url) as faults:
        yield faults


@pytest.fixture
def service(sandbox, faults):
    return SandboxPaymentService(sandbox, faults)


class TestHttpPaymentGateway(PaymentGatewaySuite):
    @pytest.fixture
    def gateway(self, faults):
        return HttpPaymentGateway(client(faults.url))


class TestHttpPaymentGatewayWithoutLookUp(PaymentGatewaySuite):
    @pytest.fixture
    def gateway(self, sandbox, faults):
        sandbox.behave("payment", lookup=False)
        return HttpPaymentGateway(client(faults.url), can_find=False)


class TestHttpTextGateway(TextGatewaySuite):
    @pytest.fixture
    def faults(self, sandbox):
        with HttpFaults(sandbox.sms_url) as faults:
            yield faults

    @pytest.fixture
    def service(self, sandbox, faults):
        return SandboxTextService(sandbox, faults)

    @pytest.fixture
    def gateway(self, faults):
        return HttpTextGateway(client(faults.url))


# --- gateways that are wrong, each in one thing ---


class NewKeyEachTime(HttpPaymentGateway):
    calls = 0

    def capture(self, capture, *, timeout_s=None):
        NewKeyEachTime.calls += 1
        key = f"{capture.key}/{self.calls}"
        other = Capture(key, capture.order_id, capture.amount_minor, capture.currency, capture.card_token)
        return super().capture(other, timeout_s=timeout_s)


class TimeOutIsNothing(HttpPaymentGateway):
    def capture(self, capture, *, timeout_s=None):
        try:
            return super().capture(capture, timeout_s=timeout_s)
        except OutcomeUnknown as exc:
            raise GatewayUnavailable("no answer") from exc


class ErrorIsDeclined(HttpPaymentGateway):
    def capture(self, capture, *, timeout_s=None):
        try:
            return super().capture(capture, timeout_s=timeout_s)
        except GatewayUnavailable:
            return Declined("no")


class BelievesAll(HttpPaymentGateway):
    def _result_of(self, capture, answer):
        return Captured(str(answer.body().get("capture_id")))


class WithoutDecimals(HttpPaymentGateway):
    def capture(self, capture, *, timeout_s=None):
        whole = Capture(
            capture.key, capture.order_id, capture.amount_minor // 100, capture.currency, capture.card_token
        )
        return super().capture(whole, timeout_s=timeout_s)


class TellsTheCard(HttpPaymentGateway):
    def capture(self, capture, *, timeout_s=None):
        try:
            return super().capture(capture, timeout_s=timeout_s)
        except GatewayUnavailable as exc:
            raise GatewayUnavailable(f"{exc}: {capture.card_token}") from exc


@pytest.mark.parametrize(
    ("wrong", "found_by"),
    [
        (NewKeyEachTime, "test_the_same_capture_again_is_the_same_capture"),
        (NewKeyEachTime, "test_a_capture_is_found_by_its_key_without_its_card"),
        (TimeOutIsNothing, "test_a_capture_without_an_answer_is_unknown_and_one_in_the_end"),
        (ErrorIsDeclined, "test_a_capture_refused_for_now_may_be_repeated"),
        (ErrorIsDeclined, "test_a_stored_500_is_no_answer_about_money"),
        (BelievesAll, "test_a_key_of_another_amount_order_or_currency_is_not_believed"),
        (WithoutDecimals, "test_an_amount_is_that_of_the_currency"),
        (TellsTheCard, "test_no_error_holds_a_card_token"),
    ],
)
def test_a_gateway_that_is_wrong_in_one_thing_is_found_out_by_its_test(sandbox, faults, wrong, found_by):
    service = SandboxPaymentService(sandbox, faults)
    right, wrong = HttpPaymentGateway(client(faults.url)), wrong(client(faults.url))
    assert failures(PaymentGatewaySuite, found_by, right, service) == 0
    sandbox.behave("payment")
    assert failures(PaymentGatewaySuite, found_by, wrong, service) > 0
