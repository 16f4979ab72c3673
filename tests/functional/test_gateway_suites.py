"""The gateways over HTTP do what every gateway must; gateways that are wrong are found out."""

import pytest

from ordermq.errors import GatewayRefused, GatewayUnavailable, OutcomeUnknown
from ordermq.shop.gateways.http import JsonClient
from ordermq.shop.gateways.http_payment import HttpPaymentGateway
from ordermq.shop.gateways.http_text import HttpTextGateway
from ordermq.shop.gateways.payment import Capture, Captured, Declined
from ordermq.shop.gateways.smtp import SmtpGateway
from ordermq.shop.settings import ShopSettings
from ordermq.shop.testing import (
    EmailGatewaySuite,
    HttpFaults,
    PaymentGatewaySuite,
    PaymentService,
    SmtpFaults,
    SmtpService,
    TextGatewaySuite,
    TextService,
)
from tests.support.suites import failures


class SandboxPaymentService(PaymentService):
    good_card = "tok_good_card"
    declined_card = "tok_0002"
    pending_card = "tok_0007"
    action_card = "tok_0009"

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

    def act(self, payment_id):
        self._sandbox.call("POST", f"/payment/v1/captures/by-key/{payment_id}/confirm")


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


@pytest.fixture
def mail_faults():
    with SmtpFaults() as server:
        yield server


def smtp_settings(port):
    return ShopSettings(
        smtp_host="127.0.0.1", smtp_port=port, smtp_security="none", mail_from="orders@shop.example"
    )


class TestSmtpGateway(EmailGatewaySuite):
    @pytest.fixture
    def service(self, mail_faults):
        return SmtpService(mail_faults)

    @pytest.fixture
    def gateway(self, mail_faults):
        return SmtpGateway.from_settings(smtp_settings(mail_faults.port))


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


class SendsAgain(SmtpGateway):
    def send(self, email, *, timeout_s=None):
        try:
            return super().send(email, timeout_s=timeout_s)
        except OutcomeUnknown:
            return super().send(email, timeout_s=timeout_s)


class LostIsNotSent(SmtpGateway):
    def send(self, email, *, timeout_s=None):
        try:
            return super().send(email, timeout_s=timeout_s)
        except OutcomeUnknown as exc:
            raise GatewayUnavailable("no answer") from exc


class BusyIsRefused(SmtpGateway):
    def send(self, email, *, timeout_s=None):
        try:
            return super().send(email, timeout_s=timeout_s)
        except GatewayUnavailable as exc:
            raise GatewayRefused("no") from exc


class RefusedIsBusy(SmtpGateway):
    def send(self, email, *, timeout_s=None):
        try:
            return super().send(email, timeout_s=timeout_s)
        except GatewayRefused as exc:
            raise GatewayUnavailable("later") from exc


class TellsTheAddress(SmtpGateway):
    def send(self, email, *, timeout_s=None):
        try:
            return super().send(email, timeout_s=timeout_s)
        except GatewayRefused as exc:
            raise GatewayRefused(f"{exc}: {email.to}") from exc


@pytest.mark.parametrize(
    ("wrong", "found_by"),
    [
        (SendsAgain, "test_an_email_without_an_answer_is_unknown_and_not_sent_again"),
        (LostIsNotSent, "test_an_email_without_an_answer_is_unknown_and_not_sent_again"),
        (BusyIsRefused, "test_an_email_that_is_refused_for_now_may_be_sent_later"),
        (BusyIsRefused, "test_a_service_that_is_gone_has_sent_nothing"),
        (RefusedIsBusy, "test_an_address_that_takes_no_email_is_refused"),
        (RefusedIsBusy, "test_an_email_that_the_service_refuses_is_refused"),
        (TellsTheAddress, "test_no_error_holds_the_address_or_the_content"),
    ],
)
def test_an_email_gateway_that_is_wrong_in_one_thing_is_found_out_by_its_test(mail_faults, wrong, found_by):
    service, settings = SmtpService(mail_faults), smtp_settings(mail_faults.port)
    assert failures(EmailGatewaySuite, found_by, SmtpGateway.from_settings(settings), service) == 0
    assert failures(EmailGatewaySuite, found_by, wrong.from_settings(settings), service) > 0
