"""Queue ``payment``, giving money back: what was taken for a cancelled order, or a part that was asked for.

If it is unknown whether money was taken, the gateway is asked. "Nothing to refund" is
recorded only when no capture can be on its way any more. A refund or chargeback that was made at
the service itself ends the step too, where the service says so and our books have the same amount
left. Where it only refuses, or has less left than our books, a person is asked within an hour, and
``by_hand`` ends the step.
"""

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

from ordermq.clock import Deadline
from ordermq.shop.commands import PAYMENT, RefundPayment
from ordermq.shop.events import EventType, Step
from ordermq.shop.gateways import Capture, Captured, Declined, GivenBack, Pending, Refunded, RequiresAction
from ordermq.shop.handlers.batch import give_up, once_each, outcome_from_state, raise_attention
from ordermq.shop.handlers.payment import DEPENDENCY, UNTIL_KNOWN, PaymentHandler, undecided
from ordermq.shop.journal import Journal, LockedOrder
from ordermq.shop.money import written
from ordermq.shop.payments import Payment, Payments, PaymentState
from ordermq.shop.refunds import RefundRow, Refunds, RefundState, new_key
from ordermq.shop.saga import CANCELLED
from ordermq.task import DONE, CallFailure, Claim, Dead, Finished, Outcome, Postpone, Transaction, external


@dataclass(frozen=True, slots=True)
class RefundRequest:
    """What to refund; if ``capture_id`` is None, the gateway is asked first whether there is a capture.

    ``ask_first``: the refund was tried before, and the service may have forgotten its key.
    """

    payment: Payment
    refund: RefundRow
    capture_id: str | None
    ask_first: bool
    timeout_s: float


@dataclass(frozen=True, slots=True)
class RefundMade:
    """The refund of this number, by us or at the service itself, and the capture that was refunded."""

    refund_no: int
    refunded: Refunded | GivenBack
    capture_id: str


@dataclass(frozen=True, slots=True)
class NothingTaken:
    """The gateway has no capture under the key. ``declined``: because it was declined, and why."""

    declined: str = ""


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
    """Gives back what was taken for a cancelled order, or the part that was asked for; each refund once."""

    asks_after_s = 3000.0  # with a retry's wait of 10 min, the longest by default, within an hour

    def prepare(
        self, claims: Sequence[Claim[RefundPayment]], tx: Transaction
    ) -> list[RefundRequest | Outcome]:
        """Find out what there may be to refund, and write the keys to refund it under."""
        claimed = {claim.message.order_id: claim for claim in claims}
        books = _Books(claimed, tx, self._settles_s, self._key_life_s)
        answers = {
            order_id: self._request(order_id, books, claim.deadline_s) for order_id, claim in claimed.items()
        }
        books.write()
        return once_each((claim.message.order_id for claim in claims), answers)

    def call(self, request: RefundRequest) -> RefundResult:
        """Find the capture if it is not known, and refund it under the refund's own key."""
        deadline = Deadline(request.timeout_s)
        payment, number, capture_id = request.payment, request.refund.refund_no, request.capture_id
        if capture_id is None:
            found = self._gateway.find(_capture_of(payment), timeout_s=deadline.left_s)
            if isinstance(found, RequiresAction):  # nobody wants it to be confirmed any more
                found = self._gateway.cancel(_capture_of(payment), timeout_s=deadline.left_s)
            if isinstance(found, Pending | RequiresAction):
                return found if isinstance(found, Pending) else Pending("it waits for the customer")
            if isinstance(found, GivenBack):
                return RefundMade(number, found, found.capture_id)
            if not isinstance(found, Captured):
                return NothingTaken(found.reason) if isinstance(found, Declined) else NOTHING_TAKEN
            capture_id = found.capture_id
        refund = request.refund.of_capture(capture_id, payment.currency)
        refunded: Refunded | GivenBack | Pending | None = None
        if request.ask_first:
            refunded = self._gateway.find_refund(refund, timeout_s=deadline.left_s)
        if refunded is None:
            refunded = self._gateway.refund(refund, timeout_s=deadline.left_s)
        return refunded if isinstance(refunded, Pending) else RefundMade(number, refunded, capture_id)

    def complete(
        self, finished: Sequence[Finished[RefundPayment, RefundResult]], tx: Transaction
    ) -> list[Outcome]:
        """Write what the gateway said, or that the outcome is unknown."""
        order_ids = {each.claim.message.order_id for each in finished}
        books = _Books(order_ids, tx, self._settles_s, self._key_life_s)
        outcomes = [
            self._give_up(each, self._end(each.claim.message.order_id, each.result, books))
            for each in finished
        ]
        books.write()
        return outcomes

    def _request(self, order_id: str, books: "_Books", timeout_s: float) -> RefundRequest | Outcome:
        outcome = outcome_from_state(books.journal, order_id, Step.REFUND)
        if outcome is not None:
            return outcome
        payment = books.payments.rows.get(order_id)
        if payment is None or payment.state in (PaymentState.NEXT, PaymentState.DECLINED):
            return books.skip(order_id, "nothing was taken")
        refund = books.refund(order_id, payment)
        if refund is None:
            books.payments.set(order_id, PaymentState.REFUNDED)
            return books.skip(order_id, "all of it went back before")
        may_be_forgotten = refund.key_lives is False
        if not self._gateway.can_find and (payment.capture_id is None or may_be_forgotten):
            return CANNOT_LEARN
        books.refunds.change(refund)
        return RefundRequest(payment, refund, payment.capture_id, may_be_forgotten, timeout_s)

    def _end(self, order_id: str, result: RefundResult | CallFailure, books: "_Books") -> Outcome:
        payment, refund = books.payments.rows.get(order_id), books.refunds.open(order_id)
        is_pending = Step.REFUND in books.journal.orders[order_id].state.pending
        is_of_another = isinstance(result, RefundMade) and (
            refund is None or refund.refund_no != result.refund_no
        )
        if payment is None or refund is None or not is_pending or is_of_another:
            return books.say_if_made_twice(order_id, result)
        match result:
            case RefundMade(_, GivenBack(said=said)) if refund.amount_minor != books.left_minor(payment):
                left = f"{written(books.left_minor(payment), payment.currency)} {payment.currency}"
                return Dead(
                    f"by our books {left} of the capture is left, at the payment service nothing: {said}"
                )
            case RefundMade():
                return books.give_back(payment, refund, result)
            case NothingTaken(declined):
                # A capture that was reported since the gateway was asked is refunded, not overwritten.
                if payment.state is PaymentState.CAPTURED or payment.is_settling:
                    return Postpone("a capture tried before may still arrive at the gateway", self._settles_s)
                return books.end_without_capture(payment, refund, declined)
            case _:
                return undecided(result)  # if postponed, the refund is sent again under its key


