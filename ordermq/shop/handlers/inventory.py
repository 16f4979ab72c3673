"""Queue ``inventory``: reserve an order's stock, and release it.

A batch is decided in memory, order by order, and written with a few statements. An order
can get only what the orders before it in the batch have left.
"""

from collections.abc import Mapping, Sequence
from functools import partial

from ordermq.config import Loaded
from ordermq.shop import reservations
from ordermq.shop.commands import INVENTORY, ReleaseStock, ReserveStock
from ordermq.shop.events import EventType, Step
from ordermq.shop.handlers.batch import BATCH, StepBatch, give_up
from ordermq.shop.history import UNKNOWN_PRODUCT
from ordermq.shop.reservations import ReservationEnd
from ordermq.shop.saga import Status
from ordermq.shop.settings import REJECT, SECTION, ShopSettings
from ordermq.shop.stock import allocate
from ordermq.task import Outcome, Transaction, handler

# What came before the order was reopened does not count.
_ASKED = """
    SELECT DISTINCT order_id FROM shop.order_events AS e
     WHERE order_id = ANY(%s) AND type = 'stock_unknown'
       AND NOT EXISTS (SELECT FROM shop.order_events AS later
                        WHERE later.order_id = e.order_id AND later.version > e.version
                          AND later.type = 'order_reopened')
"""


@handler(
    queue=INVENTORY, message=ReserveStock, key="order_id", batch=BATCH, on_dead=partial(give_up, Step.RESERVE)
)
def reserve_stock(
    messages: Sequence[ReserveStock], tx: Transaction, *, config: Loaded | None = None
) -> Sequence[Outcome]:
    """Reserve all items of each order or none. An order that was cancelled gets nothing."""
    batch = StepBatch(messages, Step.RESERVE, tx)
    placed = [each for each in batch.ready if batch.order(each).state.status is Status.PLACED]
    wanted, on_hand = reservations.wanted_stock(placed, tx)
    granted: dict[str, Mapping[str, int]] = {}
    unknown: dict[str, list[str]] = {}
    for order_id in batch.ready:
        if order_id not in wanted:
            batch.record(order_id, EventType.STOCK_REJECTED, reason="cancelled")
        elif never_loaded := sorted(wanted[order_id].keys() - on_hand.keys()):
            unknown[order_id] = never_loaded
        elif short := allocate(wanted[order_id], on_hand):
            batch.record(order_id, EventType.STOCK_REJECTED, reason="out_of_stock", products=short)
        else:
            granted[order_id] = wanted[order_id]
            batch.record(order_id, EventType.STOCK_RESERVED)
    if unknown:
        _wait_or_reject(unknown, batch, tx, config)
    reservations.reserve(granted, tx)
    return batch.write()


def _wait_or_reject(
    unknown: Mapping[str, list[str]], batch: StepBatch, tx: Transaction, config: Loaded | None
) -> None:
    """Have orders wait for products that were never loaded, or reject them. A person is asked once."""
    settings: ShopSettings = config.section(SECTION) if config else ShopSettings()
    asked = {row[0] for row in tx.fetch_all(_ASKED, (list(unknown),))}
    for order_id, products in unknown.items():
        named = ", ".join(products)
        if settings.unknown_product == REJECT:
            batch.record(order_id, EventType.STOCK_REJECTED, reason=UNKNOWN_PRODUCT, products=products)
        elif order_id in asked:
            batch.postpone(order_id, f"no stock was ever loaded of {named}")
        else:
            why = f"no stock was ever loaded of {named}: load it, and the order goes on"
            batch.record(order_id, EventType.STOCK_UNKNOWN, attention=why, products=products)


@handler(
    queue=INVENTORY, message=ReleaseStock, key="order_id", batch=BATCH, on_dead=partial(give_up, Step.RELEASE)
)
def release_stock(messages: Sequence[ReleaseStock], tx: Transaction) -> Sequence[Outcome]:
    """Release what is still reserved for each order."""
    batch = StepBatch(messages, Step.RELEASE, tx)
    reservations.end(batch.ready, ReservationEnd.RELEASED, tx)
    for order_id in batch.ready:
        batch.record(order_id, EventType.STOCK_RELEASED)
    return batch.write()
