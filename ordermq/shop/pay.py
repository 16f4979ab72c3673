"""Paying an order with another card after its card was declined."""

from dataclasses import dataclass
from typing import Any

from ordermq.errors import OrderConflict, OrderNotFound
from ordermq.shop.captures import has_card, replace_card
from ordermq.shop.events import EventType
from ordermq.shop.journal import Journal
from ordermq.shop.model import check_card_token
from ordermq.shop.saga import CANCELLED, Status
from ordermq.task import Transaction


@dataclass(frozen=True, slots=True)
class CardReplaced:
    """The order's status. ``is_duplicate``: this card is being charged or was charged, so nothing changed."""

    order_id: str
    status: Status
    is_duplicate: bool


def pay_order(order_id: str, card_token: str, tx: Transaction, *, by: str = "") -> CardReplaced:
    """Have an order whose card was declined paid from this card, in the caller's transaction.

    The capture is a new one, under a key of its own, so the same token may be tried again once it
    was declined. Calling twice is one capture. ``by`` is kept in the history and holds nothing personal.
    Raises OrderNotFound, BadInput for what is no token, or OrderConflict if the order does not wait
    for a card.
    """
    check_card_token(card_token)
    journal = Journal(tx, [order_id], by=by)
    order = journal.orders.get(order_id)
    if order is None:
        raise OrderNotFound(f"no order {order_id[:80]!r}")
    status = order.state.status
    if status is not Status.PAYMENT_DUE:
        if status not in CANCELLED and has_card(order_id, card_token, tx):
            return CardReplaced(order_id, status, is_duplicate=True)
        raise OrderConflict(_not_due(order_id, status))
    capture_no = replace_card(order_id, card_token, tx)
    data: dict[str, Any] = {"capture_no": capture_no} | ({"by": by} if by else {})
    journal.record(order_id, EventType.CARD_REPLACED, **data)
    journal.write()
    return CardReplaced(order_id, order.state.status, is_duplicate=False)


def _not_due(order_id: str, status: Status) -> str:
    if status in CANCELLED:
        return f"order {order_id} is {status}; 'ordermq order reopen' opens it again with another card"
    if status in (Status.PLACED, Status.RESERVED):
        return f"order {order_id} is {status}: its own card was not declined so far"
    return f"order {order_id} is {status}: it is paid"
