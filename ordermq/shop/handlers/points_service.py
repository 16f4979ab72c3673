"""Queue ``points`` with a points service: it books what an order earns, and what is taken back.

Each booking is written before the service is asked, with its points and its key (PTB1). A step ends when
the service has booked what the order earns by then.
"""

from abc import abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import ClassVar, Generic, Self, TypeVar

from ordermq.config import Loaded
from ordermq.errors import GatewayRefused, GatewayUnavailable
from ordermq.shop import points_bookings
from ordermq.shop.commands import POINTS, AdjustPoints, AwardPoints
from ordermq.shop.events import EventType, Step
from ordermq.shop.gateways import PointsBooking, PointsGateway
from ordermq.shop.gateways.chosen import points_gateway
from ordermq.shop.handlers.batch import (
    KEPT_IF_ARCHIVED,
    give_up,
    once_each,
    outcome_from_state,
    outcome_of_failed,
    raise_attention,
)
from ordermq.shop.journal import Journal, LockedOrder
from ordermq.shop.points import earned
from ordermq.shop.points_bookings import AWARD, CANCELLED, REFUND, BookedPoints, PointsOf
from ordermq.shop.saga import CANCELLED as IS_CANCELLED
from ordermq.shop.saga import can_happen
from ordermq.shop.settings import SECTION, ShopSettings
from ordermq.task import (
    DONE,
    Claim,
    ExternalHandler,
    Finished,
    Outcome,
    Postpone,
    Transaction,
    external,
)
from ordermq.task.retry import describe

_UNTIL_BOOKED = replace(KEPT_IF_ARCHIVED, max_age_s=30 * 86_400.0)

P = TypeVar("P", AwardPoints, AdjustPoints)


@dataclass(frozen=True, slots=True)
class PointsRequest:
    """A booking to make."""

    booked: BookedPoints
    timeout_s: float


class PointsHandler(ExternalHandler[P, PointsRequest, BookedPoints], Generic[P]):
    """Has a points service make bookings, each once by its key."""

    step: ClassVar[Step]
    late: ClassVar[EventType | None] = None

    def __init__(self, gateway: PointsGateway, *, shop: str = "shop") -> None:
        """``shop`` is a part of the keys."""
        self._gateway = gateway
        self._shop = shop

    @classmethod
    def from_config(cls, config: Loaded) -> Self:
        settings: ShopSettings = config.section(SECTION)
        return cls(points_gateway(config), shop=settings.name)

    def prepare(self, claims: Sequence[Claim[P]], tx: Transaction) -> list[PointsRequest | Outcome]:
        """Write what to book; return it. What was asked for before is asked for again as it was."""
        claimed = {claim.message.order_id: claim for claim in claims}
        journal = Journal(tx, claimed)
        found = points_bookings.read(claimed, tx)
        answers: dict[str, PointsRequest | Outcome] = {}
        new = []
        for order_id, claim in claimed.items():
            outcome = outcome_from_state(journal, order_id, self.step, self.late)
            answer = outcome or self._decide(journal.orders[order_id], found[order_id], journal)
            if isinstance(answer, BookedPoints):
                if answer != found[order_id].asked:
                    new.append(answer)
                answers[order_id] = PointsRequest(answer, claim.deadline_s)
            else:
                answers[order_id] = answer
        points_bookings.ask(new, tx)
        journal.write()
        return once_each((claim.message.order_id for claim in claims), answers)

    def call(self, request: PointsRequest) -> BookedPoints:
        """Book the points."""
        booked = request.booked
        booking = PointsBooking(booked.key(self._shop), booked.order_id, booked.customer_id, booked.points)
        self._gateway.book(booking, timeout_s=request.timeout_s)
        return booked

    def complete(self, finished: Sequence[Finished[P, BookedPoints]], tx: Transaction) -> list[Outcome]:
        """Write down what was booked."""
        journal = Journal(tx, (each.claim.message.order_id for each in finished))
        made = [each.result for each in finished if isinstance(each.result, BookedPoints)]
        points = points_bookings.end(made, tx)
        outcomes = [self._end(each, points, journal) for each in finished]
        journal.write()
        return outcomes

    def _end(self, finished: Finished[P, BookedPoints], points: dict[str, int], journal: Journal) -> Outcome:
        order_id = finished.claim.message.order_id
        match finished.result:
            case BookedPoints():
                # What was written down before is no news.
                return self._record(journal.orders[order_id], points.pop(order_id, None), journal)
            case GatewayRefused() | GatewayUnavailable() as failure:
                return outcome_of_failed(failure)
            case unknown:  # asked again under the same key
                return Postpone(describe(unknown))

    @abstractmethod
    def _decide(self, order: LockedOrder, points: PointsOf, journal: Journal) -> BookedPoints | Outcome:
        """Return what to book for the order, or the outcome of its message if that is nothing."""

    @abstractmethod
    def _record(self, order: LockedOrder, points: int | None, journal: Journal) -> Outcome:
        """Record that the order has ``points`` now; None: that was recorded before."""


