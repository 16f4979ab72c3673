"""The contract with a service that sends texts. It need not have idempotency keys."""

from abc import ABC, abstractmethod
from collections.abc import Iterator
from typing import Self

from ordermq.config import Loaded


class TextGateway(ABC):
    """What the order pipeline asks a text service. Safe for many threads.

    can_list    the service can list what it sent: ``sent``, for ``ordermq reconcile`` and
                ``ordermq order adopt-texts``
    """

    can_list: bool = True

    @classmethod
    @abstractmethod
    def from_config(cls, config: Loaded) -> Self:
        """Make the one instance of a process. Connects to nothing. Raises ConfigError."""

    @abstractmethod
    def send(self, to: str, text: str, *, reference: str, timeout_s: float | None = None) -> str:
        """Send one text; return the service's id for it, at most 200 characters. Never send it twice.

        ``reference`` names the text for ``sent``. Raises GatewayUnavailable (certainly not sent),
        OutcomeUnknown (perhaps sent, so it is not sent again) or GatewayRefused (not sent, and
        another attempt is refused too).
        """

    @abstractmethod
    def sent(self) -> Iterator[list[str]]:
        """Yield the references of all texts that were sent, by pages. Never called unless can_list."""
