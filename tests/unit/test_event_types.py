"""Stored events are read as the newest version of their type has them (EVT1, EVT2)."""

import json
from datetime import UTC, datetime

import pytest

from ordermq.errors import EventUnreadable, UsageError
from ordermq.message.event_types import EventTypes
from ordermq.shop import events
from ordermq.shop.events import Event, EventType, Step
from ordermq.shop.history import why_cancelled
from ordermq.shop.queries import EventRow
from ordermq.shop.reconcile.history import disagreement
from ordermq.shop.recorded import read_body, read_columns
from ordermq.shop.replay import Found, OrderFacts, Wish, plan

NOW = datetime(2026, 11, 1, 10, 42, tzinfo=UTC)
GIFTS = EventTypes()
GIFTS.add("gift_unwrapped")
GIFTS.add(
    "gift_wrapped",
    lifts=[lambda e: {**e, "ribbon": "red"}, lambda e: {**e, "ribbon": {"colour": e["ribbon"]}}],
)


def a_body(**changes):
    row = events.stored(
        "A-1", 3, Event(EventType.PAYMENT_DECLINED, Step.CAPTURE), status="cancelled", occurred_at=NOW,
        data={"reason": "no money"}, actor="payment", trace_id="ab" * 16,
    )  # fmt: skip
    return json.dumps({**json.loads(row.body), **changes})


def test_each_older_version_is_lifted_step_by_step_to_what_is_written_now():
    wanted = {"type": "gift_wrapped", "ribbon": {"colour": "red"}, "v": 3}
    for stored in ({}, {"ribbon": "red", "v": 2}, {"ribbon": {"colour": "red"}, "v": 3}):
        assert GIFTS.read(json.dumps({"type": "gift_wrapped", **stored}), "event 1") == wanted
    assert (GIFTS.version("gift_wrapped"), GIFTS.version("gift_unwrapped")) == (3, 1)


@pytest.mark.parametrize(
    ("body", "named"),
    [
        ('{"type": "gift_lost"}', "'gift_lost'"),
        ('{"type": "gift_wrapped", "v": 4}', "gift_wrapped of version 4, and this code reads 1 to 3"),
        ('{"type": "gift_wrapped", "v": 0}', "version 0"),
        ('{"type": "gift_wrapped", "v": "2"}', "version '2'"),
        ('{"type": ["gift_wrapped"]}', "['gift_wrapped']"),
        ("{}", "no JSON object with a type"),
        ("[]", "no JSON object with a type"),
        ('{"type"', "no JSON object with a type"),
    ],
)
def test_what_cannot_be_read_is_named(body, named):
    with pytest.raises(EventUnreadable, match="event 7 of order A-1") as caught:
        GIFTS.read(body, "event 7 of order A-1")
    assert named in str(caught.value)


def test_a_type_is_registered_once():
    with pytest.raises(UsageError, match="'gift_wrapped' is registered twice"):
        GIFTS.add("gift_wrapped")


def test_an_event_of_an_order_is_read_with_its_maker_and_one_of_before_without():
    found = read_body(a_body(), 3, "A-1")
    assert found.type is EventType.PAYMENT_DECLINED
    assert found.step is Step.CAPTURE
    assert (found.actor, found.trace_id, found.data["reason"]) == ("payment", "ab" * 16, "no money")
    earlier = json.loads(a_body())
    for name in ("actor", "trace_id", "v"):
        del earlier[name]
    found = read_body(json.dumps(earlier), 3, "A-1")
    assert (found.actor, found.trace_id, found.status) == (None, None, "cancelled")


@pytest.mark.parametrize("changes", [{"step": "fly"}, {"v": 9}, {"type": "order_gilded"}])
def test_an_event_of_a_newer_shop_is_an_error_about_this_event(changes):
    with pytest.raises(EventUnreadable, match="event 3 of order A-1"):
        read_body(a_body(**changes), 3, "A-1")


def test_no_reader_of_many_orders_stops_at_one_that_it_cannot_read():
    with pytest.raises(EventUnreadable, match="event 2 ends the step 'fly'"):
        read_columns("order_placed", "fly", 2)
    said = disagreement("order_placed order_gilded", "placed", ["reserve"], needs_attention=False)
    assert said.startswith("event 2 has the type 'order_gilded'")
    declined = EventRow(2, "payment_declined", "capture", NOW, a_body(v=9))
    gilded = EventRow(3, "order_gilded", None, NOW, "{}")
    assert "of version 9" in why_cancelled([declined, gilded])
    assert why_cancelled([gilded]) is None
    [planned] = plan(OrderFacts("A-1", object(), unreadable=said), Wish())
    assert (planned.found, planned.note) == (Found.IMPOSSIBLE, said)
