"""Orders whose hash is of version 1, read back from their rows to be compared by what they mean.

Such a hash is of the fields as they were written then, so it does not recognise the same order in
another spelling. The rows do, but for two things. They do not say whether the order named the instant
at which it was placed or left it out. And a card that was replaced later is the one that they have.
"""

from collections.abc import Iterator, Sequence

from ordermq.errors import BadInput
from ordermq.shop.model import Contact, Item, Order
from ordermq.store import StoreTransaction
from ordermq.task.transaction import Row

# An order with such a hash was charged to a card and had no adjustments: there was nothing else.
_ROWS = """
    SELECT o.order_id, o.customer_id, o.currency, o.total_minor, o.placed_at,
           c.card_token, c.phone, c.email, c.name,
           (SELECT json_agg(json_build_array(i.product_id, i.quantity, i.unit_price_minor, i.freight_minor))
              FROM shop.order_items AS i WHERE i.order_id = o.order_id)
      FROM shop.orders AS o JOIN shop.contacts AS c USING (order_id)
     WHERE o.order_id = ANY(%s)
"""


def read_earlier(order_ids: Sequence[str], tx: StoreTransaction) -> dict[str, Order]:
    """Return these orders as their rows have them; without one that today's rules of an order refuse."""
    return dict(_orders(tx.fetch_all(_ROWS, (list(order_ids),))))


def _orders(rows: Sequence[Row]) -> Iterator[tuple[str, Order]]:
    for order_id, customer_id, currency, total_minor, placed_at, card, phone, email, name, items in rows:
        try:
            yield (
                order_id,
                Order(
                    order_id=order_id,
                    customer_id=customer_id,
                    currency=currency,
                    items=tuple(_item(*columns) for columns in items),
                    total_minor=total_minor,
                    card_token=card,
                    contact=Contact(phone=phone, email=email, name=name),
                    placed_at=placed_at,
                ),
            )
        except BadInput:
            continue


def _item(product_id: str, quantity: int, unit_price_minor: int, freight_minor: int) -> Item:
    return Item(
        product_id=product_id,
        quantity=quantity,
        unit_price_minor=unit_price_minor,
        freight_minor=freight_minor,
    )
