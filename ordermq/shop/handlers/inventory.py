"""Queue ``inventory``: reserve an order's stock, and release it.

A batch is decided in memory, order by order, and written with a few statements. An order
can get only what the orders before it in the batch have left.
"""

from collections.abc import Mapping, Sequence
from functools import partial

from ordermq.shop import reservations
from ordermq.shop.commands import INVENTORY, ReleaseStock, ReserveStock
from ordermq.shop.events import EventType, Step
from ordermq.shop.handlers.batch import BATCH, StepBatch, give_up
from ordermq.shop.reservations import ReservationEnd
from ordermq.shop.saga import Status
from ordermq.shop.stock import allocate, lock_stock
from ordermq.task import Outcome, Transaction, handler


@handler(
    queue=INVENTORY, message=ReserveStock, key="order_id", batch=BATCH, on_dead=partial(give_up, Step.RESERVE)
)
def reserve_stock(messages: Sequence[ReserveStock], tx: Transaction) -> Sequence[Outcome]:
    """Reserve all items of each order or none. An order that was cancelled gets nothing."""
    batch = StepBatch(messages, Step.RESERVE, tx)
    placed = [each for each in batch.ready if batch.order(each).state.status is Status.PLACED]
    wanted = reservations.wanted(placed, tx)
    on_hand = lock_stock((product for quantities in wanted.values() for product in quantities), tx)
    granted: dict[str, Mapping[str, int]] = {}
    for order_id in batch.ready:
        if order_id not in wanted:
            batch.record(order_id, EventType.STOCK_REJECTED, reason="cancelled")
        elif short := allocate(wanted[order_id], on_hand):
            batch.record(order_id, EventType.STOCK_REJECTED, reason="out_of_stock", products=short)
        else:
            granted[order_id] = wanted[order_id]
            batch.record(order_id, EventType.STOCK_RESERVED)
    reservations.reserve(granted, tx)
    return batch.write()


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
