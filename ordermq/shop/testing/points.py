"""What every points gateway must do, as tests."""

import time
from abc import abstractmethod
from itertools import count

import pytest

from ordermq.errors import GatewayUnavailable, OutcomeUnknown
from ordermq.shop.gateways import PointsBooking, PointsGateway
from ordermq.shop.testing.http_faults import FaultyService, ServiceFault

_SHORT_S = 0.5


class PointsService(FaultyService):
    """The service behind the gateway, as a test drives it."""

    @abstractmethod
    def balance(self, customer_id: str) -> int:
        """Return the points of a customer; 0 if the service has none."""


class PointsGatewaySuite:
    """Subclass it, as ``class TestMyGateway(PointsGatewaySuite)``, with fixtures for service and gateway."""

    _numbers = count(int(time.time() * 1000))

    def test_points_are_booked_once_for_each_key_and_taken_back_under_another(
        self, gateway: PointsGateway, service: PointsService
    ) -> None:
        booking = self._booking(12)
        gateway.book(booking)
        gateway.book(booking)
        assert service.balance(booking.customer_id) == 12
        gateway.book(PointsBooking(booking.key + ":2", booking.order_id, booking.customer_id, -5))
        assert service.balance(booking.customer_id) == 7

    @pytest.mark.parametrize("fault", [ServiceFault.LOST, ServiceFault.MUTE])
    def test_a_booking_without_an_answer_is_unknown_and_one_in_the_end(
        self, gateway: PointsGateway, service: PointsService, fault: ServiceFault
    ) -> None:
        booking = self._booking(12)
        service.fail_next(fault)
        with pytest.raises(OutcomeUnknown):
            gateway.book(booking, timeout_s=_SHORT_S)
        gateway.book(booking)
        assert service.balance(booking.customer_id) == 12

    @pytest.mark.parametrize("fault", [ServiceFault.BUSY, ServiceFault.ERROR])
    def test_an_error_of_the_server_is_no_booking(
        self, gateway: PointsGateway, service: PointsService, fault: ServiceFault
    ) -> None:
        booking = self._booking(12)
        service.fail_next(fault)
        with pytest.raises((GatewayUnavailable, OutcomeUnknown)):
            gateway.book(booking)
        assert service.balance(booking.customer_id) == 0

    def test_a_service_that_is_gone_has_booked_nothing(
        self, gateway: PointsGateway, service: PointsService
    ) -> None:
        booking = self._booking(12)
        with service.gone(), pytest.raises(GatewayUnavailable):
            gateway.book(booking)
        assert service.balance(booking.customer_id) == 0

    def _booking(self, points: int) -> PointsBooking:
        number = next(self._numbers)
        return PointsBooking(f"points:test:T-{number}", f"T-{number}", f"C-{number}", points)
