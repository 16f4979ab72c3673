"""The contract with a service that sends e-mail. It need not have idempotency keys."""

from abc import ABC, abstractmethod
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Self

from ordermq.config import Loaded


@dataclass(frozen=True, slots=True)
class Email:
    """One e-mail: its subject, and its body as text and as HTML.

    ``reference`` is the same whenever the same e-mail is sent, and is no personal data.
    """

    to: str = field(repr=False)
    subject: str = field(repr=False)
    text: str = field(repr=False)
    html: str = field(repr=False)
    reference: str


class EmailGateway(ABC):
    """What the order pipeline asks an e-mail service. Safe for many threads.

    can_send    there is a service; without one the e-mails of all orders are skipped
    can_list    the service can list what it sent: ``sent``, for ``ordermq reconcile`` and
                ``ordermq order adopt-texts``
    """

    can_send: bool = True
    can_list: bool = False

    @classmethod
    @abstractmethod
    def from_config(cls, config: Loaded) -> Self:
        """Make the one instance of a process. Connects to nothing. Raises ConfigError."""

    @abstractmethod
    def send(self, email: Email, *, timeout_s: float | None = None) -> str:
        """Send one e-mail; return the service's id for it, at most 200 characters. Never send it twice.

        Raises GatewayUnavailable (certainly not sent), OutcomeUnknown (perhaps sent, so it is not
        sent again) or GatewayRefused (not sent, and another attempt is refused too).
        """

    def sent(self) -> Iterator[list[str]]:
        """Yield the references of all e-mails that were sent, by pages. Never called unless can_list."""
        raise NotImplementedError
