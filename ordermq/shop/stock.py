"""The stock of each product: loading it, and granting it to orders.

    loaded = on_hand + reserved + shipped      always, and none is negative

Invariants
    STK1  Stock rows are always locked after the order rows, and sorted by product_id. So two
        batches that share products cannot deadlock.
    STK2  An order gets all of its items or none.
"""

import re
from collections.abc import Iterable, Mapping, MutableMapping

from ordermq.errors import BadInput
from ordermq.store.arrays import array_of
from ordermq.task import Transaction

MAX_LOADED = 2**53 - 1

_PRODUCT_ID = re.compile(r"[!-~]{1,64}")

_LOAD = """
    INSERT INTO shop.stock AS s (product_id, loaded, on_hand) VALUES %s
    ON CONFLICT (product_id) DO UPDATE
       SET loaded = excluded.loaded, on_hand = excluded.loaded - s.reserved - s.shipped
     WHERE excluded.loaded >= s.reserved + s.shipped
    RETURNING product_id
"""

_CORRECT = """
    UPDATE shop.stock SET loaded = loaded + %(by)s, on_hand = on_hand + %(by)s
     WHERE product_id = %(product_id)s AND on_hand + %(by)s BETWEEN 0 AND %(most)s
    RETURNING loaded, on_hand
"""

_ON_HAND = "SELECT on_hand FROM shop.stock WHERE product_id = %s"

_LOCK = """
    SELECT product_id, on_hand FROM shop.stock
     WHERE product_id = ANY(%s) ORDER BY product_id COLLATE "C" FOR NO KEY UPDATE
"""


def load_stock(rows: Iterable[tuple[str, int]], tx: Transaction) -> int:
    """Set how many units of each product ever came in; return how many products were set.

    ``rows`` are pairs of product_id and units. Loading the same rows twice changes nothing.
    Raises BadInput with the product's id if it is in ``rows`` twice, or if more units of
    it are reserved or shipped than would be loaded.
    """
    loaded: dict[str, int] = {}
    for product_id, quantity in rows:
        _check(product_id, quantity)
        if product_id in loaded:
            raise BadInput(f"product {product_id}: is in the rows to load twice")
        loaded[product_id] = quantity
    values = [(product_id, loaded[product_id], loaded[product_id]) for product_id in sorted(loaded)]
    done = {row[0] for row in tx.fetch_values(_LOAD, values, template="(%s, %s::bigint, %s::bigint)")}
    if refused := sorted(loaded.keys() - done):
        raise BadInput(
            f"product {refused[0]}: more than {loaded[refused[0]]} units are reserved or shipped already"
        )
    return len(done)


def correct_stock(product_id: str, by: int, tx: Transaction) -> tuple[int, int]:
    """Add ``by`` units, below 0 for a loss, to what came in and is on hand; return both as they are now.

    Raises BadInput if the product was never loaded, or if fewer units than a loss are on hand:
    what is reserved or shipped cannot be lost.
    """
    row = tx.fetch_one(_CORRECT, {"product_id": product_id, "by": by, "most": MAX_LOADED})
    if row is not None:
        return row[0], row[1]
    known = tx.fetch_one(_ON_HAND, (product_id,))
    if known is None:
        raise BadInput(f"product {product_id[:80]!r}: was never loaded; see: ordermq stock load --help")
    raise BadInput(f"product {product_id}: {known[0]} units are on hand, so it cannot be corrected by {by}")


def lock_stock(product_ids: Iterable[str], tx: Transaction) -> dict[str, int]:
    """Lock the stock rows of these products (STK1); return the units on hand of those that exist."""
    return dict(tx.fetch_all(_LOCK, (array_of(sorted(set(product_ids))),)))


def allocate(wanted: Mapping[str, int], on_hand: MutableMapping[str, int]) -> list[str]:
    """Subtract ``wanted`` from ``on_hand``, all or nothing (STK2); return the products that are short."""
    short = sorted(product for product, units in wanted.items() if on_hand.get(product, 0) < units)
    if not short:
        for product, units in wanted.items():
            on_hand[product] -= units
    return short


def _check(product_id: str, quantity: int) -> None:
    if not isinstance(product_id, str) or not _PRODUCT_ID.fullmatch(product_id):
        raise BadInput(
            f"product_id: {product_id!r:.80} is not 1 to 64 printable ASCII characters without spaces"
        )
    if not isinstance(quantity, int) or isinstance(quantity, bool) or not 0 <= quantity <= MAX_LOADED:
        raise BadInput(f"product {product_id}: {quantity!r:.40} is not a whole number from 0 to {MAX_LOADED}")
