"""The contract with a service that keeps customers' points, in place of the shop's own table."""

from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import Self

from ordermq.config import Loaded


@dataclass(frozen=True, slots=True)
class PointsBooking:
    """Points to credit a customer with, and the idempotency key to credit them under.

    ``points`` is negative where points are taken back.
    """

    key: str
    order_id: str
    customer_id: str
    points: int


class PointsGateway(ABC):
    """What the order pipeline asks a points service. Safe for many threads."""

    @classmethod
    @abstractmethod
    def from_config(cls, config: Loaded) -> Self:
        """Make the one instance of a process. Connects to nothing. Raises ConfigError."""

    @abstractmethod
    def book(self, booking: PointsBooking, *, timeout_s: float | None = None) -> None:
        """Book the points. The same key again is the same booking, for ever.

        Raises GatewayUnavailable (nothing was booked, or it may be repeated), OutcomeUnknown (perhaps
        booked; it is repeated under the same key) or GatewayRefused (it is never taken).
        """
