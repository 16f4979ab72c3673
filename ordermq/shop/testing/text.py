"""What every text gateway must do, as tests."""

import time
from abc import abstractmethod
from itertools import count
from typing import ClassVar

import pytest

from ordermq.errors import GatewayError, GatewayRefused, GatewayUnavailable, OutcomeUnknown
from ordermq.shop.gateways import TextGateway
from ordermq.shop.testing.http_faults import FaultyService, ServiceFault

_SHORT_S = 0.5
_LATE_S = 3.0


class TextService(FaultyService):
    """The service behind the gateway, as a test drives it. A number that is left empty skips its test."""

    good_number: ClassVar[str]
    refused_number: ClassVar[str] = ""

    @abstractmethod
    def texts(self, number: str) -> list[str]:
        """Return the texts that were sent to a number."""


class TextGatewaySuite:
    """Subclass it as ``class TestMyGateway(TextGatewaySuite)`` with fixtures ``service`` and ``gateway``."""

    _numbers = count(int(time.time() * 1000))

    def test_a_text_is_sent_once_and_its_reference_is_listed(
        self, gateway: TextGateway, service: TextService
    ) -> None:
        text = self._text()
        assert len(gateway.send(service.good_number, text, reference=text)) <= 200
        assert service.texts(service.good_number).count(text) == 1
        if gateway.can_list:
            assert [each for page in gateway.sent() for each in page].count(text) == 1

    def test_a_number_that_takes_no_texts_is_refused(
        self, gateway: TextGateway, service: TextService
    ) -> None:
        if not service.refused_number:
            pytest.skip("the service has no such number")
        text = self._text()
        with pytest.raises(GatewayRefused):
            gateway.send(service.refused_number, text, reference=text)
        assert text not in service.texts(service.refused_number)

    @pytest.mark.parametrize("fault", [ServiceFault.LOST, ServiceFault.MUTE])
    def test_a_text_without_an_answer_is_unknown_and_not_sent_again(
        self, gateway: TextGateway, service: TextService, fault: ServiceFault
    ) -> None:
        text = self._text()
        service.fail_next(fault)
        began_s = time.monotonic()
        with pytest.raises(OutcomeUnknown):
            gateway.send(service.good_number, text, reference=text, timeout_s=_SHORT_S)
        assert time.monotonic() - began_s < _LATE_S
        assert service.texts(service.good_number).count(text) == (fault is ServiceFault.MUTE)

    @pytest.mark.parametrize("fault", [ServiceFault.ERROR, ServiceFault.ERROR_DONE])
    def test_an_error_of_the_server_does_not_say_that_nothing_was_sent(
        self, gateway: TextGateway, service: TextService, fault: ServiceFault
    ) -> None:
        text = self._text()
        service.fail_next(fault)
        with pytest.raises(OutcomeUnknown):
            gateway.send(service.good_number, text, reference=text)

    def test_a_service_that_is_busy_or_gone_has_sent_nothing(
        self, gateway: TextGateway, service: TextService
    ) -> None:
        text = self._text()
        service.fail_next(ServiceFault.BUSY)
        with pytest.raises(GatewayUnavailable):
            gateway.send(service.good_number, text, reference=text)
        with service.gone(), pytest.raises(GatewayUnavailable):
            gateway.send(service.good_number, text, reference=text)
        assert text not in service.texts(service.good_number)

    def test_no_error_holds_the_number_or_the_text(self, gateway: TextGateway, service: TextService) -> None:
        for fault in (ServiceFault.BUSY, ServiceFault.ERROR, ServiceFault.LOST):
            text = self._text()
            service.fail_next(fault)
            with pytest.raises(GatewayError) as failed:
                gateway.send(service.good_number, text, reference="r-1", timeout_s=_SHORT_S)
            assert text not in str(failed.value)
            assert service.good_number not in str(failed.value)

    def _text(self) -> str:
        return f"text-{next(self._numbers)}"
