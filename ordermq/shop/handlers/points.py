"""Queue ``points``: a customer earns a point for each whole unit of the currency that the shop keeps.

The points are rows of shop.points, and nothing else unless ``shop.points_gateway`` names a class.
Then a points service books them first (``points_service``), and the row says that it did.
"""

from collections.abc import Iterable, Sequence
from functools import partial
from typing import Any

from ordermq.shop.commands import POINTS, AdjustPoints, AwardPoints
from ordermq.shop.events import EventType, Step
from ordermq.shop.handlers.batch import BATCH, StepBatch, give_up
from ordermq.shop.handlers.points_service import AdjustPointsHandler, AwardPointsHandler
from ordermq.shop.points import earned
from ordermq.shop.saga import CANCELLED
from ordermq.shop.settings import SECTION, ShopSettings
from ordermq.task import Outcome, Transaction, handler

_AWARD = """
    INSERT INTO shop.points (order_id, customer_id, points) VALUES %s
    ON CONFLICT (order_id) DO NOTHING RETURNING order_id, points
"""

_ADJUST = """
    UPDATE shop.points AS p SET points = v.points FROM (VALUES %s) AS v (order_id, points)
     WHERE p.order_id = v.order_id
"""


def choose(config: Any) -> Iterable[Any]:
    """Return the handlers of this queue: ours, or the one that calls ``shop.points_gateway``."""
    settings: ShopSettings = config.section(SECTION)
    if settings.points_gateway:
        return [AwardPointsHandler, AdjustPointsHandler]
    return [award_points, adjust_points]


@handler(
    queue=POINTS, message=AwardPoints, key="order_id", batch=BATCH, on_dead=partial(give_up, Step.AWARD),
    untyped=True,
)  # fmt: skip
def award_points(messages: Sequence[AwardPoints], tx: Transaction) -> Sequence[Outcome]:
    """Credit each paid order once. A replayed dead letter may credit it after the order was completed."""
    batch = StepBatch(messages, Step.AWARD, tx, late=EventType.POINTS_AWARDED)
    rows = []
    for order_id in batch.ready:
        if batch.order(order_id).state.status in CANCELLED:
            batch.record(order_id, EventType.POINTS_SKIPPED)
        else:
            order = batch.order(order_id)
            rows.append((order_id, order.customer_id, earned(order)))
    for order_id, points in tx.fetch_values(_AWARD, rows):
        batch.record(order_id, EventType.POINTS_AWARDED, points=points)
    return batch.write()


@handler(
    queue=POINTS, message=AdjustPoints, key="order_id", batch=BATCH,
    on_dead=partial(give_up, Step.ADJUST_POINTS),
)  # fmt: skip
def adjust_points(messages: Sequence[AdjustPoints], tx: Transaction) -> Sequence[Outcome]:
    """Leave each customer the points of the money that has stayed. An order without points gets none."""
    batch = StepBatch(messages, Step.ADJUST_POINTS, tx)
    points = {order_id: earned(batch.order(order_id)) for order_id in batch.ready}
    tx.write_values(_ADJUST, list(points.items()))
    for order_id in batch.ready:
        batch.record(order_id, EventType.POINTS_ADJUSTED, points=points[order_id])
    return batch.write()
