"""An order of production as a test: ``replay`` places it and runs its handlers, as services answered then.

    def test_the_order_that_failed_goes_through(database_settings):
        replayed = replay("tests/orders/A-1001.jsonl", database_settings)
        assert replayed.failure is None
        assert replayed.status == "completed"

The file is what ``ordermq order export A-1001`` printed. The payment service captures or declines as the
events say, texts and e-mails are taken, and stock is there unless the order was rejected for want of it. A
message that is not done ends the replay. What people and clocks did to the order is not repeated.
"""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Self

from ordermq.config import Loaded
from ordermq.config.settings import DatabaseSettings
from ordermq.message import decode
from ordermq.shop.email_templates import EmailTemplates
from ordermq.shop.events import EventType
from ordermq.shop.export import read_export
from ordermq.shop.gateways.email import Email, EmailGateway
from ordermq.shop.gateways.payment import (
    Capture,
    Captured,
    Declined,
    LedgerEntry,
    PaymentGateway,
    Refund,
    Refunded,
)
from ordermq.shop.gateways.text import TextGateway
from ordermq.shop.handlers import (
    AlertOperatorHandler,
    CapturePaymentHandler,
    RefundPaymentHandler,
    SendEmailHandler,
    SendNotificationHandler,
    create_shipment,
    release_stock,
    reserve_stock,
)
from ordermq.shop.handlers.points import adjust_points, award_points
from ordermq.shop.model import Order
from ordermq.shop.place import place_order
from ordermq.shop.stock import load_stock
from ordermq.store import Session
from ordermq.task.handler import handler_of
from ordermq.task.outcome import DONE, Outcome
from ordermq.testing.handling import run_handler

_MOST = 1000  # messages: an order that has more goes round in circles

# What is due at a certain time only, the end of the grace after a declined card, is left alone.
_TAKE = """
    DELETE FROM ordermq.outbox
     WHERE outbox_id = (SELECT min(outbox_id) FROM ordermq.outbox
                         WHERE correlation_id = %s AND available_at <= now() + interval '1 minute')
    RETURNING type, body
"""

_END = "SELECT status FROM shop.orders WHERE order_id = %s"

_EVENTS = "SELECT type FROM shop.order_events WHERE order_id = %s ORDER BY version"


@dataclass(frozen=True)
class ReplayFailure:
    """The message that was not done: its type, the handler's outcome, and what it raised, if anything."""

    type: str
    outcome: Outcome
    error: BaseException | None = None


@dataclass(frozen=True)
class ReplayedOrder:
    """What became of the order here, and in production: ``recorded`` and ``recorded_status``."""

    order_id: str
    status: str
    events: Sequence[str]
    recorded_status: str
    recorded: Sequence[str]
    failure: ReplayFailure | None = None
    texts: Sequence[str] = field(default_factory=list)

    @property
    def is_as_recorded(self) -> bool:
        """Whether the same events happened. Steps that go on side by side may end in any order."""
        return sorted(self.events) == sorted(self.recorded) and self.status == self.recorded_status


def replay(
    path: str | Path,
    session: Session | DatabaseSettings,
    *,
    handlers: Mapping[str, Any] | None = None,
) -> ReplayedOrder:
    """Place the order of the file and run its messages, each in committed transactions, until none is left.

    ``session`` is on a database of the test's own with the shop's tables. ``handlers`` takes the place of the
    shop's handlers by message type: a function with @handler, or an instance of an external handler.
    Raises BadInput for another file, OrderConflict if the order is there with other content, and as
    ``run_handler``.
    """
    if isinstance(session, DatabaseSettings):
        with closing(Session(session, name="replay")) as opened:
            return replay(path, opened, handlers=handlers)
    order, document = read_export(Path(path).read_text(encoding="utf-8"))
    texts: list[str] = []
    known = {**_handlers(document, texts), **(handlers or {})}
    with session.transaction() as tx:
        load_stock(_stock(order, document).items(), tx)
        place_order(order, tx)
    failure = _run(order.order_id, session, known)
    with session.transaction() as tx:
        [(status,)] = tx.fetch_all(_END, (order.order_id,))
        events = [type_ for (type_,) in tx.fetch_all(_EVENTS, (order.order_id,))]
    recorded = [each["type"] for each in document["events"]]
    return ReplayedOrder(order.order_id, status, events, document["status"], recorded, failure, texts)


