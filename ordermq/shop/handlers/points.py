"""Queue ``points``: a customer earns a point for each whole unit of the currency of a paid order."""

from collections.abc import Sequence
from functools import partial

from ordermq.shop.commands import POINTS, AwardPoints
from ordermq.shop.events import EventType, Step
from ordermq.shop.handlers.batch import BATCH, StepBatch, give_up
from ordermq.shop.money import decimals_of
from ordermq.task import Outcome, Transaction, handler

_AWARD = """
    INSERT INTO shop.points (order_id, customer_id, points) VALUES %s
    ON CONFLICT (order_id) DO NOTHING RETURNING order_id, points
"""


@handler(queue=POINTS, message=AwardPoints, key="order_id", batch=BATCH, on_dead=partial(give_up, Step.AWARD))
def award_points(messages: Sequence[AwardPoints], tx: Transaction) -> Sequence[Outcome]:
    """Credit each paid order once. A replayed dead letter may credit it after the order was completed."""
    batch = StepBatch(messages, Step.AWARD, tx, late=EventType.POINTS_AWARDED)
    rows = []
    for order_id in batch.ready:
        order = batch.order(order_id)
        rows.append((order_id, order.customer_id, order.total_minor // 10 ** decimals_of(order.currency)))
    for order_id, points in tx.fetch_values(_AWARD, rows):
        batch.record(order_id, EventType.POINTS_AWARDED, points=points)
    return batch.write()
