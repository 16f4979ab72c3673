"""Orders made from a seed, for demonstrations and tests. The same seed gives the same orders. Pure.

A few products sell far more than the others (Zipf). Most orders have one or two items.
The sandbox payment service declines about 2 in 100 of the cards, and does not answer the
first capture of 1 in 100, or answers it with an error. ``varied`` orders have discounts and gift
cards too, so that some are free.
"""

from collections.abc import Callable, Iterator, Mapping
from itertools import accumulate
from random import Random

import msgspec

from ordermq.shop.adjustment import Adjustment, AdjustmentKind
from ordermq.shop.intake.olist import sandbox_phone
from ordermq.shop.model import Contact, Item, Order

PRODUCTS = 500
CURRENCY = "EUR"
ZIPF_EXPONENT = 1.1

_CARDS = ("tok_gen_0001", "tok_gen_0002", "tok_gen_0003", "tok_gen_0005")
_CARDS_IN_1000 = (970, 20, 5, 5)  # approved; declined; first not answered; first answered 503
_ITEMS = (1, 2, 3, 4, 6)
_ITEMS_IN_100 = (60, 22, 10, 6, 2)
_QUANTITIES_IN_100 = (85, 11, 4)
_KINDS, _KINDS_IN_100 = ("plain", "discount", "free"), (80, 17, 3)

_POPULARITY = tuple(accumulate(1 / rank**ZIPF_EXPONENT for rank in range(1, PRODUCTS + 1)))
_encoder = msgspec.json.Encoder()


def generate(count: int, seed: int) -> Iterator[Order]:
    """Yield ``count`` orders, one at a time. A larger count begins with the same orders."""
    random = Random(seed)
    for number in range(1, count + 1):
        yield _order(f"gen-{seed}-{number:07}", random)


def varied(count: int, seed: int) -> Iterator[Order]:
    """Yield the orders of ``generate``, some of them with a discount or free."""
    random = Random(f"varied {seed}")
    for order in generate(count, seed):
        kind = random.choices(_KINDS, _KINDS_IN_100)[0]
        yield _AS[kind](order)


def _with_discount(order: Order) -> Order:
    discount = Adjustment(AdjustmentKind.DISCOUNT, -(order.total_minor // 10), "WELCOME10")
    return _adjusted(order, discount)


def _free(order: Order) -> Order:
    gift_card = Adjustment(AdjustmentKind.GIFT_CARD, -order.total_minor, "a present")
    return msgspec.structs.replace(_adjusted(order, gift_card), card_token=None)


def _adjusted(order: Order, adjustment: Adjustment) -> Order:
    total_minor = order.total_minor + adjustment.amount_minor
    return msgspec.structs.replace(order, adjustments=(adjustment,), total_minor=total_minor)


_AS: Mapping[str, Callable[[Order], Order]] = {
    "plain": lambda order: order,
    "discount": _with_discount,
    "free": _free,
}


def json_line(order: Order) -> bytes:
    """Return the order as a line of a native order file, with its line feed."""
    return _encoder.encode(order) + b"\n"


def _order(order_id: str, random: Random) -> Order:
    ranks = random.choices(
        range(PRODUCTS), cum_weights=_POPULARITY, k=random.choices(_ITEMS, _ITEMS_IN_100)[0]
    )
    quantities = random.choices((1, 2, 3), _QUANTITIES_IN_100, k=len(ranks))
    items = tuple(_item(rank, quantity) for rank, quantity in zip(ranks, quantities, strict=True))
    customer_id = f"cust-{random.randrange(100_000):05}"
    return Order(
        order_id=order_id,
        customer_id=customer_id,
        currency=CURRENCY,
        items=items,
        total_minor=sum(item.amount_minor for item in items),
        card_token=random.choices(_CARDS, _CARDS_IN_1000)[0],
        contact=Contact(phone=sandbox_phone(customer_id)),
    )


def _item(rank: int, quantity: int) -> Item:
    # A product has one price, from 1.99 to 119.99, in all orders.
    price_minor = 199 + rank * 7919 % 119 * 100
    return Item(
        product_id=f"prod-{rank + 1:04}",
        quantity=quantity,
        unit_price_minor=price_minor,
        freight_minor=0 if price_minor > 5000 else 390,
    )
