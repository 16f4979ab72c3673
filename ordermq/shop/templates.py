"""The texts that customers and operators get: one SMS of 160 characters each, nothing personal. Pure."""

from ordermq.shop.commands import Template
from ordermq.shop.money import written

_TEXTS = {
    Template.ORDER_CONFIRMED: "Thank you. Your order {order_id} of {amount} is paid and on its way.",
    Template.ORDER_CANCELLED: "Your order {order_id} was cancelled. Anything we charged is paid back.",
    Template.ORDER_REFUNDED: "We have paid back {amount} for your order {order_id}.",
    Template.PAYMENT_DUE: "Your card was declined. Please pay {amount} for {order_id} with another card.",
}


def render_alert(*, order_id: str, event: str, others: int = 0) -> str:
    """Return the text for the operator: what to look at, and nothing about the customer."""
    if others:
        more = f"{others} more {'do' if others > 1 else 'does'}"
        return f"Order {order_id} needs a person: {event}; {more}. Type: ordermq order list --attention"[:160]
    return f"Order {order_id} needs a person: {event}. Type: ordermq order show {order_id}"[:160]


def render(template: Template, *, order_id: str, amount_minor: int, currency: str) -> str:
    """Return the text of a notification for the customer."""
    return _TEXTS[template].format(order_id=order_id, amount=f"{written(amount_minor, currency)} {currency}")
