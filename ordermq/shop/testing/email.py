"""What every e-mail gateway must do, as tests."""

import time
from abc import ABC, abstractmethod
from contextlib import AbstractContextManager
from itertools import count
from typing import ClassVar

import pytest

from ordermq.errors import GatewayError, GatewayRefused, GatewayUnavailable, OutcomeUnknown
from ordermq.shop.gateways import Email, EmailGateway
from ordermq.shop.testing.smtp_faults import MailFault, SmtpFaults

_SHORT_S = 0.5
_LATE_S = 3.0


class EmailService(ABC):
    """The service behind the gateway, as a test drives it: ``SmtpService``, or one of your own.

    An address that is left empty skips its test.
    """

    good_address: ClassVar[str] = "anna@customer.example"
    refused_address: ClassVar[str] = ""

    @abstractmethod
    def fail_next(self, fault: MailFault) -> None:
        """Let the next e-mail fail like this."""

    @abstractmethod
    def gone(self) -> AbstractContextManager[None]:
        """Let no connection come up while the block runs."""

    @abstractmethod
    def subjects(self, address: str) -> list[str]:
        """Return the subjects of the e-mails that were taken for an address."""


class SmtpService(EmailService):
    """The mail server of ``SmtpFaults``, for a gateway that speaks SMTP."""

    refused_address = SmtpFaults.refused_address

    def __init__(self, server: SmtpFaults) -> None:
        self._server = server

    def fail_next(self, fault: MailFault) -> None:
        self._server.fail_next(fault)

    def gone(self) -> AbstractContextManager[None]:
        return self._server.gone()

    def subjects(self, address: str) -> list[str]:
        return self._server.subjects(address)


class EmailGatewaySuite:
    """Subclass it as ``class TestMyGateway(EmailGatewaySuite)`` with fixtures ``service`` and ``gateway``."""

    _numbers = count(int(time.time() * 1000))

    def test_an_email_is_sent_once_and_its_reference_is_listed(
        self, gateway: EmailGateway, service: EmailService
    ) -> None:
        email = self._email(service)
        assert gateway.can_send
        assert len(gateway.send(email)) <= 200
        assert service.subjects(email.to).count(email.subject) == 1
        if gateway.can_list:
            assert [each for page in gateway.sent() for each in page].count(email.reference) == 1

    def test_an_address_that_takes_no_email_is_refused(
        self, gateway: EmailGateway, service: EmailService
    ) -> None:
        if not service.refused_address:
            pytest.skip("the service has no such address")
        email = self._email(service, service.refused_address)
        with pytest.raises(GatewayRefused):
            gateway.send(email)
        assert email.subject not in service.subjects(email.to)

    def test_an_email_that_the_service_refuses_is_refused(
        self, gateway: EmailGateway, service: EmailService
    ) -> None:
        email = self._email(service)
        service.fail_next(MailFault.REFUSED)
        with pytest.raises(GatewayRefused):
            gateway.send(email)
        assert email.subject not in service.subjects(email.to)

    @pytest.mark.parametrize("fault", [MailFault.LATER, MailFault.LATER_AFTER_DATA])
    def test_an_email_that_is_refused_for_now_may_be_sent_later(
        self, gateway: EmailGateway, service: EmailService, fault: MailFault
    ) -> None:
        email = self._email(service)
        service.fail_next(fault)
        with pytest.raises(GatewayUnavailable):
            gateway.send(email)
        assert email.subject not in service.subjects(email.to)
        gateway.send(email)
        assert service.subjects(email.to).count(email.subject) == 1

    @pytest.mark.parametrize("fault", [MailFault.CUT, MailFault.MUTE])
    def test_an_email_without_an_answer_is_unknown_and_not_sent_again(
        self, gateway: EmailGateway, service: EmailService, fault: MailFault
    ) -> None:
        email = self._email(service)
        service.fail_next(fault)
        began_s = time.monotonic()
        with pytest.raises(OutcomeUnknown):
            gateway.send(email, timeout_s=_SHORT_S)
        assert time.monotonic() - began_s < _LATE_S
        assert service.subjects(email.to).count(email.subject) == 1

    def test_a_connection_lost_before_the_message_is_no_email_that_was_sent(
        self, gateway: EmailGateway, service: EmailService
    ) -> None:
        email = self._email(service)
        service.fail_next(MailFault.LOST)
        with pytest.raises((GatewayUnavailable, OutcomeUnknown)):
            gateway.send(email)
        assert email.subject not in service.subjects(email.to)

    def test_a_service_that_is_gone_has_sent_nothing(
        self, gateway: EmailGateway, service: EmailService
    ) -> None:
        email = self._email(service)
        with service.gone(), pytest.raises(GatewayUnavailable):
            gateway.send(email)
        gateway.send(email)
        assert service.subjects(email.to).count(email.subject) == 1

    @pytest.mark.parametrize("fault", MailFault)
    def test_no_error_holds_the_address_or_the_content(
        self, gateway: EmailGateway, service: EmailService, fault: MailFault
    ) -> None:
        email = self._email(service)
        service.fail_next(fault)
        with pytest.raises(GatewayError) as failed:
            gateway.send(email, timeout_s=_SHORT_S)
        for secret in (email.to, email.subject, email.text, email.html):
            assert secret not in str(failed.value)

    def _email(self, service: EmailService, to: str = "") -> Email:
        name = f"mail-{next(self._numbers)}"
        return Email(
            to=to or service.good_address, subject=f"About {name}", text=f"Text of {name}\n",
            html=f"<p>Text of {name}</p>\n", reference=f"{name}:order_confirmed",
        )  # fmt: skip
