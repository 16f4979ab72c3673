"""Queue ``payment``, taking the money: intent, then the gateway, then the result.

A timeout is unknown, never failed: the next attempt asks the gateway by the same key
and captures only what it has never seen. A capture is never too late to be written:
told after the order was cancelled it is refunded.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

from ordermq.clock import Deadline
from ordermq.errors import GatewayRefused, GatewayUnavailable
from ordermq.orders import payments
from ordermq.orders.commands import PAYMENT, CapturePayment
from ordermq.orders.events import EventType, Step
from ordermq.orders.gateways import Captured, Declined, PaymentGateway
from ordermq.orders.gateways.payment import Capture
from ordermq.orders.handlers.batch import give_up, outcome_of
from ordermq.orders.journal import Journal
from ordermq.orders.payments import Payment, PaymentState
from ordermq.orders.saga import Status
from ordermq.orders.settings import SECTION, ShopSettings
from ordermq.store import Transaction
from ordermq.task import DONE, Claim, Dead, Finished, Outcome, Postpone, Retry, external
from ordermq.task.retry import describe


@dataclass(frozen=True, slots=True)
class CaptureRequest:
    """``ask_first``: it may have been tried before. ``may_capture``: the order still wants it."""

    capture: Capture
    ask_first: bool
    may_capture: bool
    timeout_s: float


class NeverSeen:
    """The gateway does not know the key, and the order no longer wants the money taken."""


NEVER_SEEN = NeverSeen()


@external(queue=PAYMENT, message=CapturePayment, key="order_id", on_dead=partial(give_up, Step.CAPTURE))
class CapturePaymentHandler:
    """Takes an order's total from its card, once. One instance serves all threads."""

    def __init__(self, gateway: PaymentGateway, *, settles_s: float) -> None:
        self._gateway = gateway
        self._settles_s = settles_s

    @classmethod
    def from_config(cls, config: Any) -> "CapturePaymentHandler":
        settings: ShopSettings = config.section(SECTION)
        return cls(PaymentGateway.from_settings(settings), settles_s=settings.capture_settles_s)

    def prepare(
        self, claims: Sequence[Claim[CapturePayment]], tx: Transaction
    ) -> list[CaptureRequest | Outcome]:
        return [self._prepare(claim, tx) for claim in claims]

    def _prepare(self, claim: Claim[CapturePayment], tx: Transaction) -> CaptureRequest | Outcome:
        """Write the intent; return what to ask or capture."""
        order_id = claim.message.order_id
        due = payments.due(order_id, tx)
        if due is None or Step.CAPTURE not in due.pending or not (due.has_intent or _is_wanted(due.status)):
            return self._without_call(order_id, tx)
        # No order row is locked here: one cancelled in this instant is refunded when the capture is told.
        if _is_wanted(due.status):
            payments.intend(order_id, due.amount_minor, due.currency, tx)
        capture = Capture(payments.key_of(order_id), order_id, due.amount_minor, due.currency, due.card_token)
        return CaptureRequest(capture, due.has_intent, _is_wanted(due.status), claim.deadline_s)

    def call(self, request: CaptureRequest) -> Captured | Declined | NeverSeen:
        """Ask first where it may have been tried before; capture what the gateway has never seen."""
        deadline = Deadline(request.timeout_s)
        if request.ask_first:
            found = self._gateway.find(request.capture.key, timeout_s=deadline.left_s)
            if found is not None:
                return found
        if not request.may_capture:
            return NEVER_SEEN
        return self._gateway.capture(request.capture, timeout_s=deadline.left_s)

    def complete(self, finished: Sequence[Finished[CapturePayment]], tx: Transaction) -> list[Outcome]:
        return [self._complete(each.claim, each.result, tx) for each in finished]

    def _complete(self, claim: Claim[CapturePayment], result: Any, tx: Transaction) -> Outcome:
        """Write what the gateway said, or that nobody knows."""
        order_id = claim.message.order_id
        journal = Journal(tx, [order_id])
        payment = payments.lock(order_id, tx, settles_s=self._settles_s)
        if payment is None or payment.state in (PaymentState.CAPTURED, PaymentState.REFUNDED):
            return DONE  # told before
        outcome = self._write(journal, payment, result, tx)
        journal.write()
        return outcome

    def _write(self, journal: Journal, payment: Payment, result: Any, tx: Transaction) -> Outcome:
        order_id = payment.order_id
        is_pending = Step.CAPTURE in journal.orders[order_id].state.pending
        match result:
            case Captured(capture_id):
                payments.save(order_id, PaymentState.CAPTURED, tx, capture_id=capture_id)
                journal.record(
                    order_id, EventType.PAYMENT_CAPTURED, Step.CAPTURE,
                    capture_id=capture_id, amount_minor=payment.amount_minor, currency=payment.currency,
                )  # fmt: skip
            case Declined(reason):
                payments.save(order_id, PaymentState.DECLINED, tx, reason=reason)
                if is_pending:
                    journal.record(order_id, EventType.PAYMENT_DECLINED, Step.CAPTURE, reason=reason)
            case NeverSeen():
                if payment.is_settling:
                    return Postpone("a capture tried before may still arrive at the gateway", self._settles_s)
                payments.save(order_id, PaymentState.FAILED, tx, reason="the order was cancelled")
                if is_pending:
                    journal.record(order_id, EventType.PAYMENT_SKIPPED, Step.CAPTURE, reason="cancelled")
            case GatewayRefused():
                payments.save(order_id, PaymentState.UNKNOWN, tx, reason=str(result))
                return Dead(str(result))
            case GatewayUnavailable():
                return Retry(str(result), result.retry_after_s)
            case _:
                payments.save(order_id, PaymentState.UNKNOWN, tx, reason=describe(result))
                return Retry(describe(result))
        return DONE

    def _without_call(self, order_id: str, tx: Transaction) -> Outcome:
        journal = Journal(tx, [order_id])
        outcome = outcome_of(journal, order_id, Step.CAPTURE)
        if outcome is not None:
            return outcome
        if _is_wanted(journal.orders[order_id].state.status):
            return Postpone("the order has just changed", 0.0)
        journal.record(order_id, EventType.PAYMENT_SKIPPED, Step.CAPTURE, reason="cancelled")
        journal.write()
        return DONE


def _is_wanted(status: str) -> bool:
    return status == Status.RESERVED
