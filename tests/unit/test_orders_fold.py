"""The state of an order as the fold of its events: what each event does, and prefixes of random histories."""

import json
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import astuple

from ordermq.errors import BadInput, EventUnreadable, IllegalEvent
from ordermq.shop import Adjustment
from ordermq.shop.cli.instant import zoned_instant
from ordermq.shop.events import FAILED, NOTIFY, Event, EventType, Step, stored
from ordermq.shop.fold import fold, states
from ordermq.shop.instant import changes_between, order_at, order_diff
from ordermq.shop.placement import NewOrder
from ordermq.shop.projection import StoredOrder, compare
from ordermq.shop.reconcile.history import fold as fold_of_saga
from ordermq.shop.recorded import read_history
from ordermq.shop.saga import Status, can_happen, terms_of
from tests.support.shop import an_order

E, P = EventType, Step
BEGAN = datetime(2026, 11, 1, 10, 42, tzinfo=UTC)
ORDER = an_order(
    "o-1", ("p-1", 3), ("p-2", 2), notify="both", adjustments=(Adjustment("discount", -100, "XMAS"),),
    total_minor=2400,
)  # fmt: skip

# What ends a step, beside being given up, and the data that such an event has.
ENDS = {
    P.RESERVE: [(E.STOCK_RESERVED, {}), (E.STOCK_REJECTED, {"reason": "out_of_stock", "products": ["p-1"]})],
    P.RELEASE: [(E.STOCK_RELEASED, {})],
    P.CAPTURE: [
        (E.PAYMENT_CAPTURED, {"capture_id": "cap_1", "amount_minor": 2400, "currency": "EUR"}),
        (E.PAYMENT_DECLINED, {"reason": "no money"}),
        (E.CARD_DECLINED, {"reason": "no money"}),
    ],
    P.EXPIRE: [(E.PAYMENT_EXPIRED, {})],
    P.REFUND: [(E.PAYMENT_REFUNDED, {"amount_minor": 300}), (E.REFUND_SKIPPED, {"reason": "none"})],
    P.SHIP: [(E.SHIPMENT_CREATED, {"shipment_number": 7}), (E.SHIPMENT_SKIPPED, {})],
    P.AWARD: [(E.POINTS_AWARDED, {"points": 24}), (E.POINTS_SKIPPED, {})],
    P.ADJUST_POINTS: [(E.POINTS_ADJUSTED, {"points": 20})],
    **{each: [(E.NOTIFICATION_SENT, {}), (E.NOTIFICATION_UNKNOWN, {})] for each in NOTIFY},
}
BY_PERSONS = [
    (E.CANCEL_REQUESTED, {"reason": "changed my mind"}),
    (E.ORDER_REOPENED, {"by": "anna", "reason": "after all"}),
    (E.ORDER_REWOUND, {"by": "anna", "reason": "again", "to": "capture", "stock": "kept"}),
    (E.CARD_REPLACED, {"capture_no": 2}),
    (E.REFUND_REQUESTED, {"lines": [[1, 1]], "amount_minor": 300, "refund_no": 1}),
    (E.GOODS_RETURNED, {"lines": [[2, 1]], "paid_back": [], "refund_no": 1}),
    (E.REFUNDED_BY_HAND, {"amount_minor": 100, "by": "anna"}),
    (E.ATTENTION_RAISED, {}),
    (E.ATTENTION_RESOLVED, {"by": "anna"}),
]


class History:
    """Events as they are stored, with the saga asked before each."""

    def __init__(self, order=ORDER):
        self.bodies = [NewOrder(order, order.content_hash(), "", BEGAN, "shop").event().body.decode()]

    def add(self, event_type, step=None, **data):
        version = len(self.bodies) + 1
        at = BEGAN + timedelta(seconds=version)
        row = stored(
            "o-1", version, Event(event_type, step), status="", occurred_at=at, data=data, actor="shop",
            trace_id="",
        )  # fmt: skip
        self.bodies.append(row.body.decode())
        return self

    @property
    def events(self):
        return read_history(f"[{','.join(self.bodies)}]")

    @property
    def order(self):
        return fold(self.events)


def paid():
    history = History().add(E.STOCK_RESERVED, P.RESERVE)
    return history.add(E.PAYMENT_CAPTURED, P.CAPTURE, capture_id="cap_1", amount_minor=2400, currency="EUR")


@st.composite
def histories(draw):
    history = History()
    for _ in range(draw(st.integers(0, 14))):
        state = history.order.state
        possible = [(kind, step, data) for step in sorted(state.pending) for kind, data in ENDS[step]]
        possible += [(FAILED[step], step, {}) for step in sorted(state.pending)]
        possible += [(kind, None, data) for kind, data in BY_PERSONS]
        possible = [each for each in possible if can_happen(state, each[0])]
        kind, step, data = draw(st.sampled_from(possible))
        history.add(kind, step, **data)
    return history


