"""How much stock a file of orders asks for, and stock that leaves some of it unmet. Pure."""

from collections import Counter
from collections.abc import Iterable, Mapping
from math import ceil, floor

from ordermq.shop.intake.record import Entry
from ordermq.shop.model import Order


def demand_of(orders: Iterable[Order | Entry]) -> Counter[str]:
    """Return units by product. Memory grows with the products, not with the orders."""
    units: Counter[str] = Counter()
    for each in orders:
        units.update((each.order if isinstance(each, Entry) else each).quantities())
    return units


def stock_for(demand: Mapping[str, int], *, cover: float) -> list[tuple[str, int]]:
    """Return (product_id, units) rows, sorted: all that is asked for, but of the best sellers a part.

    The best-selling hundredth of the products, at least one, gets ``cover`` (0 to 1) of
    its demand. The others get theirs in full: a product sold once would otherwise be
    out of stock whatever ``cover`` says.
    """
    hot = sorted(demand, key=lambda product: (-demand[product], product))[: ceil(len(demand) / 100)]
    scarce = {product: floor(demand[product] * cover) for product in hot}
    return [(product, scarce.get(product, demand[product])) for product in sorted(demand)]
