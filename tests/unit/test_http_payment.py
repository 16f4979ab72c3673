"""Whatever a payment service answers, only an answer about this money is believed."""

import json
from types import SimpleNamespace

import pytest

from ordermq.errors import GatewayRefused, OutcomeUnknown
from ordermq.shop.gateways import Capture, Captured, Declined, Pending, Refund, Refunded
from ordermq.shop.gateways.http import Answer
from ordermq.shop.gateways.http_payment import HttpPaymentGateway
from ordermq.shop.points import earned
from ordermq.shop.saga import Status

CAPTURE = Capture("capture:shop:o-1", "o-1", 2598, "EUR", "tok_0001")
REFUND = Refund("refund:capture:shop:o-1", "cap-1", 2598, "EUR")
OF_CAPTURE = {
    "capture_id": "cap-1", "order_id": "o-1", "amount_minor": 2598, "currency": "EUR", "status": "captured",
}  # fmt: skip
OF_REFUND = {
    "refund_id": "ref-1", "capture_id": "cap-1", "amount_minor": 2598, "currency": "EUR",
    "status": "refunded",
}  # fmt: skip

CAPTURES = [
    (lambda gateway: gateway.capture(CAPTURE), 201, OF_CAPTURE),
    (lambda gateway: gateway.find(CAPTURE), 200, OF_CAPTURE),
]
REFUNDS = [
    (lambda gateway: gateway.refund(REFUND), 201, OF_REFUND),
    (lambda gateway: gateway.find_refund(REFUND), 200, OF_REFUND),
]
ASKED = [*CAPTURES, *REFUNDS]
NAMES = ["capture", "find", "refund", "find_refund"]


def answered(ask, status, body):
    """Return what the gateway makes of an answer."""
    answer = Answer(status, json.dumps(body).encode(), None)
    client = SimpleNamespace(post=lambda *_, **__: answer, get=lambda *_, **__: answer)
    return ask(HttpPaymentGateway(client))


@pytest.mark.parametrize(("ask", "status", "body"), ASKED, ids=NAMES)
def test_an_answer_about_this_money_is_believed(ask, status, body):
    assert isinstance(answered(ask, status, body), Captured | Refunded)


@pytest.mark.parametrize(("ask", "status", "body"), ASKED, ids=NAMES)
@pytest.mark.parametrize(
    "other",
    [{"amount_minor": 2597}, {"amount_minor": "2598"}, {"amount_minor": True}, {"amount_minor": 2598.5},
     {"currency": "USD"}, {"currency": "eur"}],
    ids=str,
)  # fmt: skip
def test_an_answer_about_other_money_is_refused_and_named(ask, status, body, other):
    with pytest.raises(GatewayRefused, match=f"{next(iter(other))} .* instead of"):
        answered(ask, status, body | other)


@pytest.mark.parametrize(("ask", "status", "body"), CAPTURES, ids=NAMES[:2])
def test_a_capture_of_another_order_is_refused(ask, status, body):
    with pytest.raises(GatewayRefused, match="order_id 'o-2' instead of 'o-1'"):
        answered(ask, status, body | {"order_id": "o-2"})


@pytest.mark.parametrize(("ask", "status", "body"), REFUNDS, ids=NAMES[2:])
def test_a_refund_of_another_capture_is_refused(ask, status, body):
    with pytest.raises(GatewayRefused, match="capture_id 'cap-2' instead of 'cap-1'"):
        answered(ask, status, body | {"capture_id": "cap-2"})


@pytest.mark.parametrize(("ask", "status", "body"), ASKED, ids=NAMES)
@pytest.mark.parametrize("said", ["pending", "processing", "authorized"])
def test_what_is_not_over_is_asked_for_again(ask, status, body, said):
    assert answered(ask, status, body | {"status": said}) == Pending(said)


@pytest.mark.parametrize(("ask", "status", "body"), CAPTURES, ids=NAMES[:2])
def test_a_decline_is_no_capture(ask, status, body):
    assert answered(ask, status, body | {"status": "declined", "reason": "no funds"}) == Declined("no funds")


@pytest.mark.parametrize(("ask", "status", "body"), ASKED, ids=NAMES)
@pytest.mark.parametrize("missing", ["amount_minor", "currency", "status"])
def test_an_answer_that_does_not_say_which_money_was_moved_is_unknown(ask, status, body, missing):
    with pytest.raises(OutcomeUnknown, match=missing):
        answered(ask, status, {name: value for name, value in body.items() if name != missing})


@pytest.mark.parametrize(
    ("currency", "total_minor", "points"),
    [("EUR", 5000, 50), ("EUR", 1299, 12), ("JPY", 5000, 5000), ("JPY", 1200, 1200), ("KWD", 12_000, 12),
     ("KWD", 12_999, 12), ("ISK", 700, 700), ("HUF", 700, 7)],
)  # fmt: skip
def test_points_are_whole_units_of_every_currency(currency, total_minor, points):
    order = SimpleNamespace(
        state=SimpleNamespace(status=Status.PAID),
        currency=currency,
        total_minor=total_minor,
        refunded_minor=0,
    )
    assert earned(order) == points
