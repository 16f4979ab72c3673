"""The small pure parts: allocation, templates, stored events, settings."""

import json
from dataclasses import replace
from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ordermq.cli.program import registry_of
from ordermq.config import load
from ordermq.errors import ConfigError
from ordermq.shop import ShopSettings
from ordermq.shop import module as shop
from ordermq.shop.commands import Template
from ordermq.shop.events import Event, EventType, Step, stored
from ordermq.shop.handlers import CapturePaymentHandler
from ordermq.shop.reconcile.history import disagreement
from ordermq.shop.stock import allocate
from ordermq.shop.templates import Facts, render

QUANTITIES = st.dictionaries(st.sampled_from("abcd"), st.integers(1, 5), min_size=1)


@given(st.lists(QUANTITIES, max_size=20), st.dictionaries(st.sampled_from("abc"), st.integers(0, 20)))
def test_allocation_gives_all_or_nothing_and_never_more_than_there_is(orders, on_hand):
    left = dict(on_hand)
    granted = [wanted for wanted in orders if not allocate(wanted, left)]
    assert all(units >= 0 for units in left.values())
    for product, units in on_hand.items():
        assert units == left[product] + sum(wanted.get(product, 0) for wanted in granted)


def test_allocation_names_the_products_that_are_short():
    assert allocate({"b": 2, "a": 9, "c": 1}, {"a": 1, "b": 2}) == ["a", "c"]


@pytest.mark.parametrize("template", Template)
def test_a_text_fits_one_sms(template):
    text = render(Facts(template, "x" * 64, 2**53 - 1, "EUR", datetime(2026, 1, 2, tzinfo=UTC)))
    assert len(text) <= 160
    assert text.isascii()


@pytest.mark.parametrize(
    ("currency", "amount"), [("EUR", "12.34 EUR"), ("JPY", "1234 JPY"), ("KWD", "1.234 KWD")]
)
def test_a_text_writes_money_with_its_currencys_decimals(currency, amount):
    text = render(Facts(Template.ORDER_REFUNDED, "o-1", 1234, currency))
    assert text == f"We have paid back {amount} for your order o-1."


def test_an_event_is_stored_as_canonical_json():
    at = datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)
    event = Event(EventType.SHIPMENT_CREATED, Step.SHIP)
    told = {"status": "paid", "occurred_at": at, "actor": "shipping", "trace_id": "a" * 32}
    row = stored("o-1", 4, event, data={"z": 1, "a": 2}, **told)
    again = stored("o-1", 4, event, data={"a": 2, "z": 1}, **told)
    assert row == again
    assert row.body == json.dumps(json.loads(row.body), sort_keys=True, separators=(",", ":")).encode()


@pytest.mark.parametrize(
    ("path", "status", "pending", "fault"),
    [
        ("order_placed", "placed", ["reserve"], None),
        ("order_placed stock_reserved:reserve", "reserved", ["capture"], None),
        ("order_placed stock_reserved:reserve", "paid", [], "stored as paid, but its events say reserved"),
        ("order_placed", "placed", [], "pending is nothing, but its events say reserve"),
        ("stock_reserved:reserve", "reserved", ["capture"], "stock_reserved happened to an order before"),
        ("order_placed order_placed", "placed", ["reserve"], "order_placed cannot happen"),
        ("order_placed walked_off", "placed", ["reserve"], "walked_off"),
        ("", "placed", ["reserve"], "no events"),
    ],
)
def test_a_history_is_folded_and_compared(path, status, pending, fault):
    # JRN1: the stored status and steps are what the events add up to.
    found = disagreement(path, status, pending, needs_attention=False)
    assert (found is None) if fault is None else (fault in found)


FAILED = "order_placed reservation_failed:reserve"


@pytest.mark.parametrize(
    ("path", "needs_attention", "fault"),
    [
        (FAILED, True, None),
        (FAILED, False, "no person is asked to look at it, but by its events a person is asked"),
        (f"{FAILED} attention_resolved", False, None),
        (f"{FAILED} attention_resolved", True, "but by its events no person is asked"),
        (f"{FAILED} attention_resolved notification_failed:notify_cancelled", True, None),
    ],
)
def test_a_history_says_whether_a_person_has_to_look(path, needs_attention, fault):
    pending = [] if "notify" in path else ["notify_cancelled"]
    found = disagreement(path, "cancelled", pending, needs_attention=needs_attention)
    assert (found is None) if fault is None else (fault in found)


@pytest.mark.parametrize(
    "url",
    [
        "http://payments.example:80",
        "https://user:secret@payments.example",
        "ftp://127.0.0.1/",
        "http://127.0.0.1:80@evil.example/",
        "",
    ],
)
def test_a_gateway_that_would_see_cards_in_the_clear_is_refused(url):
    with pytest.raises(ConfigError, match=r"shop\.payment_url"):
        load(
            environ={"ORDERMQ_CONFIG": "", "ORDERMQ_SHOP_PAYMENT_URL": url},
            extra_sections={"shop": ShopSettings},
        )


@pytest.mark.parametrize(
    "url", ["https://payments.example/api", "http://127.0.0.1:8081/payment", "http://[::1]:8"]
)
def test_a_safe_gateway_is_accepted(url):
    environ = {"ORDERMQ_CONFIG": "", "ORDERMQ_SHOP_PAYMENT_URL": url}
    loaded = load(environ=environ, extra_sections={"shop": ShopSettings})
    assert loaded.section("shop").payment_url == url


def test_the_handlers_are_found_by_the_registry_and_cover_every_queue():
    registry = registry_of([shop])
    assert registry.queues == ("email", "inventory", "notify", "payment", "points", "shipping")
    types = {handler.type: handler for queue in registry.queues for handler in registry.of_queue(queue)}
    assert set(types) == {
        "ReserveStock", "ReleaseStock", "CapturePayment", "RefundPayment", "SendNotification", "AwardPoints",
        "AdjustPoints", "ExpirePayment", "CreateShipment", "AlertOperator", "SendEmail",
    }  # fmt: skip
    assert all(handler.key == "order_id" for handler in types.values())
    # A dead alert raises no alert: alerts would follow alerts.
    assert {name for name, handler in types.items() if handler.on_dead is None} == {"AlertOperator"}


def test_external_handlers_are_built_from_the_shop_s_settings():
    config = load(environ={"ORDERMQ_CONFIG": ""}, extra_sections={"shop": ShopSettings})
    registry = registry_of([shop])
    external = [
        handler for queue in registry.queues for handler in registry.of_queue(queue) if handler.is_external
    ]
    assert len([handler.call.from_config(config) for handler in external]) == 5


def test_a_key_that_dies_before_a_capture_settles_is_a_wrong_setting():
    settings = ShopSettings(payment_key_life_s=60.0, capture_settles_s=60.0)
    loaded = replace(load(environ={}, extra_sections={"shop": ShopSettings}), extra={"shop": settings})
    with pytest.raises(ConfigError, match=r"payment_key_life_s is 60 s: it must be longer than .*settles_s"):
        CapturePaymentHandler.from_config(loaded)
