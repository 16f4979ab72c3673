"""Queue ``points``: a customer earns a point for each whole unit of the currency that the shop keeps.

The points are rows of shop.points, and nothing else unless ``shop.points_gateway`` names a class.
Then a points service books them first, under a key of the order, and the row says that it did.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any, Self

from ordermq.config import Loaded
from ordermq.errors import GatewayRefused, GatewayUnavailable
from ordermq.shop.commands import POINTS, AdjustPoints, AwardPoints
from ordermq.shop.events import EventType, Step
from ordermq.shop.gateways import PointsBooking, PointsGateway
from ordermq.shop.gateways.chosen import points_gateway
from ordermq.shop.handlers.batch import (
    BATCH,
    StepBatch,
    give_up,
    once_each,
    outcome_from_state,
    outcome_of_failed,
)
from ordermq.shop.journal import Journal, LockedOrder
from ordermq.shop.money import decimals_of
from ordermq.shop.saga import CANCELLED, can_happen
from ordermq.shop.settings import SECTION, ShopSettings
from ordermq.task import (
    DONE,
    CallFailure,
    Claim,
    ExternalHandler,
    Finished,
    Outcome,
    Postpone,
    RetryOptions,
    Transaction,
    external,
    handler,
)
from ordermq.task.retry import describe

_AWARD = """
    INSERT INTO shop.points (order_id, customer_id, points) VALUES %s
    ON CONFLICT (order_id) DO NOTHING RETURNING order_id, points
"""

_ADJUST = """
    UPDATE shop.points AS p SET points = v.points FROM (VALUES %s) AS v (order_id, points)
     WHERE p.order_id = v.order_id
"""

# The points of an order that was opened again are another booking.
_PAID_AGAIN = "SELECT order_id, capture_no FROM shop.payments WHERE order_id = ANY(%s) AND capture_no > 1"

_UNTIL_BOOKED = RetryOptions(max_age_s=30 * 86_400.0)


def choose(config: Any) -> Iterable[Any]:
    """Return the handlers of this queue: ours, or the one that calls ``shop.points_gateway``."""
    settings: ShopSettings = config.section(SECTION)
    return [AwardPointsHandler if settings.points_gateway else award_points, adjust_points]


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
            rows.append(_row(batch.order(order_id)))
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


@dataclass(frozen=True, slots=True)
class PointsRequest:
    """A booking to make."""

    booking: PointsBooking
    timeout_s: float


@external(
    queue=POINTS, message=AwardPoints, key="order_id", on_dead=partial(give_up, Step.AWARD),
    retry=_UNTIL_BOOKED, dependency="points", untyped=True,
)  # fmt: skip
class AwardPointsHandler(ExternalHandler[AwardPoints, PointsRequest, PointsBooking]):
    """Has a points service credit each paid order, once, by the key of its booking."""

    def __init__(self, gateway: PointsGateway, *, shop: str = "shop") -> None:
        """``shop`` is a part of the keys."""
        self._gateway = gateway
        self._shop = shop

    @classmethod
    def from_config(cls, config: Loaded) -> Self:
        settings: ShopSettings = config.section(SECTION)
        return cls(points_gateway(config), shop=settings.name)

    def prepare(self, claims: Sequence[Claim[AwardPoints]], tx: Transaction) -> list[PointsRequest | Outcome]:
        """Return what to book. Nothing is written: a booking that is asked for twice is one booking."""
        claimed = {claim.message.order_id: claim for claim in claims}
        journal = Journal(tx, claimed)
        paid_again: dict[str, int] = dict(tx.fetch_all(_PAID_AGAIN, (list(claimed),)))
        answers = {
            order_id: outcome_from_state(journal, order_id, Step.AWARD, EventType.POINTS_AWARDED)
            or self._request(order_id, journal, paid_again.get(order_id, 1), claim.deadline_s)
            for order_id, claim in claimed.items()
        }
        journal.write()
        return once_each((claim.message.order_id for claim in claims), answers)

    def call(self, request: PointsRequest) -> PointsBooking:
        """Book the points."""
        self._gateway.book(request.booking, timeout_s=request.timeout_s)
        return request.booking

    def complete(
        self, finished: Sequence[Finished[AwardPoints, PointsBooking]], tx: Transaction
    ) -> list[Outcome]:
        """Write down what was booked."""
        journal = Journal(tx, (each.claim.message.order_id for each in finished))
        booked = [each.result for each in finished if isinstance(each.result, PointsBooking)]
        rows = [(each.order_id, each.customer_id, each.points) for each in booked]
        for order_id, points in tx.fetch_values(_AWARD, rows):
            state = journal.orders[order_id].state
            if can_happen(state, EventType.POINTS_AWARDED):
                journal.record(order_id, EventType.POINTS_AWARDED, Step.AWARD, points=points)
            elif Step.AWARD in state.pending:  # cancelled meanwhile: the adjustment takes them back
                journal.record(order_id, EventType.POINTS_SKIPPED, Step.AWARD)
        journal.write()
        return [_outcome(each.result) for each in finished]

    def _request(
        self, order_id: str, journal: Journal, capture_no: int, timeout_s: float
    ) -> PointsRequest | Outcome:
        order = journal.orders[order_id]
        if order.state.status in CANCELLED:
            journal.record(order_id, EventType.POINTS_SKIPPED, Step.AWARD)
            return DONE
        _, customer_id, points = _row(order)
        key = f"points:{self._shop}:{order_id}" + (f":capture-{capture_no}" if capture_no > 1 else "")
        return PointsRequest(PointsBooking(key, order_id, customer_id, points), timeout_s)


def _row(order: LockedOrder) -> tuple[str, str, int]:
    return order.order_id, order.customer_id, earned(order)


def earned(order: LockedOrder) -> int:
    """Return the points of an order: none if it was cancelled, fewer if a part of the money went back."""
    if order.state.status in CANCELLED:
        return 0
    unit: int = 10 ** decimals_of(order.currency)
    return (order.total_minor - order.refunded_minor) // unit


def _outcome(result: PointsBooking | CallFailure) -> Outcome:
    match result:
        case PointsBooking():
            return DONE
        case GatewayRefused() | GatewayUnavailable():
            return outcome_of_failed(result)
        case _:  # OutcomeUnknown
            return Postpone(describe(result))  # asked again under the same key
