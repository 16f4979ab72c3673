"""The texts that customers and operators get: one SMS of 160 characters each, nothing personal. Pure."""

from dataclasses import dataclass
from datetime import UTC, datetime

from ordermq.shop.commands import Template
from ordermq.shop.money import written

_TEXTS = {
    Template.ORDER_CONFIRMED: "Thank you. Your order {order_id} of {amount} is paid and on its way.",
    Template.ORDER_CANCELLED: "Your order {order_id} was cancelled. Anything we charged is paid back.",
    Template.ORDER_REFUNDED: "We have paid back {amount} for your order {order_id}.",
    Template.PAYMENT_DUE: "Your card was declined. Pay {amount} for order {order_id} until {due}.",
}


@dataclass(frozen=True, slots=True)
class Facts:
    """What a notification tells: the order's total, or of a refund what was paid back; by when to pay."""

    template: Template
    order_id: str
    amount_minor: int
    currency: str
    due_at: datetime | None = None

    def values(self) -> dict[str, str]:
        """Return the values by the names that stand in texts and e-mails."""
        due = f"{self.due_at.astimezone(UTC):%Y-%m-%d %H:%M} UTC" if self.due_at else ""
        amount = f"{written(self.amount_minor, self.currency)} {self.currency}"
        return {"order_id": self.order_id, "amount": amount, "due": due}


def render_alert(*, order_id: str, event: str, others: int = 0) -> str:
    """Return the text for the operator: what to look at, and nothing about the customer."""
    if others:
        more = f"{others} more {'do' if others > 1 else 'does'}"
        return f"Order {order_id} needs a person: {event}; {more}. Type: ordermq order list --attention"[:160]
    return f"Order {order_id} needs a person: {event}. Type: ordermq order show {order_id}"[:160]


def render(facts: Facts) -> str:
    """Return the text of a notification for the customer."""
    return _TEXTS[facts.template].format(**facts.values())
