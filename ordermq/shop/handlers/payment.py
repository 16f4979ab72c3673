"""What capturing and refunding have in common.

A payment service that cannot be reached, or whose answer does not arrive, costs no
attempt: it is asked again, less and less often, until the result is known. A step is
given up only when the service refuses it for good.
"""

from abc import abstractmethod
from collections.abc import Sequence
from typing import Generic, Self, TypeVar

from ordermq.config import Loaded
from ordermq.shop.commands import CapturePayment, RefundPayment
from ordermq.shop.gateways import PaymentGateway
from ordermq.shop.journal import Journal
from ordermq.shop.payments import Payments
from ordermq.shop.settings import SECTION, ShopSettings
from ordermq.task import CallFailure, ExternalHandler, Finished, Outcome, RetryOptions, Transaction

DEPENDENCY = "payment"

UNTIL_KNOWN = RetryOptions(max_age_s=30 * 86_400.0)


P = TypeVar("P", CapturePayment, RefundPayment)
Request = TypeVar("Request")
Result = TypeVar("Result")


class PaymentHandler(ExternalHandler[P, Request, Result], Generic[P, Request, Result]):
    """An external handler of the payment service. One instance serves all threads."""

    def __init__(self, gateway: PaymentGateway, *, settles_s: float) -> None:
        self._gateway = gateway
        self._settles_s = settles_s

    @classmethod
    def from_config(cls, config: Loaded) -> Self:
        settings: ShopSettings = config.section(SECTION)
        return cls(PaymentGateway.from_settings(settings), settles_s=settings.capture_settles_s)

    def complete(self, finished: Sequence[Finished[P, Result]], tx: Transaction) -> list[Outcome]:
        """Write what the gateway said, or that the outcome is unknown."""
        results = [(each.claim.message.order_id, each.result) for each in finished]
        order_ids = {order_id for order_id, _ in results}
        journal = Journal(tx, order_ids)
        locked = Payments(order_ids, tx, settles_s=self._settles_s)
        outcomes = [self._apply_result(order_id, result, journal, locked) for order_id, result in results]
        locked.write()
        journal.write()
        return outcomes

    @abstractmethod
    def _apply_result(
        self,
        order_id: str,
        result: Result | CallFailure,
        journal: Journal,
        locked: Payments,
    ) -> Outcome:
        """Record the result of one order's call; return the message's outcome."""
