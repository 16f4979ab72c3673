"""What every payment gateway must do, as tests: docs/gateways.md has the same in words."""

import time
from abc import abstractmethod
from collections.abc import Callable
from itertools import count
from typing import Any, ClassVar

import pytest

from ordermq.errors import GatewayError, GatewayRefused, GatewayUnavailable, OutcomeUnknown
from ordermq.shop.gateways import (
    Capture,
    CaptureAnswer,
    Captured,
    Declined,
    GivenBack,
    PaymentGateway,
    Pending,
    Refund,
    Refunded,
    RequiresAction,
)
from ordermq.shop.testing.http_faults import FaultyService, ServiceFault

_SHORT_S = 0.5
_LATE_S = 3.0


class PaymentService(FaultyService):
    """The service behind the gateway, as a test drives it: a sandbox, or a stub of your own.

    The cards are tokens. A card that is left empty skips the tests that need it.
    """

    good_card: ClassVar[str]
    declined_card: ClassVar[str]
    pending_card: ClassVar[str] = ""
    action_card: ClassVar[str] = ""

    @abstractmethod
    def forget_keys(self) -> None:
        """Let so much time pass that the service has forgotten all idempotency keys."""

    @abstractmethod
    def movements(self, order_id: str) -> list[tuple[str, int]]:
        """Return what was moved for an order: ("capture" or "refund", amount in ISO 4217's minor units)."""

    def decide(self) -> None:
        """Let what is pending succeed. Needed with ``pending_card``."""
        raise NotImplementedError

    def act(self, payment_id: str) -> None:
        """Let the customer confirm the payment of this name. Needed with ``action_card``."""
        raise NotImplementedError


