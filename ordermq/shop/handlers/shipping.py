"""Queue ``shipping``: create an order's shipment, and book its stock as shipped."""

from collections.abc import Sequence
from functools import partial

from ordermq.shop import reservations
from ordermq.shop.commands import SHIPPING, CreateShipment
from ordermq.shop.events import EventType, Step
from ordermq.shop.handlers.batch import BATCH, StepBatch, give_up
from ordermq.shop.reservations import ReservationEnd
from ordermq.shop.saga import CANCELLED, Status
from ordermq.task import Outcome, Transaction, handler

_CREATE = "INSERT INTO shop.shipments (order_id) VALUES %s RETURNING order_id, shipment_number"


@handler(
    queue=SHIPPING, message=CreateShipment, key="order_id", batch=BATCH, on_dead=partial(give_up, Step.SHIP)
)
def create_shipment(messages: Sequence[CreateShipment], tx: Transaction) -> Sequence[Outcome]:
    """Create each order's one shipment. An order that was cancelled gets none."""
    batch = StepBatch(messages, Step.SHIP, tx)
    paid = [each for each in batch.ready if batch.order(each).state.status is Status.PAID]
    reservations.end(paid, ReservationEnd.SHIPPED, tx)
    for order_id, number in tx.fetch_values(_CREATE, [(order_id,) for order_id in paid]):
        batch.record(order_id, EventType.SHIPMENT_CREATED, shipment_number=number)
    for order_id in batch.ready:
        if batch.order(order_id).state.status in CANCELLED:
            batch.record(order_id, EventType.SHIPMENT_SKIPPED)
    return batch.write()