def _run(order_id: str, session: Session, handlers: Mapping[str, Any]) -> ReplayFailure | None:
    for _ in range(_MOST):
        with session.transaction() as tx:
            taken = tx.fetch_one(_TAKE, (order_id,))
        if taken is None:
            return None
        type_, body = taken
        handler = handlers[type_]
        marked = handler_of(type(handler)) or handler_of(handler)
        assert marked is not None, f"{handler!r} handles nothing"  # a test reads it
        ran = run_handler(handler, decode(bytes(body), marked.message), session=session, commit=True)
        [outcome] = ran.outcomes
        if outcome != DONE:
            return ReplayFailure(type_, outcome, ran.errors[0] if ran.errors else None)
    raise AssertionError(f"order {order_id} sent more than {_MOST} messages")


def _stock(order: Order, document: Mapping[str, Any]) -> dict[str, int]:
    """Return the units of each product: none of those for want of which the order was rejected."""
    rejected = [each for each in document["events"] if each["type"] == EventType.STOCK_REJECTED]
    short = {product for each in rejected for product in each["data"].get("products", ())}
    return {product: 0 if product in short else units for product, units in order.quantities().items()}


def _handlers(document: Mapping[str, Any], texts: list[str]) -> dict[str, Any]:
    payments = RecordedPayments(document["events"])
    taken = TakenTexts(texts)
    found = [
        reserve_stock, release_stock, create_shipment, award_points, adjust_points,
        CapturePaymentHandler(payments, settles_s=0.0),
        RefundPaymentHandler(payments, settles_s=0.0),
        SendNotificationHandler(taken),
        SendEmailHandler(TakenEmails(texts), EmailTemplates.read("")),
        AlertOperatorHandler(taken, "", every_s=0.0),
    ]  # fmt: skip
    named = [(handler_of(type(each)) or handler_of(each), each) for each in found]
    return {marked.type: each for marked, each in named if marked is not None}


class RecordedPayments(PaymentGateway):
    """A payment service that captures or declines as events say, one answer for each capture."""

    can_list = False

    def __init__(self, events: Sequence[Mapping[str, Any]]) -> None:
        declines = (EventType.PAYMENT_DECLINED, EventType.CARD_DECLINED)
        ends = [each for each in events if each["type"] in (*declines, EventType.PAYMENT_CAPTURED)]
        self._answers = [
            Declined(each["data"].get("reason", "declined")) if each["type"] in declines else None
            for each in ends
        ]

    @classmethod
    def from_config(cls, config: Loaded) -> Self:
        raise NotImplementedError("it is made for one order")

    def capture(self, capture: Capture, *, timeout_s: float | None = None) -> Captured | Declined:
        answer = self._answers.pop(0) if self._answers else None
        return answer or Captured(f"cap:{capture.key}")

    def find(self, capture: Capture, *, timeout_s: float | None = None) -> None:
        return None

    def refund(self, refund: Refund, *, timeout_s: float | None = None) -> Refunded:
        return Refunded(f"re:{refund.key}")

    def find_refund(self, refund: Refund, *, timeout_s: float | None = None) -> None:
        return None

    def ledger(self) -> Iterator[list[LedgerEntry]]:
        return iter(())


class TakenTexts(TextGateway):
    """A text service that takes each text, and writes down its reference."""

    can_list = False

    def __init__(self, taken: list[str]) -> None:
        self._taken = taken

    @classmethod
    def from_config(cls, config: Loaded) -> Self:
        raise NotImplementedError("it is made for one order")

    def send(self, to: str, text: str, *, reference: str, timeout_s: float | None = None) -> str:
        self._taken.append(reference)
        return f"text-{len(self._taken)}"

    def sent(self) -> Iterator[list[str]]:
        return iter(())


class TakenEmails(EmailGateway):
    """The same for e-mails."""

    def __init__(self, taken: list[str]) -> None:
        self._taken = taken

    @classmethod
    def from_config(cls, config: Loaded) -> Self:
        raise NotImplementedError("it is made for one order")

    def send(self, email: Email, *, timeout_s: float | None = None) -> str:
        self._taken.append(email.reference)
        return f"email-{len(self._taken)}"

    def sent(self) -> Iterator[list[str]]:
        return iter(())
