"""Queue ``payment``, giving the money back, if any was taken.

Where nobody knows whether it was taken the gateway is asked. "Nothing to refund" is
said only when no capture can be on its way any more.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

from ordermq.clock import Deadline
from ordermq.errors import GatewayRefused, GatewayUnavailable
from ordermq.orders import payments
from ordermq.orders.commands import PAYMENT, RefundPayment
from ordermq.orders.events import EventType, Step
from ordermq.orders.gateways import Captured, PaymentGateway, Refunded
from ordermq.orders.handlers.batch import give_up, outcome_of
from ordermq.orders.journal import Journal
from ordermq.orders.payments import Payment, PaymentState
from ordermq.orders.settings import SECTION, ShopSettings
from ordermq.store import Transaction
from ordermq.task import DONE, Claim, Dead, Finished, Outcome, Postpone, Retry, external
from ordermq.task.retry import describe


@dataclass(frozen=True, slots=True)
class RefundRequest:
    """``capture_id`` None: the gateway has to be asked whether there is a capture."""

    payment: Payment
    capture_id: str | None
    timeout_s: float


@dataclass(frozen=True, slots=True)
class RefundMade:
    """The refund, and the capture it gave back."""

    refunded: Refunded
    capture_id: str


class NothingTaken:
    """The gateway has no capture under the key."""


NOTHING_TAKEN = NothingTaken()


@external(queue=PAYMENT, message=RefundPayment, key="order_id", on_dead=partial(give_up, Step.REFUND))
class RefundPaymentHandler:
    """Gives back what was taken for an order, once. One instance serves all threads."""

    def __init__(self, gateway: PaymentGateway, *, settles_s: float) -> None:
        self._gateway = gateway
        self._settles_s = settles_s

    @classmethod
    def from_config(cls, config: Any) -> "RefundPaymentHandler":
        settings: ShopSettings = config.section(SECTION)
        return cls(PaymentGateway.from_settings(settings), settles_s=settings.capture_settles_s)

    def prepare(
        self, claims: Sequence[Claim[RefundPayment]], tx: Transaction
    ) -> list[RefundRequest | Outcome]:
        return [self._prepare(claim, tx) for claim in claims]

    def _prepare(self, claim: Claim[RefundPayment], tx: Transaction) -> RefundRequest | Outcome:
        """Find out what there may be to refund."""
        order_id = claim.message.order_id
        journal = Journal(tx, [order_id])
        outcome = outcome_of(journal, order_id, Step.REFUND)
        if outcome is not None:
            return outcome
        payment = payments.lock(order_id, tx, settles_s=self._settles_s)
        if payment is None or payment.state is PaymentState.DECLINED:
            journal.record(order_id, EventType.REFUND_SKIPPED, Step.REFUND, reason="nothing was taken")
            journal.write()
            return DONE
        return RefundRequest(payment, payment.capture_id, claim.deadline_s)

    def call(self, request: RefundRequest) -> RefundMade | NothingTaken:
        """Find the capture if it is not known, and refund it under a key of its own."""
        deadline = Deadline(request.timeout_s)
        payment, capture_id = request.payment, request.capture_id
        if capture_id is None:
            found = self._gateway.find(payment.idempotency_key, timeout_s=deadline.left_s)
            if not isinstance(found, Captured):
                return NOTHING_TAKEN
            capture_id = found.capture_id
        refunded = self._gateway.refund(
            capture_id,
            key=payment.refund_key,
            amount_minor=payment.amount_minor,
            currency=payment.currency,
            timeout_s=deadline.left_s,
        )
        return RefundMade(refunded, capture_id)

    def complete(self, finished: Sequence[Finished[RefundPayment]], tx: Transaction) -> list[Outcome]:
        return [self._complete(each.claim, each.result, tx) for each in finished]

    def _complete(self, claim: Claim[RefundPayment], result: Any, tx: Transaction) -> Outcome:
        """Write what the gateway said. A refund of unknown outcome is sent again under its key."""
        order_id = claim.message.order_id
        journal = Journal(tx, [order_id])
        payment = payments.lock(order_id, tx, settles_s=self._settles_s)
        if payment is None or Step.REFUND not in journal.orders[order_id].state.pending:
            return DONE  # told before
        outcome = self._write(journal, payment, result, tx)
        journal.write()
        return outcome

    def _write(self, journal: Journal, payment: Payment, result: Any, tx: Transaction) -> Outcome:
        order_id = payment.order_id
        match result:
            case RefundMade(Refunded(refund_id), capture_id):
                payments.save(order_id, PaymentState.REFUNDED, tx, capture_id=capture_id, refund_id=refund_id)
                journal.record(
                    order_id, EventType.PAYMENT_REFUNDED, Step.REFUND,
                    capture_id=capture_id, refund_id=refund_id,
                    amount_minor=payment.amount_minor, currency=payment.currency,
                )  # fmt: skip
            case NothingTaken():
                if payment.is_settling:
                    return Postpone("a capture tried before may still arrive at the gateway", self._settles_s)
                payments.save(order_id, PaymentState.FAILED, tx, reason="the gateway has no capture")
                journal.record(order_id, EventType.REFUND_SKIPPED, Step.REFUND, reason="nothing was taken")
            case GatewayRefused():
                return Dead(str(result))
            case GatewayUnavailable():
                return Retry(str(result), result.retry_after_s)
            case _:
                return Retry(describe(result))
        return DONE
