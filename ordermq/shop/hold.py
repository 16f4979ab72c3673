"""Holding one order back: what waits for it waits on, until a person releases it."""

from ordermq.errors import OrderNotFound
from ordermq.store import StoreTransaction, actions, holds
from ordermq.store.holds import Hold

_EXISTS = "SELECT FROM shop.orders WHERE order_id = %s"


def hold_order(order_id: str, tx: StoreTransaction, *, by: str, reason: str) -> tuple[Hold | None, bool]:
    """Hold an order back; return its hold, and whether it is new. Raises OrderNotFound."""
    if tx.fetch_one(_EXISTS, (order_id,)) is None:
        raise OrderNotFound(f"no order {order_id[:80]!r}")
    made = holds.hold(tx, order_id, by=by, reason=reason)
    if made is not None:
        actions.record(tx, by, "order.hold", [f"order {order_id}"], reason)
        return made, True
    return holds.held_among(tx, [order_id]).get(order_id), False


def release_order(order_id: str, tx: StoreTransaction, *, by: str, reason: str) -> Hold | None:
    """Let an order go on; return the hold that ended, None if it was not held. Raises OrderNotFound."""
    if tx.fetch_one(_EXISTS, (order_id,)) is None:
        raise OrderNotFound(f"no order {order_id[:80]!r}")
    ended = holds.release(tx, order_id, by=by, reason=reason)
    if ended is not None:
        actions.record(tx, by, "order.release", [f"order {order_id}"], reason)
    return ended