class PaymentGatewaySuite:
    """Subclass it as ``class TestMyGateway(PaymentGatewaySuite)`` with fixtures ``service`` and ``gateway``.

    The gateway calls the service. Each test makes orders of its own, so the service may be kept from test
    to test.
    """

    _numbers = count(int(time.time() * 1000))

    def test_a_capture_takes_the_money_once_and_names_it(
        self, gateway: PaymentGateway, service: PaymentService
    ) -> None:
        wanted = self._capture(service.good_card)
        taken = gateway.capture(wanted)
        assert isinstance(taken, Captured)
        assert taken.capture_id
        assert service.movements(wanted.order_id) == [("capture", 1000)]

    def test_the_same_capture_again_is_the_same_capture(
        self, gateway: PaymentGateway, service: PaymentService
    ) -> None:
        wanted = self._capture(service.good_card)
        assert gateway.capture(wanted) == gateway.capture(wanted)
        assert service.movements(wanted.order_id) == [("capture", 1000)]

    def test_a_capture_is_found_by_its_key_without_its_card(
        self, gateway: PaymentGateway, service: PaymentService
    ) -> None:
        wanted = self._capture(service.good_card)
        self._needs(gateway.can_find)
        taken = gateway.capture(wanted)
        assert gateway.find(self._without_card(wanted)) == taken

    def test_a_key_that_was_never_used_is_not_found_and_looking_takes_nothing(
        self, gateway: PaymentGateway, service: PaymentService
    ) -> None:
        wanted = self._capture(service.good_card)
        self._needs(gateway.can_find)
        assert gateway.find(wanted) is None
        assert service.movements(wanted.order_id) == []

    def test_a_declined_card_is_declined_again_and_another_key_takes_another_card(
        self, gateway: PaymentGateway, service: PaymentService
    ) -> None:
        wanted = self._capture(service.declined_card)
        assert isinstance(gateway.capture(wanted), Declined)
        assert isinstance(gateway.capture(wanted), Declined)
        second = self._capture(service.good_card, key=wanted.key + ":2", order_id=wanted.order_id)
        assert isinstance(gateway.capture(second), Captured)
        if gateway.can_find:
            assert isinstance(gateway.find(wanted), Declined)
        assert service.movements(wanted.order_id) == [("capture", 1000)]

    @pytest.mark.parametrize("fault", [ServiceFault.LOST, ServiceFault.MUTE])
    def test_a_capture_without_an_answer_is_unknown_and_one_in_the_end(
        self, gateway: PaymentGateway, service: PaymentService, fault: ServiceFault
    ) -> None:
        wanted = self._capture(service.good_card)
        service.fail_next(fault)
        with pytest.raises(OutcomeUnknown):
            gateway.capture(wanted, timeout_s=_SHORT_S)
        assert isinstance(self._again(gateway, wanted), Captured)
        assert service.movements(wanted.order_id) == [("capture", 1000)]

    def test_a_call_ends_in_its_time(self, gateway: PaymentGateway, service: PaymentService) -> None:
        service.fail_next(ServiceFault.LOST)
        began_s = time.monotonic()
        with pytest.raises(GatewayError):
            gateway.capture(self._capture(service.good_card), timeout_s=_SHORT_S)
        assert time.monotonic() - began_s < _LATE_S

    def test_a_capture_refused_for_now_may_be_repeated(
        self, gateway: PaymentGateway, service: PaymentService
    ) -> None:
        wanted = self._capture(service.good_card)
        service.fail_next(ServiceFault.BUSY)
        with pytest.raises((GatewayUnavailable, OutcomeUnknown)):
            gateway.capture(wanted)
        assert service.movements(wanted.order_id) == []
        assert isinstance(self._again(gateway, wanted), Captured)

    def test_a_service_that_cannot_be_reached_had_no_effect(
        self, gateway: PaymentGateway, service: PaymentService
    ) -> None:
        wanted = self._capture(service.good_card)
        with service.gone():
            for call in (gateway.capture, *([gateway.find] if gateway.can_find else [])):
                with pytest.raises(GatewayUnavailable):
                    call(wanted)
        assert isinstance(self._again(gateway, wanted), Captured)
        assert service.movements(wanted.order_id) == [("capture", 1000)]

    @pytest.mark.parametrize("fault", [ServiceFault.ERROR, ServiceFault.ERROR_DONE])
    def test_a_stored_500_is_no_answer_about_money(
        self, gateway: PaymentGateway, service: PaymentService, fault: ServiceFault
    ) -> None:
        wanted = self._capture(service.good_card)
        self._needs(gateway.can_find)
        service.fail_next(fault)
        with pytest.raises((GatewayUnavailable, OutcomeUnknown)):
            gateway.capture(wanted)
        done = fault is ServiceFault.ERROR_DONE
        assert isinstance(gateway.find(wanted), Captured) == done
        if not done:
            service.forget_keys()
        assert isinstance(self._again(gateway, wanted), Captured)
        assert service.movements(wanted.order_id) == [("capture", 1000)]

    def test_a_capture_whose_answer_was_lost_is_found_after_its_key_was_forgotten(
        self, gateway: PaymentGateway, service: PaymentService
    ) -> None:
        wanted = self._capture(service.good_card)
        self._needs(gateway.can_find)
        service.fail_next(ServiceFault.MUTE)
        with pytest.raises(OutcomeUnknown):
            gateway.capture(wanted, timeout_s=_SHORT_S)
        service.forget_keys()
        assert isinstance(self._again(gateway, wanted), Captured)
        assert service.movements(wanted.order_id) == [("capture", 1000)]

    def test_a_key_of_another_amount_order_or_currency_is_not_believed(
        self, gateway: PaymentGateway, service: PaymentService
    ) -> None:
        wanted = self._capture(service.good_card)
        gateway.capture(wanted)
        others = (
            self._capture(service.good_card, key=wanted.key, order_id=wanted.order_id, amount_minor=2000),
            self._capture(service.good_card, key=wanted.key, order_id=wanted.order_id, currency="USD"),
            self._capture(service.good_card, key=wanted.key, order_id=wanted.order_id + "-2"),
        )
        for other in others:
            with pytest.raises((GatewayRefused, GatewayUnavailable)):
                gateway.capture(other)
            if gateway.can_find:
                with pytest.raises(GatewayRefused):
                    gateway.find(other)
        assert service.movements(wanted.order_id) == [("capture", 1000)]
        assert service.movements(wanted.order_id + "-2") == []

    @pytest.mark.parametrize(("currency", "amount"), [("JPY", 1000), ("EUR", 1000), ("KWD", 12340)])
    def test_an_amount_is_that_of_the_currency(
        self, gateway: PaymentGateway, service: PaymentService, currency: str, amount: int
    ) -> None:
        wanted = self._capture(service.good_card, currency=currency, amount_minor=amount)
        assert isinstance(gateway.capture(wanted), Captured)
        assert service.movements(wanted.order_id) == [("capture", amount)]

    def test_a_capture_that_is_not_decided_is_pending_until_it_is(
        self, gateway: PaymentGateway, service: PaymentService
    ) -> None:
        wanted = self._capture(service.pending_card)
        assert isinstance(gateway.capture(wanted), Pending)
        service.decide()
        assert isinstance(self._again(gateway, wanted), Captured)
        assert service.movements(wanted.order_id) == [("capture", 1000)]

    def test_a_capture_that_waits_for_the_customer_says_so_and_is_taken_once(
        self, gateway: PaymentGateway, service: PaymentService
    ) -> None:
        wanted = self._capture(service.action_card)
        waiting = gateway.capture(wanted)
        assert isinstance(waiting, RequiresAction)
        assert self._again(gateway, wanted) == waiting
        assert service.movements(wanted.order_id) == []
        service.act(waiting.payment_id)
        assert isinstance(self._again(gateway, wanted), Captured)
        assert isinstance(gateway.cancel(wanted), Captured)
        assert service.movements(wanted.order_id) == [("capture", 1000)]

    def test_a_capture_that_was_cancelled_is_declined(
        self, gateway: PaymentGateway, service: PaymentService
    ) -> None:
        wanted = self._capture(service.action_card)
        gateway.capture(wanted)
        assert isinstance(gateway.cancel(wanted), Declined)
        assert isinstance(gateway.cancel(wanted), Declined)
        assert isinstance(self._again(gateway, wanted), Declined)
        assert service.movements(wanted.order_id) == []

    def test_parts_are_refunded_each_once_and_no_more_than_was_taken(
        self, gateway: PaymentGateway, service: PaymentService
    ) -> None:
        refund, order_id = self._taken(gateway, service)
        first, second = refund(":1", 400), refund(":2", 600)
        assert isinstance(gateway.refund(first), Refunded)
        assert gateway.refund(first) == gateway.refund(first)
        too_much = refund(":3", 601)
        assert not isinstance(self._answer(lambda: gateway.refund(too_much)), Refunded)
        assert isinstance(gateway.refund(second), Refunded)
        assert isinstance(gateway.refund(refund(":4", 1)), GivenBack)
        assert service.movements(order_id) == [("capture", 1000), ("refund", 400), ("refund", 600)]

    @pytest.mark.parametrize("fault", [ServiceFault.LOST, ServiceFault.MUTE])
    def test_a_refund_without_an_answer_is_unknown_and_one_in_the_end(
        self, gateway: PaymentGateway, service: PaymentService, fault: ServiceFault
    ) -> None:
        refund, order_id = self._taken(gateway, service)
        part = refund(":1", 400)
        service.fail_next(fault)
        with pytest.raises(OutcomeUnknown):
            gateway.refund(part, timeout_s=_SHORT_S)
        if gateway.can_find:
            service.forget_keys()
            assert isinstance(gateway.find_refund(part) or gateway.refund(part), Refunded)
        else:
            assert isinstance(gateway.refund(part), Refunded)
        assert service.movements(order_id) == [("capture", 1000), ("refund", 400)]

    def test_a_refund_that_was_never_asked_for_is_not_found(
        self, gateway: PaymentGateway, service: PaymentService
    ) -> None:
        refund, order_id = self._taken(gateway, service)
        self._needs(gateway.can_find)
        assert gateway.find_refund(refund(":1", 400)) is None
        assert service.movements(order_id) == [("capture", 1000)]

    def test_a_refund_of_an_unknown_capture_is_refused(
        self, gateway: PaymentGateway, service: PaymentService
    ) -> None:
        key = self._capture(service.good_card).key
        with pytest.raises(GatewayRefused):
            gateway.refund(Refund(f"refund:{key}", "no-such-capture", 100, "EUR"))

    def test_the_ledger_has_captures_and_refunds_with_their_amounts(
        self, gateway: PaymentGateway, service: PaymentService
    ) -> None:
        self._needs(gateway.can_list)
        refund, order_id = self._taken(gateway, service)
        gateway.refund(refund(":1", 400))
        capture_id = refund("", 1).capture_id
        entries = [each for page in gateway.ledger() for each in page if each.capture_id == capture_id]
        assert sorted((each.kind, each.amount_minor, each.currency) for each in entries) == [
            ("capture", 1000, "EUR"), ("refund", 400, "EUR"),
        ]  # fmt: skip
        (taken,) = (each for each in entries if each.kind == "capture")
        assert (taken.order_id, taken.idempotency_key) == (order_id, f"capture:test:{order_id}")

    def test_no_error_holds_a_card_token(self, gateway: PaymentGateway, service: PaymentService) -> None:
        wanted = self._capture(service.good_card)
        for fault in (ServiceFault.BUSY, ServiceFault.ERROR, ServiceFault.LOST):
            service.fail_next(fault)
            with pytest.raises(GatewayError) as failed:
                gateway.capture(wanted, timeout_s=_SHORT_S)
            assert wanted.card_token not in str(failed.value)
            wanted = self._capture(service.good_card)

    # --- for the tests -----------------------------------------------------------

    def _capture(self, card: str, **changes: Any) -> Capture:
        if not card:
            pytest.skip("the service has no such card")
        order_id = changes.pop("order_id", f"T-{next(self._numbers)}")
        fixed = {"key": f"capture:test:{order_id}", "amount_minor": 1000, "currency": "EUR"}
        return Capture(order_id=order_id, card_token=card, **{**fixed, **changes})

    def _without_card(self, capture: Capture) -> Capture:
        return Capture(capture.key, capture.order_id, capture.amount_minor, capture.currency, "")

    def _again(self, gateway: PaymentGateway, capture: Capture) -> CaptureAnswer:
        """Do as the pipeline does with a capture that was tried before."""
        found = gateway.find(capture) if gateway.can_find else None
        return gateway.capture(capture) if found is None else found

    def _taken(
        self, gateway: PaymentGateway, service: PaymentService
    ) -> tuple[Callable[[str, int], Refund], str]:
        wanted = self._capture(service.good_card)
        taken = gateway.capture(wanted)
        assert isinstance(taken, Captured)

        def refund(suffix: str, amount_minor: int) -> Refund:
            return Refund(f"refund:{wanted.key}{suffix}", taken.capture_id, amount_minor, wanted.currency)

        return refund, wanted.order_id

    def _answer(self, call: Callable[[], Any]) -> Any:
        try:
            return call()
        except GatewayError as exc:
            return exc

    def _needs(self, ability: bool) -> None:
        if not ability:
            pytest.skip("the gateway says that it cannot do this")
