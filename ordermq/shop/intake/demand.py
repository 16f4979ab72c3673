"""The stock that orders ask for, and a stock that does not cover all of it. Pure."""

from collections import Counter
from collections.abc import Iterable, Mapping
from math import ceil, floor

from ordermq.shop.intake.record import Entry
from ordermq.shop.model import Order


def demand_of(orders: Iterable[Order | Entry]) -> Counter[str]:
    """Return the units of each product. Memory grows with the products, not with the orders."""
    units: Counter[str] = Counter()
    for each in orders:
        units.update((each.order if isinstance(each, Entry) else each).quantities())
    return units


def stock_for(demand: Mapping[str, int], *, cover: float) -> list[tuple[str, int]]:
    """Return sorted (product_id, units) rows that cover the demand, but for the best sellers only a part.

    The best-selling hundredth of the products, at least one product, gets ``cover`` (0 to
    1) of its demand. The others get all of it: with a part of one unit a product that is
    sold once would always be out of stock.
    """
    hot = sorted(demand, key=lambda product: (-demand[product], product))[: ceil(len(demand) / 100)]
    scarce = {product: floor(demand[product] * cover) for product in hot}
    return [(product, scarce.get(product, demand[product])) for product in sorted(demand)]
