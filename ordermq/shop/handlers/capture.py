"""Queue ``payment``, taking the money: intent, then the gateway, then the result.

A time-out is unknown, never failed: the next call asks the gateway by the same key, and
captures only what the gateway has never seen. A result is never too late to be written:
a capture that is reported after the order was cancelled is refunded.

What waits for the customer (3-D Secure) is asked for until ``shop.payment_action_s`` has passed or the
order was cancelled. Then it is ended at the service, and what the service answers to that counts.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from typing import Self

from ordermq.clock import Deadline
from ordermq.config import Loaded
from ordermq.errors import GatewayUnavailable
from ordermq.shop import payments
from ordermq.shop.commands import PAYMENT, CapturePayment
from ordermq.shop.events import EventType, Step
from ordermq.shop.gateways import (
    Capture,
    CaptureAnswer,
    Captured,
    Declined,
    GivenBack,
    Pending,
    RequiresAction,
)
from ordermq.shop.handlers.batch import give_up, once_each, outcome_from_state, raise_attention
from ordermq.shop.handlers.payment import DEPENDENCY, UNTIL_KNOWN, PaymentHandler, undecided
from ordermq.shop.journal import Journal
from ordermq.shop.payments import Due, Payment, Payments, PaymentState
from ordermq.shop.saga import Status, can_happen
from ordermq.shop.settings import SECTION, ShopSettings
from ordermq.task import DONE, CallFailure, Claim, Dead, Finished, Outcome, Postpone, Transaction, external


@dataclass(frozen=True, slots=True)
class CaptureRequest:
    """``ask_first``: the capture may have been tried before. ``may_capture``: the order still wants it.

    ``may_wait``: the customer may still confirm it.
    """

    capture: Capture
    ask_first: bool
    may_capture: bool
    may_wait: bool
    timeout_s: float


class NeverSeen:
    """The gateway does not know the key, and the order no longer wants the money taken."""


NEVER_SEEN = NeverSeen()

CANNOT_LEARN = Dead(
    "a capture was tried and its result is unknown; the payment service has no look-up, and may not know the"
    " idempotency key any more, so trying again could take the money twice: look for it at the service"
)

CaptureResult = CaptureAnswer | NeverSeen


@dataclass(frozen=True, slots=True)
class CaptureReply:
    """What became of the capture under this key."""

    key: str
    result: CaptureResult


@external(
    queue=PAYMENT, message=CapturePayment, key="order_id", on_dead=partial(give_up, Step.CAPTURE),
    retry=UNTIL_KNOWN, dependency=DEPENDENCY,
)  # fmt: skip
class CapturePaymentHandler(PaymentHandler[CapturePayment, CaptureRequest, CaptureReply]):
    """Takes an order's total from its card, once for each number of its captures.

    The service may wait ``action_s`` for the customer. An order whose card was declined waits ``grace_s``
    for another one; 0: it is cancelled.
    """

    action_s = 3600.0
    grace_s = 0.0

    @classmethod
    def from_config(cls, config: Loaded) -> Self:
        settings: ShopSettings = config.section(SECTION)
        handler = super().from_config(config)
        handler.action_s, handler.grace_s = settings.payment_action_s, settings.payment_grace_s
        return handler

    def prepare(
        self, claims: Sequence[Claim[CapturePayment]], tx: Transaction
    ) -> list[CaptureRequest | Outcome]:
        """Write the intents; return what to ask the gateway or to capture."""
        claimed = {claim.message.order_id: claim for claim in claims}
        due = payments.due(claimed, tx, key_life_s=self._key_life_s, action_s=self.action_s)
        called = {order_id: each for order_id, each in due.items() if _needs_call(each)}
        requests = {
            order_id: self._request(each, claimed[order_id].deadline_s)
            for order_id, each in called.items()
            if self._can_learn(each)
        }
        answers: dict[str, CaptureRequest | Outcome] = {**dict.fromkeys(called, CANNOT_LEARN), **requests}
        answers |= _without_call([order_id for order_id in claimed if order_id not in called], tx)
        # The orders of these calls are not locked. One that is cancelled at this instant is refunded
        # when its capture is reported.
        payments.intend([each.capture for each in requests.values() if each.may_capture], tx)
        return once_each((claim.message.order_id for claim in claims), answers)

    def _can_learn(self, due: Due) -> bool:
        """Whether a call says what became of an earlier one, and cannot be a second capture."""
        if due.is_new or self._gateway.can_find:
            return True
        return bool(due.key_lives) and _is_wanted(due.status)

    def _request(self, due: Due, timeout_s: float) -> CaptureRequest:
        key = due.idempotency_key or payments.new_key(self._shop, due.order_id)
        capture = Capture(key, due.order_id, due.amount_minor, due.currency, due.card_token)
        ask_first = not due.is_new and self._gateway.can_find
        is_wanted = _is_wanted(due.status)
        return CaptureRequest(capture, ask_first, is_wanted, is_wanted and not due.action_is_over, timeout_s)

    def call(self, request: CaptureRequest) -> CaptureReply:
        """Ask for a capture that may have been tried before; capture what the gateway has never seen."""
        deadline = Deadline(request.timeout_s)
        result = self._learn(request, deadline)
        if isinstance(result, RequiresAction) and not request.may_wait:
            result = self._gateway.cancel(request.capture, timeout_s=deadline.left_s)
            if isinstance(result, Declined):
                result = Declined(f"the customer did not confirm it: {result.reason}")
        return CaptureReply(request.capture.key, result)

    def _learn(self, request: CaptureRequest, deadline: Deadline) -> CaptureResult:
        if request.ask_first:
            found = self._gateway.find(request.capture, timeout_s=deadline.left_s)
            if found is not None:
                return found
        if not request.may_capture:
            return NEVER_SEEN
        return self._gateway.capture(request.capture, timeout_s=deadline.left_s)

    def complete(
        self, finished: Sequence[Finished[CapturePayment, CaptureReply]], tx: Transaction
    ) -> list[Outcome]:
        """Write what the gateway said, or that the outcome is unknown."""
        order_ids = {each.claim.message.order_id for each in finished}
        journal = Journal(tx, order_ids)
        locked = Payments(order_ids, tx, settles_s=self._settles_s)
        outcomes = [
            self._give_up(each, self._apply_result(each.claim.message.order_id, each.result, journal, locked))
            for each in finished
        ]
        locked.write()
        journal.write()
        return outcomes

    def _apply_result(
        self,
        order_id: str,
        result: CaptureReply | CallFailure,
        journal: Journal,
        locked: Payments,
    ) -> Outcome:
        payment = locked.rows.get(order_id)
        if payment is None:
            return DONE
        if isinstance(result, CaptureReply) and result.key != payment.idempotency_key:
            return _apply_late(order_id, result, journal, locked)
        if _is_written(payment, result):
            return DONE
        if journal.archived(order_id) is not None:
            return _apply_to_archived(payment, result, journal, locked)
        if isinstance(result, CaptureReply):
            return self._apply_answer(payment, result.result, journal, locked)
        return _not_decided(payment, result, locked)

    def _apply_answer(
        self, payment: Payment, answer: CaptureResult, journal: Journal, locked: Payments
    ) -> Outcome:
        order_id = payment.order_id
        is_pending = Step.CAPTURE in journal.orders[order_id].state.pending
        match answer:
            case Captured(capture_id):
                locked.set(order_id, PaymentState.CAPTURED, capture_id=capture_id)
                journal.record(
                    order_id, EventType.PAYMENT_CAPTURED, Step.CAPTURE,
                    capture_id=capture_id, amount_minor=payment.amount_minor, currency=payment.currency,
                )  # fmt: skip
            case GivenBack(said=said):
                # Its refund, which follows, finds the same and ends the order as refunded.
                return Dead(f"the money was taken, and given back at the payment service: {said}")
            case Declined(reason):
                locked.set(order_id, PaymentState.DECLINED, reason=reason)
                if is_pending:
                    self._decline(order_id, reason, journal)
            case NeverSeen():
                if payment.is_settling:
                    return Postpone("a capture tried before may still arrive at the gateway", self._settles_s)
                locked.set(order_id, PaymentState.FAILED, reason="the order was cancelled")
                if is_pending:
                    journal.record(order_id, EventType.PAYMENT_SKIPPED, Step.CAPTURE, reason="cancelled")
            case RequiresAction(payment_id):
                return _wait_for_customer(payment, payment_id, journal, locked)
            case Pending():
                return _not_decided(payment, answer, locked)
        return DONE

    def _decline(self, order_id: str, reason: str, journal: Journal) -> None:
        """Let the order wait for another card, or end it if there is no grace or nobody wants it any more."""
        state = journal.orders[order_id].state
        if self.grace_s and can_happen(state, EventType.CARD_DECLINED):
            journal.record(
                order_id, EventType.CARD_DECLINED, Step.CAPTURE, expires_s=self.grace_s, reason=reason
            )
        else:
            journal.record(order_id, EventType.PAYMENT_DECLINED, Step.CAPTURE, reason=reason)


def _is_written(payment: Payment, result: CaptureReply | CallFailure) -> bool:
    """Whether another owner has written this result. Only money can still change a decline."""
    if payment.state is PaymentState.DECLINED:
        return not _is_taken(result)
    return payment.state in (PaymentState.CAPTURED, PaymentState.REFUNDED)


def _is_taken(result: CaptureReply | CallFailure) -> bool:
    return isinstance(result, CaptureReply) and isinstance(result.result, Captured | GivenBack)


def _wait_for_customer(payment: Payment, payment_id: str, journal: Journal, locked: Payments) -> Postpone:
    """Write once that the customer has to confirm the capture."""
    order_id = payment.order_id
    locked.set(order_id, PaymentState.REQUIRES_ACTION)
    state = journal.orders[order_id].state
    if not payment.needed_action and can_happen(state, EventType.PAYMENT_ACTION_REQUIRED):
        journal.record(order_id, EventType.PAYMENT_ACTION_REQUIRED, payment_id=payment_id)
    return Postpone("the payment service waits for the customer")


def _not_decided(payment: Payment, result: Pending | CallFailure, locked: Payments) -> Outcome:
    """Write that the result is unknown, if the call may have had its effect."""
    outcome = undecided(result)
    if not isinstance(result, GatewayUnavailable) and payment.state is not PaymentState.NEXT:
        locked.set(payment.order_id, PaymentState.UNKNOWN, reason=outcome.reason)
    return outcome


def _apply_late(order_id: str, reply: CaptureReply, journal: Journal, locked: Payments) -> Outcome:
    """Take a result of an earlier capture, reported after the next one had begun (CAP3)."""
    if isinstance(reply.result, Captured):
        capture_id = reply.result.capture_id
        number = locked.taken_late(order_id, reply.key, capture_id)
        if number is not None:
            return raise_attention(
                journal,
                order_id,
                f"capture {number} of the order was declined, and has taken the money after all,"
                f" as {capture_id}: refund it at the payment service",
            )
    return DONE


def _apply_to_archived(
    payment: Payment, result: CaptureReply | CallFailure, journal: Journal, locked: Payments
) -> Outcome:
    """Keep what the service says of an order that was over; nothing more happens to that by itself."""
    order_id = payment.order_id
    match result.result if isinstance(result, CaptureReply) else result:
        case Captured(capture_id):
            locked.set(order_id, PaymentState.CAPTURED, capture_id=capture_id)
            return raise_attention(
                journal,
                order_id,
                f"its capture took the money after all, as {capture_id}: refund it at the payment service",
            )
        case Declined() | NeverSeen():
            return DONE  # as the order's end had it
        case GivenBack(said=said):
            return raise_attention(journal, order_id, f"the money was taken, and given back: {said}")
        case RequiresAction():
            return Postpone("the payment service waits for the customer")
        case unknown:
            return undecided(unknown)


def _is_wanted(status: str) -> bool:
    return status == Status.RESERVED


def _needs_call(due: Due) -> bool:
    return Step.CAPTURE in due.pending and (not due.is_new or _is_wanted(due.status))


def _without_call(order_ids: Sequence[str], tx: Transaction) -> dict[str, Outcome]:
    if not order_ids:
        return {}  # the usual case: no lock, no statement
    journal = Journal(tx, order_ids)
    outcomes = {order_id: _skipped(order_id, journal) for order_id in order_ids}
    journal.write()
    return outcomes


def _skipped(order_id: str, journal: Journal) -> Outcome:
    outcome = outcome_from_state(journal, order_id, Step.CAPTURE)
    if outcome is not None:
        return outcome
    if _is_wanted(journal.orders[order_id].state.status):
        return Postpone("the order has just changed", 0.0)
    journal.record(order_id, EventType.PAYMENT_SKIPPED, Step.CAPTURE, reason="cancelled")
    return DONE
