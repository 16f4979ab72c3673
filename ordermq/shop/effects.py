"""What a step of an order does outside, if its message is handled now: money, texts, points. Pure."""

from collections.abc import Iterable
from decimal import Decimal
from typing import NamedTuple

from ordermq.shop.events import EMAIL_OF, NOTIFY, Step
from ordermq.shop.money import written
from ordermq.shop.saga import CANCELLED, State, Status
from ordermq.shop.settings import ShopSettings
from ordermq.task.forecast import Effect, Forecast

CAPTURES = Effect("captures", "will be asked for")
REFUNDS = Effect("refunds", "will be asked for")
TEXTS = Effect("texts")
EMAILS = Effect("e-mails")
BOOKINGS = Effect("points bookings")
ALERTS = Effect("texts to the operator")


def new_forecast(inside: Iterable[Effect] = ()) -> Forecast:
    """Return a forecast that names captures and texts also if there are none, and none of ``inside``."""
    return Forecast([CAPTURES, TEXTS], without=inside)


def inside_of(settings: ShopSettings) -> frozenset[Effect]:
    """Return the effects that stay inside: points without a service, alerts without a number."""
    return frozenset(
        effect
        for effect, is_outside in ((BOOKINGS, settings.points_gateway), (ALERTS, settings.alert_phone))
        if not is_outside
    )


class AtStake(NamedTuple):
    """The money of an order: its total, and what of it went back."""

    total_minor: int
    refunded_minor: int
    currency: str


def effect_of(step: Step, state: State, money: AtStake) -> Effect | None:
    """Return what ``step``, which is to be done, does outside; None for a step that stays inside.

    Of a cancelled order no capture is asked for, at most what became of one. A refund comes to the
    amount at most. What follows from the step is not counted.
    """
    if step is Step.CAPTURE:
        return (
            _money(CAPTURES, money.total_minor, money.currency) if state.status is Status.RESERVED else None
        )
    if step is Step.REFUND:
        return _money(REFUNDS, money.total_minor - money.refunded_minor, money.currency)
    if step is Step.AWARD:
        return None if state.status in CANCELLED else BOOKINGS
    if step is Step.ADJUST_POINTS:
        return BOOKINGS
    if step in NOTIFY:
        return TEXTS if step in EMAIL_OF else EMAILS
    return None


def _money(effect: Effect, amount_minor: int, currency: str) -> Effect:
    return Effect(effect.what, effect.how, Decimal(written(amount_minor, currency)), currency)