@given(histories())
def test_the_first_events_give_the_state_of_their_version_whatever_came_later(history):
    # FLD1
    every = list(states(history.events))
    assert [each.version for each in every] == list(range(1, len(history.events) + 1))
    for version, expected in enumerate(every, start=1):
        assert fold(history.events[:version]) == expected


@given(histories())
def test_status_and_pending_steps_are_those_of_the_saga_and_money_adds_up(history):
    order, events = history.order, history.events
    state, asks = fold_of_saga(
        (Event(each.type, each.step) for each in events), terms_of("card", ORDER.notify.value)
    )
    assert (order.state, order.asks is not None) == (state, asks)
    reopened = max((each.version for each in events if each.type is E.ORDER_REOPENED), default=0)
    later = [each for each in events if each.version > reopened]
    back = sum(
        each.data["amount_minor"] for each in later if each.type in (E.PAYMENT_REFUNDED, E.REFUNDED_BY_HAND)
    )
    assert order.refunded_minor == back
    assert (order.because is None) == (state.status not in (Status.CANCELLED, Status.REFUNDED))


@given(histories(), st.data())
def test_a_history_with_a_gap_or_a_double_has_no_state(history, data):
    # FLD2
    events = history.events
    missing = data.draw(st.integers(0, len(events) - 1))
    if missing < len(events) - 1:
        with pytest.raises(IllegalEvent, match="should"):
            fold([*events[:missing], *events[missing + 1 :]])
    with pytest.raises(IllegalEvent):
        fold([*events[: missing + 1], *events[missing:]])


def test_an_event_that_cannot_happen_or_lacks_its_data_has_no_state():
    # FLD2
    with pytest.raises(IllegalEvent, match="shipment_created cannot happen"):
        fold(History().add(E.SHIPMENT_CREATED, P.SHIP).events)
    with pytest.raises(IllegalEvent, match="the data of version 4, refund_requested, cannot be read"):
        fold(paid().add(E.REFUND_REQUESTED, lines=[[9, 1]]).events)
    with pytest.raises(EventUnreadable, match="no_such"):
        read_history(
            '[{"order_id": "o-1", "version": 1, "type": "no_such", "occurred_at": "2026-11-01T10:42:00Z"}]'
        )


def test_the_first_event_says_what_was_ordered_and_how_the_customer_is_told():
    order = History().order
    assert (order.customer_id, order.currency, order.total_minor) == ("c-1", "EUR", 2400)
    assert [(each.product_id, each.quantity, each.unit_price_minor) for each in order.lines] == [
        ("p-1", 3, 500), ("p-2", 2, 500),
    ]  # fmt: skip
    assert [(each.line_no, each.kind, each.amount_minor) for each in order.adjustments] == [
        (0, "discount", -100)
    ]
    assert (order.notify, order.charge, order.payment, order.goods) == ("both", "card", "none", "none")
    text = json.dumps(order.document(), default=str)
    assert ORDER.contact.phone not in text
    assert "XMAS" not in text


def test_a_history_of_before_takes_from_elsewhere_how_the_customer_is_told():
    old = History().events[0]
    data = {**old.data, "notify": None}
    event = type(old)(old.order_id, 1, old.type, old.occurred_at, data=data)
    cancelled = type(old)("o-1", 2, E.CANCEL_REQUESTED, old.occurred_at, data={"reason": "x"})
    assert P.EMAIL_CANCELLED in fold([event, cancelled], notify="email").state.pending
    assert P.NOTIFY_CANCELLED in fold([event, cancelled]).state.pending


def test_refunds_and_returns_count_units_and_money_and_a_reopened_order_begins_anew():
    history = paid().add(E.SHIPMENT_CREATED, P.SHIP, shipment_number=7)
    history.add(E.GOODS_RETURNED, lines=[[1, 1]], paid_back=[], is_restocked=True)
    history.add(E.REFUND_REQUESTED, lines=[[1, 2], [2, 1]], amount_minor=1000)
    history.add(E.PAYMENT_REFUNDED, P.REFUND, amount_minor=1000)
    order = history.order
    assert [(each.refunded, each.returned) for each in order.lines] == [(2, 1), (1, 0)]
    assert (order.refunded_minor, order.payment, order.goods) == (1000, "captured", "shipped")

    history = paid().add(E.CANCEL_REQUESTED, reason="changed my mind").add(E.SHIPMENT_SKIPPED, P.SHIP)
    history.add(E.STOCK_RELEASED, P.RELEASE).add(E.PAYMENT_REFUNDED, P.REFUND, amount_minor=2400)
    order = history.order
    assert (order.payment, order.goods) == ("refunded", "released")
    assert order.because == "asked for: changed my mind"
    assert order.ended_at == order.changed_at  # cancelled first, refunded last
    for step in sorted(order.state.pending):
        kind, data = next(each for each in ENDS[step] if can_happen(history.order.state, each[0]))
        history.add(kind, step, **data)
    order = history.add(E.ORDER_REOPENED, by="anna").order
    assert (order.payment, order.goods, order.because, order.refunded_minor) == ("none", "none", None, 0)
    assert (order.state.status, order.ended_at, order.version) == (Status.PLACED, None, len(history.bodies))


