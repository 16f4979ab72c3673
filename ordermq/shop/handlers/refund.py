"""Queue ``payment``, giving the money back, if any was taken.

If it is unknown whether money was taken, the gateway is asked. "Nothing to refund" is
recorded only when no capture can be on its way any more.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial

from ordermq.clock import Deadline
from ordermq.errors import GatewayRefused, GatewayUnavailable
from ordermq.shop.commands import PAYMENT, RefundPayment
from ordermq.shop.events import EventType, Step
from ordermq.shop.gateways import Captured, Refunded
from ordermq.shop.handlers.batch import give_up, once_each, outcome_from_state, outcome_of_failed
from ordermq.shop.handlers.payment import DEPENDENCY, UNTIL_KNOWN, PaymentHandler
from ordermq.shop.journal import Journal
from ordermq.shop.payments import Payment, Payments, PaymentState
from ordermq.task import DONE, CallFailure, Claim, Outcome, Postpone, Transaction, external
from ordermq.task.retry import describe


@dataclass(frozen=True, slots=True)
class RefundRequest:
    """What to refund; if ``capture_id`` is None, the gateway is asked first whether there is a capture."""

    payment: Payment
    capture_id: str | None
    timeout_s: float


@dataclass(frozen=True, slots=True)
class RefundMade:
    """The refund, and the capture that was refunded."""

    refunded: Refunded
    capture_id: str


class NothingTaken:
    """The gateway has no capture under the key."""


NOTHING_TAKEN = NothingTaken()


@external(
    queue=PAYMENT, message=RefundPayment, key="order_id", on_dead=partial(give_up, Step.REFUND),
    retry=UNTIL_KNOWN, dependency=DEPENDENCY,
)  # fmt: skip
class RefundPaymentHandler(PaymentHandler[RefundPayment, RefundRequest, RefundMade | NothingTaken]):
    """Gives back what was taken for an order, once."""

    def prepare(
        self, claims: Sequence[Claim[RefundPayment]], tx: Transaction
    ) -> list[RefundRequest | Outcome]:
        """Find out what there may be to refund."""
        claimed = {claim.message.order_id: claim for claim in claims}
        journal = Journal(tx, claimed)
        locked = Payments(claimed, tx, settles_s=self._settles_s)
        answers = {
            order_id: _request(order_id, journal, locked, claim.deadline_s)
            for order_id, claim in claimed.items()
        }
        journal.write()
        return once_each((claim.message.order_id for claim in claims), answers)

    def call(self, request: RefundRequest) -> RefundMade | NothingTaken:
        """Ask for the capture if it is not known, and refund it under a key of its own."""
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

    def _apply_result(
        self,
        order_id: str,
        result: RefundMade | NothingTaken | CallFailure,
        journal: Journal,
        locked: Payments,
    ) -> Outcome:
        payment = locked.rows.get(order_id)
        if payment is None or Step.REFUND not in journal.orders[order_id].state.pending:
            return DONE  # this result was written before
        match result:
            case RefundMade(Refunded(refund_id), capture_id):
                locked.set(order_id, PaymentState.REFUNDED, capture_id=capture_id, refund_id=refund_id)
                journal.record(
                    order_id, EventType.PAYMENT_REFUNDED, Step.REFUND,
                    capture_id=capture_id, refund_id=refund_id,
                    amount_minor=payment.amount_minor, currency=payment.currency,
                )  # fmt: skip
            case NothingTaken():
                # A capture that was reported since the gateway was asked is refunded, not overwritten.
                if payment.state is PaymentState.CAPTURED or payment.is_settling:
                    return Postpone("a capture tried before may still arrive at the gateway", self._settles_s)
                locked.set(order_id, PaymentState.FAILED, reason="the gateway has no capture")
                journal.record(order_id, EventType.REFUND_SKIPPED, Step.REFUND, reason="nothing was taken")
            case GatewayRefused() | GatewayUnavailable():
                return outcome_of_failed(result)
            case _:  # OutcomeUnknown
                return Postpone(describe(result))  # the refund is sent again under its key
        return DONE


def _request(order_id: str, journal: Journal, locked: Payments, timeout_s: float) -> RefundRequest | Outcome:
    outcome = outcome_from_state(journal, order_id, Step.REFUND)
    if outcome is not None:
        return outcome
    payment = locked.rows.get(order_id)
    if payment is None or payment.state is PaymentState.DECLINED:
        journal.record(order_id, EventType.REFUND_SKIPPED, Step.REFUND, reason="nothing was taken")
        return DONE
    return RefundRequest(payment, payment.capture_id, timeout_s)
