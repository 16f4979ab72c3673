"""Queue ``payment``: the grace in which another card may be given has ended."""

from collections.abc import Sequence
from functools import partial

from ordermq.shop.commands import PAYMENT, ExpirePayment
from ordermq.shop.events import EventType, Step
from ordermq.shop.handlers.batch import BATCH, StepBatch, give_up
from ordermq.task import Outcome, Transaction, handler

_LEFT = """
    SELECT order_id, extract(epoch FROM due_until - clock_timestamp())::float FROM shop.orders
     WHERE order_id = ANY(%s) AND due_until > clock_timestamp()
"""


@handler(
    queue=PAYMENT, message=ExpirePayment, key="order_id", batch=BATCH, on_dead=partial(give_up, Step.EXPIRE)
)
def expire_payments(messages: Sequence[ExpirePayment], tx: Transaction) -> Sequence[Outcome]:
    """Cancel each order that still waits for another card.

    A message of an earlier decline may come while the order waits because of a later one: then there is
    time left, and it comes again when that has passed.
    """
    batch = StepBatch(messages, Step.EXPIRE, tx)
    left_s: dict[str, float] = dict(tx.fetch_all(_LEFT, (batch.ready,))) if batch.ready else {}
    for order_id in batch.ready:
        if order_id in left_s:
            batch.postpone(order_id, "another card may still be given", left_s[order_id])
        else:
            batch.record(order_id, EventType.PAYMENT_EXPIRED)
    return batch.write()