def test_units_of_which_no_money_was_owed_are_told_from_those_that_only_came_back():
    history = paid().add(E.SHIPMENT_CREATED, P.SHIP, shipment_number=7)
    free = History()
    free.bodies = list(history.bodies)
    line, _ = free.add(E.GOODS_RETURNED, lines=[[1, 2]], paid_back=[[1, 2]]).order.lines
    assert (line.refunded, line.returned) == (2, 2)
    before = history.add(E.GOODS_RETURNED, lines=[[1, 2]], paid_back=None).order  # before events said so
    rows = json.dumps([[1, "p-1", 3, 500, 0, 2, 2], [2, "p-2", 2, 500, 0, 0, 0]])
    assert compare(rows_of(before, history, items=rows)).differences == []


def test_changes_name_what_an_event_did():
    first, second = list(states(History().add(E.STOCK_RESERVED, P.RESERVE).events))
    assert changes_between(first, second) == [
        ("goods", "none", "reserved"),
        ("status", "placed", "reserved"),
        ("pending", ["reserve"], ["capture"]),
    ]
    assert ("total_minor", None, 2400) in changes_between(None, first)


def rows_of(order, history, **changes):
    """Return the rows that agree with a fold, but for ``changes``."""
    agreed = {
        "order_id": "o-1", "status": order.state.status.value, "pending": sorted(order.state.pending),
        "has_attention": order.asks is not None, "has_terminal": order.ended_at is not None,
        "bodies": f"[{','.join(history.bodies)}]",
        "items": json.dumps([astuple(each) for each in order.lines]),
        "adjustments": json.dumps([[0, 1, "discount", -100]]),
    }  # fmt: skip
    others = set(StoredOrder._fields) - {*agreed, "is_archived"}
    agreed |= {name: getattr(order, name) for name in others}
    return StoredOrder(**(agreed | changes))


PENDING = ["award", "email_confirmed", "notify_confirmed", "ship"]


@pytest.mark.parametrize(
    ("changes", "found"),
    [
        ({}, []),
        ({"status": "placed"}, [("shop.orders", "", "status", "placed", "paid", True)]),
        ({"pending": []}, [("shop.orders", "", "pending", [], PENDING, True)]),
        ({"total_minor": 1, "version": 2}, [
            ("shop.orders", "", "version", 2, 3, True), ("shop.orders", "", "total_minor", 1, 2400, True),
        ]),
        ({"has_attention": True}, [("shop.orders", "", "attention_reason", True, False, True)]),
        ({"shipment_number": 9}, [("shop.shipments", "", "shipment_number", 9, None, False)]),
        ({"adjustments": None}, [
            ("shop.order_adjustments", "line 0 adjustment 1", "*", None,
             {"line_no": 0, "adjustment_no": 1, "kind": "discount", "amount_minor": -100}, False),
        ]),
        ({"items": '[[1,"p-1",4,500,0,0,0]]'}, [
            ("shop.order_items", "line 1", "quantity", 4, 3, True),
            ("shop.order_items", "line 2", "*", None, {
                "line_no": 2, "product_id": "p-2", "quantity": 2, "unit_price_minor": 500, "freight_minor": 0,
                "refunded": 0, "returned": 0,
            }, True),
        ]),
        ({"bodies": None}, [("shop.order_events", "", "body", "there are no events", None, False)]),
    ],
)  # fmt: skip
def test_rows_that_differ_from_the_events_are_named(changes, found):
    history = paid()
    compared = compare(rows_of(history.order, history, **changes))
    assert [
        (each.table, each.key, each.column, each.stored, each.folded, each.is_repairable)
        for each in compared.differences
    ] == found


@pytest.mark.parametrize(
    ("text", "instant"),
    [
        ("2026-11-01T10:42:00Z", BEGAN),
        ("2026-11-01T11:42:00+01:00", BEGAN),
        ("2026-11-01 10:42+00:00", BEGAN),
    ],
)
def test_an_instant_has_a_zone(text, instant):
    assert zoned_instant(text) == instant


@pytest.mark.parametrize(
    ("text", "words"),
    [("2026-11-01T10:42:00", "names no time zone"), ("yesterday", "not an instant"), ("", "not an instant")],
)
def test_an_instant_without_a_zone_is_refused_with_what_to_write(text, words):
    with pytest.raises(Exception, match=words):
        zoned_instant(text)


def test_an_instant_without_a_time_zone_is_refused_and_not_guessed():
    naive = datetime(2026, 11, 1, 10, 42)
    with pytest.raises(BadInput, match="2026-11-01T10:42:00 names no time zone"):
        order_at("A-1", naive, None)
    with pytest.raises(BadInput, match="names no time zone"):
        order_diff("A-1", naive, BEGAN, None)
