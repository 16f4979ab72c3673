"""What customers read. Pure; one SMS of 160 characters each, without anything personal."""

from ordermq.orders.commands import Template

_TEXTS = {
    Template.ORDER_CONFIRMED: "Thank you. Your order {order_id} of {amount} is paid and on its way.",
    Template.ORDER_CANCELLED: "Your order {order_id} was cancelled. Anything we charged is paid back.",
    Template.ORDER_REFUNDED: "We have paid back {amount} for your order {order_id}.",
}

# ISO 4217 currencies whose minor unit is not a hundredth.
_DECIMALS = {
    **dict.fromkeys(
        (
            "BIF",
            "CLP",
            "DJF",
            "GNF",
            "ISK",
            "JPY",
            "KMF",
            "KRW",
            "PYG",
            "RWF",
            "UGX",
            "VND",
            "VUV",
            "XAF",
            "XOF",
            "XPF",
        ),
        0,
    ),
    **dict.fromkeys(("BHD", "IQD", "JOD", "KWD", "LYD", "OMR", "TND"), 3),
}


def render(template: Template, *, order_id: str, amount_minor: int, currency: str) -> str:
    """Return the text of a notification."""
    return _TEXTS[template].format(order_id=order_id, amount=money(amount_minor, currency))


def money(amount_minor: int, currency: str) -> str:
    """Return an amount as people write it: ``1234, "EUR"`` is ``12.34 EUR``. Never negative."""
    decimals = _DECIMALS.get(currency, 2)
    if decimals == 0:
        return f"{amount_minor} {currency}"
    whole, part = divmod(amount_minor, 10**decimals)
    return f"{whole}.{part:0{decimals}d} {currency}"
