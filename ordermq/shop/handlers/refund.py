"""Queue ``payment``, giving the money back, if any was taken.

If it is unknown whether money was taken, the gateway is asked. "Nothing to refund" is
recorded only when no capture can be on its way any more. A refund or chargeback that was made at
the service itself ends the step too, where the service says so. Where it only refuses, a person
is asked within an hour, and ``by_hand`` ends the step.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

from ordermq.clock import Deadline
from ordermq.shop import payments
from ordermq.shop.commands import PAYMENT, RefundPayment
from ordermq.shop.events import EventType, Step
from ordermq.shop.gateways import Capture, Captured, GivenBack, Pending, Refund, Refunded, RequiresAction
from ordermq.shop.handlers.batch import give_up, once_each, outcome_from_state
from ordermq.shop.handlers.payment import DEPENDENCY, UNTIL_KNOWN, PaymentHandler, undecided
from ordermq.shop.journal import Journal
from ordermq.shop.payments import Payment, Payments, PaymentState
from ordermq.task import DONE, CallFailure, Claim, Dead, Outcome, Postpone, Transaction, external


@dataclass(frozen=True, slots=True)
class RefundRequest:
    """What to refund; if ``capture_id`` is None, the gateway is asked first whether there is a capture.

    ``ask_first``: the refund was tried before, and the service may have forgotten its key.
    """

    payment: Payment
    capture_id: str | None
    ask_first: bool
    timeout_s: float


@dataclass(frozen=True, slots=True)
class RefundMade:
    """The refund, by us or at the service itself, and the capture that was refunded."""

    refunded: Refunded | GivenBack
    capture_id: str


class NothingTaken:
    """The gateway has no capture under the key."""


NOTHING_TAKEN = NothingTaken()

CANNOT_LEARN = Dead(
    "whether money was taken, or given back before, is unknown; the payment service has no look-up, and may"
    " not know the idempotency key any more, so trying again could refund twice: look for it at the service"
)

RefundResult = RefundMade | NothingTaken | Pending


@external(
    queue=PAYMENT, message=RefundPayment, key="order_id", on_dead=partial(give_up, Step.REFUND),
    retry=UNTIL_KNOWN, dependency=DEPENDENCY,
)  # fmt: skip
class RefundPaymentHandler(PaymentHandler[RefundPayment, RefundRequest, RefundResult]):
    """Gives back what was taken for an order, once."""

    asks_after_s = 3000.0  # with a retry's wait of 10 min, the longest by default, within an hour

    def prepare(
        self, claims: Sequence[Claim[RefundPayment]], tx: Transaction
    ) -> list[RefundRequest | Outcome]:
        """Find out what there may be to refund."""
        claimed = {claim.message.order_id: claim for claim in claims}
        journal = Journal(tx, claimed)
        locked = Payments(claimed, tx, settles_s=self._settles_s, key_life_s=self._key_life_s)
        answers = {
            order_id: self._request(order_id, journal, locked, claim.deadline_s)
            for order_id, claim in claimed.items()
        }
        payments.intend_refunds(
            (order_id for order_id, each in answers.items() if isinstance(each, RefundRequest)), tx
        )
        journal.write()
        return once_each((claim.message.order_id for claim in claims), answers)

    def call(self, request: RefundRequest) -> RefundResult:
        """Find the capture if it is not known, and refund it under a key of its own."""
        deadline = Deadline(request.timeout_s)
        payment, capture_id = request.payment, request.capture_id
        if capture_id is None:
            found = self._gateway.find(_capture_of(payment), timeout_s=deadline.left_s)
            if isinstance(found, Pending):
                return found
            if isinstance(found, RequiresAction):
                return Pending("the customer has not confirmed the payment")
            if isinstance(found, GivenBack):
                return RefundMade(found, found.capture_id)
            if not isinstance(found, Captured):
                return NOTHING_TAKEN
            capture_id = found.capture_id
        refund = Refund(payment.refund_key, capture_id, payment.amount_minor, payment.currency)
        refunded: Refunded | GivenBack | Pending | None = None
        if request.ask_first:
            refunded = self._gateway.find_refund(refund, timeout_s=deadline.left_s)
        if refunded is None:
            refunded = self._gateway.refund(refund, timeout_s=deadline.left_s)
        return refunded if isinstance(refunded, Pending) else RefundMade(refunded, capture_id)

    def _request(
        self, order_id: str, journal: Journal, locked: Payments, timeout_s: float
    ) -> RefundRequest | Outcome:
        outcome = outcome_from_state(journal, order_id, Step.REFUND)
        if outcome is not None:
            return outcome
        payment = locked.rows.get(order_id)
        if payment is None or payment.state is PaymentState.DECLINED:
            journal.record(order_id, EventType.REFUND_SKIPPED, Step.REFUND, reason="nothing was taken")
            return DONE
        may_be_forgotten = payment.refund_key_lives is False
        if not self._gateway.can_find and (payment.capture_id is None or may_be_forgotten):
            return CANNOT_LEARN
        return RefundRequest(payment, payment.capture_id, may_be_forgotten, timeout_s)

    def _apply_result(
        self,
        order_id: str,
        result: RefundResult | CallFailure,
        journal: Journal,
        locked: Payments,
    ) -> Outcome:
        payment = locked.rows.get(order_id)
        if payment is None or Step.REFUND not in journal.orders[order_id].state.pending:
            return DONE  # this result was written before
        match result:
            case RefundMade(made, capture_id):
                refund_id = made.refund_id if isinstance(made, Refunded) else ""
                said: dict[str, Any] = {} if isinstance(made, Refunded) else {"said": made.said}
                journal.orders[order_id].refunded_minor = payment.amount_minor
                locked.set(order_id, PaymentState.REFUNDED, capture_id=capture_id, refund_id=refund_id)
                journal.record(
                    order_id, EventType.PAYMENT_REFUNDED, Step.REFUND,
                    capture_id=capture_id, refund_id=refund_id,
                    amount_minor=payment.amount_minor, currency=payment.currency, **said,
                )  # fmt: skip
            case NothingTaken():
                # A capture that was reported since the gateway was asked is refunded, not overwritten.
                if payment.state is PaymentState.CAPTURED or payment.is_settling:
                    return Postpone("a capture tried before may still arrive at the gateway", self._settles_s)
                locked.set(order_id, PaymentState.FAILED, reason="the gateway has no capture")
                journal.record(order_id, EventType.REFUND_SKIPPED, Step.REFUND, reason="nothing was taken")
            case _:
                return undecided(result)  # if postponed, the refund is sent again under its key
        return DONE


def _capture_of(payment: Payment) -> Capture:
    """Return the capture as it was asked for. To find it again takes no card."""
    return Capture(payment.idempotency_key, payment.order_id, payment.amount_minor, payment.currency, "")
