"""The contract with a payment service: captures and refunds by key, and the service's ledger.

docs/gateways.md has the contract in words. ``ordermq.shop.testing`` has tests that any gateway
can be run through. Amounts are in ISO 4217's minor units of their currency; a gateway turns them into
its service's (``minor_units``).
"""

from abc import ABC, abstractmethod
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Self

from ordermq.config import Loaded
from ordermq.errors import GatewayRefused


@dataclass(frozen=True, slots=True)
class Capture:
    """The money to take, and the idempotency key to take it under."""

    key: str
    order_id: str
    amount_minor: int
    currency: str
    card_token: str = field(repr=False)


@dataclass(frozen=True, slots=True)
class Refund:
    """The money to give back of a capture, all or a part, and the idempotency key to refund it under."""

    key: str
    capture_id: str
    amount_minor: int
    currency: str


@dataclass(frozen=True, slots=True)
class Captured:
    """The money was taken."""

    capture_id: str


@dataclass(frozen=True, slots=True)
class Declined:
    """The card was refused for good; ``reason`` is what the service says."""

    reason: str


@dataclass(frozen=True, slots=True)
class GivenBack:
    """The money went back to the customer at the service itself: a refund or chargeback made there."""

    capture_id: str
    said: str


@dataclass(frozen=True, slots=True)
class Pending:
    """The service has not decided yet, or says so in a word that is not known here. Ask again later."""

    status: str


@dataclass(frozen=True, slots=True)
class RequiresAction:
    """The service waits for the customer, as with 3-D Secure. ``payment_id`` is the service's name of it."""

    payment_id: str


@dataclass(frozen=True, slots=True)
class Refunded:
    """The money was refunded."""

    refund_id: str


CaptureAnswer = Captured | Declined | GivenBack | Pending | RequiresAction
RefundAnswer = Refunded | GivenBack | Pending


@dataclass(frozen=True, slots=True)
class LedgerEntry:
    """One movement of money in the service's ledger; ``kind`` is ``capture`` or ``refund``.

    What the service does not say is empty. ``entry_no`` grows from entry to entry.
    """

    entry_no: int
    kind: str
    idempotency_key: str
    order_id: str
    capture_id: str
    amount_minor: int
    currency: str


class PaymentGateway(ABC):
    """What the order pipeline asks a payment service. Safe for many threads.

    A call blocks for ``timeout_s`` seconds at most. It raises GatewayUnavailable (it had no effect,
    or may be repeated under the same key), OutcomeUnknown (it may have had its effect), or
    GatewayRefused (it never succeeds, or the service answers about other money). Any other error
    counts as OutcomeUnknown.

    can_find    the service can be asked for a capture or refund by its key. Without it a call is
                repeated only while ``shop.payment_key_life_s`` lasts
    can_list    the service can list what it did: ``ledger``, for ``ordermq reconcile``
    """

    can_find: bool = True
    can_list: bool = True

    @classmethod
    @abstractmethod
    def from_config(cls, config: Loaded) -> Self:
        """Make the one instance of a process; ``config.section(name)`` is a section of the settings.

        Connects to nothing. Raises ConfigError.
        """

    @abstractmethod
    def capture(self, capture: Capture, *, timeout_s: float | None = None) -> CaptureAnswer:
        """Take the money, or learn that the card is refused. The same key again is the same capture."""

    @abstractmethod
    def find(self, capture: Capture, *, timeout_s: float | None = None) -> CaptureAnswer | None:
        """Ask for the result of a capture; None if the service has never seen its key. Takes no money.

        ``capture.card_token`` may be empty.
        """

    def cancel(self, capture: Capture, *, timeout_s: float | None = None) -> CaptureAnswer:
        """End a capture that waits for the customer, so that no money can be taken for it any more.

        Returns Declined, or what the service decided before. A gateway that returns
        RequiresAction must define it.
        """
        raise GatewayRefused("this gateway cannot cancel a capture that waits for the customer")

    @abstractmethod
    def refund(self, refund: Refund, *, timeout_s: float | None = None) -> RefundAnswer:
        """Refund a capture, or a part of it. The same key again is the same refund.

        GivenBack if nothing of the capture is left to refund.
        """

    @abstractmethod
    def find_refund(self, refund: Refund, *, timeout_s: float | None = None) -> RefundAnswer | None:
        """Ask for the result of a refund; None if the service has never seen its key."""

    @abstractmethod
    def ledger(self) -> Iterator[list[LedgerEntry]]:
        """Yield all captures and refunds of the account, a page at a time. Never called unless can_list."""