@external(
    queue=POINTS, message=AwardPoints, key="order_id", on_dead=partial(give_up, Step.AWARD),
    retry=_UNTIL_BOOKED, dependency="points", untyped=True,
)  # fmt: skip
class AwardPointsHandler(PointsHandler[AwardPoints]):
    """Has a points service credit each paid order."""

    step = Step.AWARD
    late = EventType.POINTS_AWARDED

    def _decide(self, order: LockedOrder, points: PointsOf, journal: Journal) -> BookedPoints | Outcome:
        if points.asked is not None:
            return points.asked if points.asked.kind == AWARD else Postpone("another booking is under way")
        if points.points is not None:
            if Step.AWARD in order.state.pending:
                journal.record(order.order_id, EventType.POINTS_AWARDED, Step.AWARD, points=points.points)
            return DONE
        if order.state.status in IS_CANCELLED:
            journal.record(order.order_id, EventType.POINTS_SKIPPED, Step.AWARD)
            return DONE
        return BookedPoints(order.order_id, AWARD, points.numbers[AWARD], points.customer_id, earned(order))

    def _record(self, order: LockedOrder, points: int | None, journal: Journal) -> Outcome:
        if points is None:
            return DONE
        if can_happen(order.state, EventType.POINTS_AWARDED):
            journal.record(order.order_id, EventType.POINTS_AWARDED, Step.AWARD, points=points)
        elif Step.AWARD in order.state.pending:  # cancelled meanwhile: the adjustment takes them back
            journal.record(order.order_id, EventType.POINTS_SKIPPED, Step.AWARD)
        if points != earned(order) and Step.ADJUST_POINTS not in order.state.pending:
            why = f"its points service has booked {points} points, and its money is worth {earned(order)}"
            return raise_attention(journal, order.order_id, why)
        return DONE


@external(
    queue=POINTS, message=AdjustPoints, key="order_id", on_dead=partial(give_up, Step.ADJUST_POINTS),
    retry=_UNTIL_BOOKED, dependency="points",
)  # fmt: skip
class AdjustPointsHandler(PointsHandler[AdjustPoints]):
    """Has a points service take back what the money that went back had earned."""

    step = Step.ADJUST_POINTS

    def _decide(self, order: LockedOrder, points: PointsOf, journal: Journal) -> BookedPoints | Outcome:
        if points.asked is not None and points.asked.kind != AWARD:
            return points.asked
        has, wanted = points.points or 0, earned(order)
        if points.points is None or has == wanted:  # an order without points gets none
            journal.record(order.order_id, EventType.POINTS_ADJUSTED, Step.ADJUST_POINTS, points=has)
            return DONE
        kind = CANCELLED if order.state.status in IS_CANCELLED else REFUND
        return BookedPoints(order.order_id, kind, points.numbers[kind], points.customer_id, wanted - has)

    def _record(self, order: LockedOrder, points: int | None, journal: Journal) -> Outcome:
        if Step.ADJUST_POINTS not in order.state.pending:
            return DONE
        if points != earned(order):
            return Postpone("more money went back meanwhile", 0.0)
        journal.record(order.order_id, EventType.POINTS_ADJUSTED, Step.ADJUST_POINTS, points=points)
        return DONE
