"""The Order of a shop's export: who pays it, by which card, and how its customer is reached. Pure.

No export holds a card. An order that is to be charged gets the card token that the mapping
names; without one, a token that says so (``shopify:1001:no-card``), which the payment service
has to know or to refuse. An order that is paid gets the reference of its payment, or a
reference that names the order (``shopify:1001``), so that a refund shows which one is meant.
"""

import unicodedata
from collections.abc import Callable, Iterable
from datetime import datetime

from ordermq.errors import BadInput
from ordermq.shop.adjustment import Adjustment
from ordermq.shop.intake.identify import token_of
from ordermq.shop.intake.mapping import ReadOptions
from ordermq.shop.model import Contact, Item, Order, PaidBefore

_LONGEST_NAME = 200


def order_of(
    options: ReadOptions,
    *,
    shop: str,
    order_id: str,
    customer_id: str,
    currency: str,
    items: tuple[Item, ...],
    adjustments: tuple[Adjustment, ...],
    total_minor: int,
    contact: Contact,
    placed_at: datetime | None,
    is_paid: bool,
    references: Iterable[str],
    value_of: Callable[[str], str],
) -> Order:
    """Return the order. ``value_of`` returns the value of a column or field that the mapping names.

    ``references`` are what may name the payment of a paid order; the first that can is taken.
    """
    mapping = options.mapping
    card_token = payment = None
    if is_paid and total_minor:
        if mapping.payment_reference_from:
            references = [value_of(mapping.payment_reference_from), *references]
        named = (token_of(each) for each in references)
        payment = PaidBefore(reference=next(filter(None, named), f"{shop}:{order_id}"))
    elif total_minor:
        found = token_of(value_of(mapping.card_token_from)) if mapping.card_token_from else None
        card_token = found or mapping.card_token or f"{shop}:{order_id}:no-card"
    return Order(
        order_id=order_id,
        customer_id=customer_id,
        currency=currency,
        items=items,
        total_minor=total_minor,
        card_token=card_token,
        contact=contact,
        placed_at=placed_at,
        adjustments=adjustments,
        payment=payment,
        notify=mapping.notify,
    )


def contact_of(phone: str, email: str, name: str) -> Contact:
    """Return the contact. What is no address costs the message, and not the order."""
    printable = "".join(" " if unicodedata.category(each)[0] == "C" else each for each in name)
    known = Contact(phone=phone or None, name=" ".join(printable.split())[:_LONGEST_NAME] or None)
    try:
        return Contact(phone=known.phone, email=email.strip() or None, name=known.name)
    except BadInput:
        return known
