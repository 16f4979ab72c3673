"""Holding orders back: what waits for them waits on, until a person releases them."""

from collections.abc import Sequence
from dataclasses import dataclass

from ordermq.errors import OrderMQError, OrderNotFound
from ordermq.store import StoreTransaction, actions, holds
from ordermq.store.holds import Hold

_HAVE_MORE_TO_DO = """
    SELECT order_id, is_under_way OR pending <> '{}' FROM shop.orders WHERE order_id = ANY(%s)
"""


@dataclass(frozen=True, slots=True)
class Held:
    """What became of an order: ``is_changed`` if it was held or released now.

    ``hold`` is the one that it has, or that has ended; None if it is not held. ``refused`` is why nothing
    can be done.
    """

    order_id: str
    hold: Hold | None = None
    is_changed: bool = False
    refused: OrderMQError | None = None


def hold_orders(
    order_ids: Sequence[str], tx: StoreTransaction, *, by: str, reason: str, also_ended: bool
) -> list[Held]:
    """Hold orders back in the caller's transaction; return an answer for each.

    One that is held already stays as it is. ``also_ended``: also those that have nothing more to do now.
    """
    known: dict[str, bool] = dict(tx.fetch_all(_HAVE_MORE_TO_DO, (list(order_ids),)))
    wanted = [each for each in order_ids if each in known and (also_ended or known[each])]
    made = holds.hold(tx, wanted, by=by, reason=reason)
    before = holds.held_among(tx, [each for each in order_ids if each not in made])
    actions.record(tx, by, "order.hold", [f"order {each}" for each in made], reason)
    return [
        Held(each, made.get(each, before.get(each)), each in made, _refused(each, known))
        for each in order_ids
    ]  # fmt: skip


def release_orders(order_ids: Sequence[str], tx: StoreTransaction, *, by: str, reason: str) -> list[Held]:
    """Let orders go on, in the caller's transaction; return an answer for each."""
    known: dict[str, bool] = dict(tx.fetch_all(_HAVE_MORE_TO_DO, (list(order_ids),)))
    ended = holds.release(tx, list(known), by=by, reason=reason)
    actions.record(tx, by, "order.release", [f"order {each}" for each in ended], reason)
    return [Held(each, ended.get(each), each in ended, _refused(each, known)) for each in order_ids]


def _refused(order_id: str, known: dict[str, bool]) -> OrderMQError | None:
    return None if order_id in known else OrderNotFound(f"no order {order_id[:80]!r}")
