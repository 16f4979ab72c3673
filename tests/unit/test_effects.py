"""What a step does outside, and which of it stays inside in a shop."""

import pytest

from ordermq.shop import ShopSettings
from ordermq.shop.effects import (
    ALERTS,
    BOOKINGS,
    EMAILS,
    REFUNDS,
    TEXTS,
    AtStake,
    effect_of,
    inside_of,
    new_forecast,
)
from ordermq.shop.events import EMAIL_OF, NOTIFY, Step
from ordermq.shop.saga import State, Status

MONEY = AtStake(1250, 250, "EUR")


@pytest.mark.parametrize("step", Step)
def test_each_step_that_leaves_the_shop_has_an_effect(step):
    effect = effect_of(step, State(Status.PAID), MONEY)
    if step in NOTIFY:
        assert effect is (TEXTS if step in EMAIL_OF else EMAILS)
    elif step in (Step.AWARD, Step.ADJUST_POINTS):
        assert effect is BOOKINGS
    elif step is Step.REFUND:
        assert (effect.what, str(effect.amount)) == (REFUNDS.what, "10.00")
    else:
        assert effect is None


def test_of_a_cancelled_order_no_points_are_booked_and_no_capture_is_asked_for():
    for step in (Step.AWARD, Step.CAPTURE):
        assert effect_of(step, State(Status.CANCELLED), MONEY) is None


def test_points_and_alerts_are_named_only_where_they_leave_the_shop():
    outside = ShopSettings(points_gateway="loyalty:Gateway", alert_phone="+49301")
    assert inside_of(outside) == frozenset()
    assert inside_of(ShopSettings()) == {BOOKINGS, ALERTS}
    forecast = new_forecast(inside_of(ShopSettings()))
    forecast.add([BOOKINGS, ALERTS, TEXTS, None])
    assert forecast.parts == ["0 captures will be asked for", "1 texts"]
    forecast = new_forecast(inside_of(outside))
    forecast.add([BOOKINGS, ALERTS, BOOKINGS])
    assert forecast.parts[2:] == ["2 points bookings", "1 texts to the operator"]