class _Books:
    """The orders of some refunds, locked, with their payments and refunds."""

    def __init__(
        self, order_ids: Collection[str], tx: Transaction, settles_s: float, key_life_s: float
    ) -> None:
        self.journal = Journal(tx, order_ids)
        self.payments = Payments(order_ids, tx, settles_s=settles_s)
        self.refunds = Refunds(order_ids, tx, key_life_s=key_life_s)

    def left_minor(self, payment: Payment) -> int:
        """Return what has not gone back of the money that was taken."""
        return payment.amount_minor - self._order(payment.order_id).refunded_minor

    def refund(self, order_id: str, payment: Payment) -> RefundRow | None:
        """Return the open refund with its key. A cancelled order's, of all that is left, is written here.

        None if nothing is left.
        """
        refund = self.refunds.open(order_id)
        if refund is None:
            if not (left_minor := self.left_minor(payment)):
                return None
            refund = self.refunds.add(order_id, left_minor, RefundState.OPEN)
        key = refund.idempotency_key or new_key(payment.idempotency_key, refund.refund_no)
        return refund._replace(idempotency_key=key)

    def give_back(self, payment: Payment, refund: RefundRow, made: RefundMade) -> Outcome:
        """Write that the money of a refund went back. Other money of a cancelled order is not left."""
        order = self._order(payment.order_id)
        refund_id, state = "", RefundState.GIVEN_BACK
        said: dict[str, Any] = {}
        if isinstance(made.refunded, Refunded):
            refund_id, state = made.refunded.refund_id, RefundState.REFUNDED
        else:
            said = {"said": made.refunded.said}
        self.refunds.change(refund._replace(state=state, refund_id=refund_id or None))
        order.refunded_minor += refund.amount_minor
        if order.state.status in CANCELLED:
            self.payments.set(
                order.order_id, PaymentState.REFUNDED, capture_id=made.capture_id, refund_id=refund_id
            )
        self.journal.record(
            order.order_id, EventType.PAYMENT_REFUNDED, Step.REFUND,
            refund_no=refund.refund_no, capture_id=made.capture_id, refund_id=refund_id,
            amount_minor=refund.amount_minor, currency=payment.currency, **said,
        )  # fmt: skip
        return DONE

    def end_without_capture(self, payment: Payment, refund: RefundRow, declined: str) -> Outcome:
        """Write that no money was taken, and that none can be under this key if it was declined."""
        state = PaymentState.DECLINED if declined else PaymentState.FAILED
        self.payments.set(payment.order_id, state, reason=declined or "the gateway has no capture")
        self.refunds.change(refund._replace(state=RefundState.SKIPPED))
        return self.skip(payment.order_id, "nothing was taken")

    def say_if_made_twice(self, order_id: str, made: RefundResult | CallFailure) -> Outcome:
        """Ask for a person if a refund went through that was reported by hand meanwhile.

        Any other result was written before.
        """
        if not isinstance(made, RefundMade):
            return DONE
        refund = self.refunds.get(order_id, made.refund_no)
        if refund is not None and refund.state is RefundState.BY_HAND and isinstance(made.refunded, Refunded):
            return raise_attention(
                self.journal,
                order_id,
                f"refund {made.refund_no} was reported by hand, and the payment service has made it too, as"
                f" {made.refunded.refund_id}",
            )
        return DONE

    def skip(self, order_id: str, reason: str) -> Outcome:
        """Write that there is nothing to give back."""
        self.journal.record(order_id, EventType.REFUND_SKIPPED, Step.REFUND, reason=reason)
        return DONE

    def write(self) -> None:
        """Write the changes."""
        self.payments.write()
        self.refunds.write()
        self.journal.write()

    def _order(self, order_id: str) -> LockedOrder:
        return self.journal.orders[order_id]


def _capture_of(payment: Payment) -> Capture:
    """Return the capture as it was asked for. To find it again takes no card."""
    return Capture(payment.idempotency_key, payment.order_id, payment.amount_minor, payment.currency, "")
