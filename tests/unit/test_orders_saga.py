"""The saga's table: every row, its invariants, and random walks through it."""

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ordermq.errors import IllegalEvent
from ordermq.shop.commands import SendEmail, SendNotification, Template, command_of
from ordermq.shop.events import EMAIL_OF, FAILED, NOTIFY, Event, EventType, Step
from ordermq.shop.saga import (
    FIRST,
    OVERRIDES,
    TABLE,
    TERMINAL,
    Charge,
    Readiness,
    State,
    Status,
    Terms,
    advance,
    can_happen,
    readiness,
    terms_of,
)

E, P, S = EventType, Step, Status

ENDS = {
    P.RESERVE: (E.STOCK_RESERVED, E.STOCK_REJECTED, E.RESERVATION_FAILED),
    P.RELEASE: (E.STOCK_RELEASED, E.RELEASE_FAILED),
    P.CAPTURE: (E.PAYMENT_CAPTURED, E.PAYMENT_DECLINED, E.PAYMENT_SKIPPED, E.PAYMENT_FAILED, E.CARD_DECLINED),
    P.EXPIRE: (E.PAYMENT_EXPIRED, E.EXPIRY_FAILED),
    P.REFUND: (E.PAYMENT_REFUNDED, E.REFUND_SKIPPED, E.REFUND_FAILED),
    P.SHIP: (E.SHIPMENT_CREATED, E.SHIPMENT_SKIPPED, E.SHIPMENT_FAILED),
    P.AWARD: (E.POINTS_AWARDED, E.POINTS_SKIPPED, E.POINTS_FAILED),
    P.ADJUST_POINTS: (E.POINTS_ADJUSTED, E.POINTS_ADJUST_FAILED),
    **dict.fromkeys(
        NOTIFY,
        (E.NOTIFICATION_SENT, E.NOTIFICATION_SKIPPED, E.NOTIFICATION_UNKNOWN, E.NOTIFICATION_FAILED),
    ),
}

ROWS = [
    # status, pending before, event, step -> status, pending after, sends, attention
    (S.PLACED, {P.RESERVE}, E.STOCK_RESERVED, P.RESERVE, S.RESERVED, {P.CAPTURE}, (P.CAPTURE,), False),
    (
        S.PLACED, {P.RESERVE}, E.STOCK_REJECTED, P.RESERVE,
        S.CANCELLED, {P.NOTIFY_CANCELLED}, (P.NOTIFY_CANCELLED,), False,
    ),
    (S.PLACED, {P.RESERVE}, E.STOCK_UNKNOWN, P.RESERVE, S.PLACED, {P.RESERVE}, (P.RESERVE,), True),
    (
        S.PLACED, {P.RESERVE}, E.RESERVATION_FAILED, P.RESERVE,
        S.CANCELLED, {P.NOTIFY_CANCELLED}, (P.NOTIFY_CANCELLED,), True,
    ),
    (
        S.PLACED, {P.RESERVE}, E.CANCEL_REQUESTED, None,
        S.CANCELLED, {P.RESERVE, P.NOTIFY_CANCELLED}, (P.NOTIFY_CANCELLED,), False,
    ),
    (
        S.RESERVED, {P.CAPTURE}, E.PAYMENT_CAPTURED, P.CAPTURE,
        S.PAID, {P.SHIP, P.AWARD, P.NOTIFY_CONFIRMED}, (P.SHIP, P.AWARD, P.NOTIFY_CONFIRMED), False,
    ),
    (S.RESERVED, {P.CAPTURE}, E.PAYMENT_ACTION_REQUIRED, None, S.RESERVED, {P.CAPTURE}, (), False),
    (
        S.RESERVED, {P.CAPTURE}, E.PAYMENT_DECLINED, P.CAPTURE,
        S.CANCELLED, {P.RELEASE, P.NOTIFY_CANCELLED}, (P.RELEASE, P.NOTIFY_CANCELLED), False,
    ),
    (
        S.RESERVED, {P.CAPTURE}, E.PAYMENT_FAILED, P.CAPTURE,
        S.CANCELLED, {P.RELEASE, P.REFUND, P.NOTIFY_CANCELLED},
        (P.RELEASE, P.REFUND, P.NOTIFY_CANCELLED), True,
    ),
    (
        S.RESERVED, {P.CAPTURE}, E.CANCEL_REQUESTED, None,
        S.CANCELLED, {P.CAPTURE, P.RELEASE, P.NOTIFY_CANCELLED}, (P.RELEASE, P.NOTIFY_CANCELLED), False,
    ),
    (
        S.RESERVED, {P.CAPTURE}, E.CARD_DECLINED, P.CAPTURE,
        S.PAYMENT_DUE, {P.EXPIRE, P.NOTIFY_PAYMENT_DUE}, (P.EXPIRE, P.NOTIFY_PAYMENT_DUE), False,
    ),
    (S.PAYMENT_DUE, {P.EXPIRE}, E.CARD_REPLACED, None, S.RESERVED, {P.CAPTURE}, (P.CAPTURE,), False),
    (
        S.PAYMENT_DUE, {P.EXPIRE}, E.PAYMENT_EXPIRED, P.EXPIRE,
        S.CANCELLED, {P.RELEASE, P.NOTIFY_CANCELLED}, (P.RELEASE, P.NOTIFY_CANCELLED), False,
    ),
    (S.PAYMENT_DUE, {P.EXPIRE}, E.EXPIRY_FAILED, P.EXPIRE, S.PAYMENT_DUE, {P.EXPIRE}, (), True),
    (
        S.PAYMENT_DUE, {P.EXPIRE}, E.CANCEL_REQUESTED, None,
        S.CANCELLED, {P.RELEASE, P.NOTIFY_CANCELLED}, (P.RELEASE, P.NOTIFY_CANCELLED), False,
    ),
    (
        S.PAYMENT_DUE, {P.EXPIRE}, E.PAYMENT_CAPTURED, P.CAPTURE,
        S.PAID, {P.SHIP, P.AWARD, P.NOTIFY_CONFIRMED}, (P.SHIP, P.AWARD, P.NOTIFY_CONFIRMED), False,
    ),
    (
        S.PAID, {P.SHIP, P.AWARD}, E.CANCEL_REQUESTED, None, S.CANCELLED,
        {P.SHIP, P.AWARD, P.RELEASE, P.REFUND, P.NOTIFY_CANCELLED, P.ADJUST_POINTS},
        (P.RELEASE, P.REFUND, P.NOTIFY_CANCELLED, P.ADJUST_POINTS), False,
    ),
    (S.PAID, {P.SHIP, P.AWARD}, E.SHIPMENT_CREATED, P.SHIP, S.PAID, {P.AWARD}, (), False),
    (S.PAID, {P.SHIP}, E.SHIPMENT_CREATED, P.SHIP, S.COMPLETED, set(), (), False),
    (S.PAID, {P.SHIP}, E.SHIPMENT_FAILED, P.SHIP, S.PAID, {P.SHIP}, (), True),
    (S.PAID, {P.AWARD}, E.POINTS_AWARDED, P.AWARD, S.COMPLETED, set(), (), False),
    (S.PAID, {P.AWARD}, E.POINTS_FAILED, P.AWARD, S.COMPLETED, set(), (), True),
    (S.PAID, {P.SHIP}, E.POINTS_AWARDED, P.AWARD, S.PAID, {P.SHIP}, (), False),
    (S.COMPLETED, set(), E.POINTS_AWARDED, P.AWARD, S.COMPLETED, set(), (), False),
    (S.CANCELLED, set(), E.ORDER_REOPENED, None, S.PLACED, {P.RESERVE}, (P.RESERVE,), False),
    (
        S.CANCELLED, {P.RELEASE, P.REFUND, P.NOTIFY_CANCELLED}, E.ORDER_REWOUND, None,
        S.RESERVED, {P.CAPTURE}, (P.CAPTURE,), False,
    ),
    (S.CANCELLED, {P.CAPTURE}, E.PAYMENT_CAPTURED, P.CAPTURE, S.CANCELLED, {P.REFUND}, (P.REFUND,), False),
    (S.CANCELLED, set(), E.PAYMENT_CAPTURED, P.CAPTURE, S.CANCELLED, {P.REFUND}, (P.REFUND,), False),
    (S.CANCELLED, {P.CAPTURE}, E.PAYMENT_DECLINED, P.CAPTURE, S.CANCELLED, set(), (), False),
    (S.CANCELLED, {P.CAPTURE}, E.PAYMENT_SKIPPED, P.CAPTURE, S.CANCELLED, set(), (), False),
    (S.CANCELLED, {P.CAPTURE}, E.PAYMENT_FAILED, P.CAPTURE, S.CANCELLED, {P.REFUND}, (P.REFUND,), True),
    (
        S.CANCELLED, {P.REFUND}, E.PAYMENT_REFUNDED, P.REFUND,
        S.REFUNDED, {P.NOTIFY_REFUNDED}, (P.NOTIFY_REFUNDED,), False,
    ),
    (
        S.CANCELLED, {P.REFUND}, E.REFUNDED_BY_HAND, P.REFUND,
        S.REFUNDED, {P.NOTIFY_REFUNDED}, (P.NOTIFY_REFUNDED,), False,
    ),
    (S.REFUNDED, set(), E.ORDER_REOPENED, None, S.PLACED, {P.RESERVE}, (P.RESERVE,), False),
    *(
        row
        for status in (S.PAID, S.COMPLETED)
        for row in (
            (status, {P.SHIP}, E.REFUND_REQUESTED, None, status, {P.SHIP, P.REFUND}, (P.REFUND,), False),
            (
                status, {P.REFUND}, E.PAYMENT_REFUNDED, P.REFUND,
                status, {P.NOTIFY_REFUNDED, P.ADJUST_POINTS}, (P.NOTIFY_REFUNDED, P.ADJUST_POINTS), False,
            ),
            (
                status, {P.SHIP, P.REFUND}, E.REFUNDED_BY_HAND, P.REFUND,
                status, {P.SHIP, P.ADJUST_POINTS}, (P.ADJUST_POINTS,), False,
            ),
            (status, {P.REFUND}, E.REFUND_FAILED, P.REFUND, status, {P.REFUND}, (), True),
            (status, {P.REFUND}, E.GOODS_RETURNED, None, status, {P.REFUND}, (), False),
        )
    ),
    *(
        row
        for status in (S.PAID, S.COMPLETED, S.CANCELLED, S.REFUNDED)
        for row in (
            (
                status, {P.SHIP, P.ADJUST_POINTS}, E.POINTS_ADJUSTED, P.ADJUST_POINTS,
                status, {P.SHIP}, (), False,
            ),
            (
                status, {P.ADJUST_POINTS}, E.POINTS_ADJUST_FAILED, P.ADJUST_POINTS,
                status, {P.ADJUST_POINTS}, (), True,
            ),
        )
    ),
    (S.CANCELLED, {P.REFUND}, E.REFUND_SKIPPED, P.REFUND, S.CANCELLED, set(), (), False),
    (S.CANCELLED, {P.REFUND}, E.REFUND_FAILED, P.REFUND, S.CANCELLED, {P.REFUND}, (), True),
    *(
        row
        for status in (S.CANCELLED, S.REFUNDED)
        for row in (
            (status, {P.RESERVE}, E.STOCK_REJECTED, P.RESERVE, status, set(), (), False),
            (status, {P.RESERVE}, E.RESERVATION_FAILED, P.RESERVE, status, set(), (), True),
            (status, {P.RELEASE}, E.STOCK_RELEASED, P.RELEASE, status, set(), (), False),
            (status, {P.RELEASE}, E.RELEASE_FAILED, P.RELEASE, status, {P.RELEASE}, (), True),
            (status, {P.SHIP}, E.SHIPMENT_SKIPPED, P.SHIP, status, set(), (), False),
            (status, {P.SHIP}, E.SHIPMENT_FAILED, P.SHIP, status, set(), (), True),
            (status, {P.AWARD}, E.POINTS_SKIPPED, P.AWARD, status, set(), (), False),
            (status, {P.AWARD}, E.POINTS_FAILED, P.AWARD, status, set(), (), True),
        )
    ),
    *(
        (status, {P.SHIP, step}, event, step, status, {P.SHIP}, (), attention)
        for status, step in (
            (S.RESERVED, P.NOTIFY_PAYMENT_DUE),
            (S.PAYMENT_DUE, P.NOTIFY_PAYMENT_DUE),
            (S.PAID, P.NOTIFY_CONFIRMED),
            (S.COMPLETED, P.NOTIFY_CONFIRMED),
            (S.CANCELLED, P.NOTIFY_CANCELLED),
            (S.REFUNDED, P.NOTIFY_REFUNDED),
        )
        for event, attention in (
            (E.NOTIFICATION_SENT, False),
            (E.NOTIFICATION_SKIPPED, False),
            (E.NOTIFICATION_UNKNOWN, True),
            (E.NOTIFICATION_FAILED, True),
        )
    ),
    *((status, {P.SHIP}, E.ATTENTION_RAISED, None, status, {P.SHIP}, (), True) for status in Status),
    *((status, {P.SHIP}, E.ATTENTION_RESOLVED, None, status, {P.SHIP}, (), False) for status in Status),
]  # fmt: skip


@pytest.mark.parametrize("row", ROWS, ids=lambda row: f"{row[0]}-{row[2]}-{len(row[1])}")
def test_a_row_says_what_follows(row):
    before, pending, event, step, after, pending_after, sends, attention = row
    move = advance(State(before, frozenset(pending)), Event(event, step))
    assert move.state == State(after, frozenset(pending_after))
    assert move.sends == sends
    assert bool(move.attention) is attention


@pytest.mark.parametrize("status", S)
def test_only_a_person_ends_what_a_person_was_asked_for(status):
    ends = [event for event in E if (status, event) in TABLE and TABLE[status, event].attention is False]
    assert ends == [E.ORDER_REWOUND] * (status is S.CANCELLED) + [E.ATTENTION_RESOLVED]


def test_every_row_of_the_table_is_covered_above():
    assert {(row[0], row[2]) for row in ROWS} == set(TABLE)


def test_an_order_begins_with_its_placing_and_asks_for_stock():
    move = advance(None, Event(E.ORDER_PLACED))
    assert move.state == State(S.PLACED, frozenset({P.RESERVE}))
    assert move.sends == (P.RESERVE,)


@pytest.mark.parametrize("event", [event for event in E if event is not E.ORDER_PLACED])
def test_nothing_else_happens_to_an_order_that_was_not_placed(event):
    with pytest.raises(IllegalEvent):
        advance(None, Event(event))


@pytest.mark.parametrize("status", S)
def test_what_has_no_row_is_refused(status):
    for event in E:
        if (status, event) not in TABLE:
            with pytest.raises(IllegalEvent, match=event):
                advance(State(status, frozenset(P)), Event(event))


def test_a_step_that_is_not_pending_cannot_end():
    with pytest.raises(IllegalEvent, match="not pending"):
        advance(State(S.PAID, frozenset({P.AWARD})), Event(E.SHIPMENT_CREATED, P.SHIP))


def test_every_status_can_be_reached():
    reached, frontier = {S.PLACED}, [FIRST.status]
    while frontier:
        status = frontier.pop()
        for (before, _), row in TABLE.items():
            if before is status and row.status not in reached:
                reached.add(row.status)
                frontier.append(row.status)
        if status is S.PAID:
            reached.add(S.COMPLETED)  # by its last step, not by a row
    assert reached == set(S)


def test_the_documentation_names_every_status():
    text = (Path(__file__).resolve().parents[2] / "docs" / "architecture.md").read_text()
    assert [status for status in S if f"\n| `{status}` |" not in text] == []


def test_every_event_but_the_first_has_a_row():
    assert {event for _, event in TABLE} == set(E) - {E.ORDER_PLACED}


def test_every_step_has_an_event_for_giving_it_up():
    assert set(FAILED) == set(P)
    assert all(FAILED[step] in ENDS[step] for step in P)


def test_no_event_sends_two_messages_to_one_queue():
    for row in [FIRST, *TABLE.values(), *filter(None, OVERRIDES.values())]:
        steps = {*row.sends, *(EMAIL_OF[step] for step in row.sends if step in EMAIL_OF)}
        queues = [command_of(step, "o-1", 2).queue for step in steps]
        assert len(set(queues)) == len(queues)


def test_the_money_is_taken_only_for_a_reserved_order():
    takes = [(key, row.status) for key, row in TABLE.items() if P.CAPTURE in row.sends]
    assert takes == [
        ((S.PLACED, E.STOCK_RESERVED), S.RESERVED),
        ((S.PAYMENT_DUE, E.CARD_REPLACED), S.RESERVED),
        ((S.CANCELLED, E.ORDER_REWOUND), S.RESERVED),
    ]
    assert not any(row and P.CAPTURE in row.sends for row in OVERRIDES.values())


def test_after_the_money_was_taken_only_a_request_cancels():
    # SAG2
    takes_back = {
        event for (before, event), row in TABLE.items() if before is S.PAID and row.status is S.CANCELLED
    }
    assert takes_back == {E.CANCEL_REQUESTED}


@pytest.mark.parametrize("status", S)
def test_a_customer_may_cancel_until_the_goods_leave(status):
    for pending in ({P.SHIP}, set(), {P.SHIP, P.REFUND}):
        may = status in (S.PLACED, S.RESERVED, S.PAYMENT_DUE) or (status is S.PAID and pending == {P.SHIP})
        state = State(status, frozenset(pending))
        assert can_happen(state, E.CANCEL_REQUESTED) is may
        if not may:
            with pytest.raises(IllegalEvent, match="cannot happen"):
                advance(state, Event(E.CANCEL_REQUESTED))


@pytest.mark.parametrize("status", [S.PAID, S.COMPLETED])
def test_one_refund_of_an_order_is_under_way_at_a_time(status):
    with pytest.raises(IllegalEvent, match="while refund is pending"):
        advance(State(status, frozenset({P.REFUND})), Event(E.REFUND_REQUESTED))


OTHERS = [
    # charge, status, event, step -> status, sends
    (Charge.FREE, S.PLACED, E.STOCK_RESERVED, P.RESERVE, S.PAID, (P.SHIP, P.AWARD, P.NOTIFY_CONFIRMED)),
    (Charge.PAID, S.PLACED, E.STOCK_RESERVED, P.RESERVE, S.PAID, (P.SHIP, P.AWARD, P.NOTIFY_CONFIRMED)),
    (
        Charge.FREE, S.PAID, E.CANCEL_REQUESTED, None,
        S.CANCELLED, (P.RELEASE, P.NOTIFY_CANCELLED, P.ADJUST_POINTS),
    ),
    *(
        (Charge.PAID, S.PLACED, event, step, S.CANCELLED, (P.REFUND, P.NOTIFY_CANCELLED))
        for event, step in (
            (E.STOCK_REJECTED, P.RESERVE),
            (E.RESERVATION_FAILED, P.RESERVE),
            (E.CANCEL_REQUESTED, None),
        )
    ),
    (Charge.FREE, S.PAID, E.REFUND_REQUESTED, None, None, ()),
    (Charge.FREE, S.COMPLETED, E.REFUND_REQUESTED, None, None, ()),
    (Charge.FREE, S.CANCELLED, E.ORDER_REWOUND, None, None, ()),
    (Charge.PAID, S.CANCELLED, E.ORDER_REWOUND, None, None, ()),
    (Charge.PAID, S.REFUNDED, E.ORDER_REOPENED, None, None, ()),
]  # fmt: skip


@pytest.mark.parametrize("row", OTHERS, ids=lambda row: f"{row[0]}-{row[1]}-{row[2]}")
def test_an_order_without_a_card_goes_its_own_way(row):
    charge, before, event, step, after, sends = row
    state = State(before, frozenset({P.RESERVE, P.SHIP}), Terms(charge))
    if after is None:
        assert not can_happen(state, event)
        with pytest.raises(IllegalEvent):
            advance(state, Event(event, step))
        return
    move = advance(state, Event(event, step))
    assert (move.state.status, move.sends) == (after, sends)
    assert move.state.terms == Terms(charge)


def test_every_row_of_an_order_without_a_card_is_covered_above():
    assert {row[:3] for row in OTHERS} == set(OVERRIDES)


@pytest.mark.parametrize(
    ("notify", "sent"),
    [
        ("text", {P.NOTIFY_CANCELLED}),
        ("email", {P.EMAIL_CANCELLED}),
        ("both", {P.NOTIFY_CANCELLED, P.EMAIL_CANCELLED}),
        ("none", set()),
    ],
)
def test_a_notification_goes_by_the_channels_of_the_order(notify, sent):
    # SAG5
    state = advance(None, Event(E.ORDER_PLACED), terms_of("card", notify)).state
    state = advance(state, Event(E.STOCK_RESERVED, P.RESERVE)).state
    move = advance(state, Event(E.PAYMENT_DECLINED, P.CAPTURE))
    assert set(move.sends) == {P.RELEASE, *sent}
    assert move.state.pending == {P.RELEASE, *sent}


def test_points_are_adjusted_only_after_they_were_awarded():
    assert (
        readiness(State(S.PAID, frozenset({P.AWARD, P.ADJUST_POINTS})), P.ADJUST_POINTS)
        is Readiness.TOO_EARLY
    )
    assert readiness(State(S.PAID, frozenset({P.ADJUST_POINTS})), P.ADJUST_POINTS) is Readiness.READY


@pytest.mark.parametrize("pending", [P.CAPTURE, P.REFUND])
def test_a_refund_is_told_only_after_it_was_made(pending):
    state = State(S.CANCELLED, frozenset({pending}))
    assert readiness(state, P.NOTIFY_REFUNDED) is Readiness.TOO_EARLY
    assert readiness(state, P.EMAIL_REFUNDED) is Readiness.TOO_EARLY


def test_a_pending_step_is_ready_whatever_the_status():
    for status in S:
        for step in P:
            assert readiness(State(status, frozenset({step})), step) is Readiness.READY


@pytest.mark.parametrize(
    ("status", "step", "expected"),
    [
        (S.PLACED, P.CAPTURE, Readiness.TOO_EARLY),
        (S.PLACED, P.SHIP, Readiness.TOO_EARLY),
        (S.RESERVED, P.AWARD, Readiness.TOO_EARLY),
        (S.RESERVED, P.REFUND, Readiness.TOO_EARLY),
        (S.CANCELLED, P.NOTIFY_REFUNDED, Readiness.MOVED_ON),
        (S.RESERVED, P.RESERVE, Readiness.MOVED_ON),
        (S.CANCELLED, P.RESERVE, Readiness.MOVED_ON),
        (S.CANCELLED, P.CAPTURE, Readiness.MOVED_ON),
        (S.PAID, P.CAPTURE, Readiness.MOVED_ON),
        (S.COMPLETED, P.SHIP, Readiness.MOVED_ON),
        (S.REFUNDED, P.REFUND, Readiness.MOVED_ON),
    ],
)
def test_a_step_that_is_not_pending_is_early_or_over(status, step, expected):
    assert readiness(State(status), step) is expected


def test_a_step_that_was_sent_is_never_found_too_early_or_over():
    for row in [FIRST, *TABLE.values()]:
        for step in row.sends:
            assert readiness(State(row.status, frozenset(row.sends)), step) is Readiness.READY


def test_a_message_id_is_the_same_each_time_a_step_is_sent():
    first, again = command_of(P.SHIP, "o-1", 3), command_of(P.SHIP, "o-1", 3)
    assert first == again
    assert first.message_id == "o-1:3:shipping"


@pytest.mark.parametrize("template", Template)
def test_each_template_is_the_step_of_its_own_message(template):
    text, email = command_of(template.step, "o-1", 3), command_of(template.email_step, "o-1", 3)
    assert text.payload == SendNotification(order_id="o-1", template=template, version=3)
    assert email.payload == SendEmail(order_id="o-1", template=template, version=3)


@st.composite
def _walks(draw):
    """Events of one order as its steps end in any order and way, a person acting at any time."""
    terms = Terms(draw(st.sampled_from(Charge)), draw(st.booleans()), draw(st.booleans()))
    events = [Event(E.ORDER_PLACED)]
    state = advance(None, events[0], terms).state
    acts = draw(st.lists(st.sampled_from(PEOPLE), max_size=3))
    acts_after = draw(st.integers(0, 8))
    given_up = 0
    while not state.is_at_rest:
        if acts and len(events) > acts_after and can_happen(state, acts[-1]):
            event = Event(acts.pop())
        else:
            step = draw(st.sampled_from(sorted(state.pending)))
            possible = [end for end in ENDS[step] if can_happen(state, end)]
            if given_up > 3:  # an operator's replay succeeds in the end
                possible = [end for end in possible if end is not FAILED[step]] or possible
            end = draw(st.sampled_from(possible))
            given_up += end is FAILED[step]
            event = Event(end, step)
        events.append(event)
        state = advance(state, event).state
    return events, state


PEOPLE = (E.CANCEL_REQUESTED, E.CARD_REPLACED, E.REFUND_REQUESTED)


@given(_walks())
def test_every_walk_ends_with_whatever_was_done_undone_or_completed(walk):
    events, state = walk
    happened = {event.type for event in events}
    assert state.status in TERMINAL
    assert not state.pending
    reserved = E.STOCK_RESERVED in happened
    is_charged = E.PAYMENT_CAPTURED in happened or state.terms.charge is Charge.PAID
    if state.status is S.COMPLETED:
        assert reserved
        assert is_charged or state.terms.charge is Charge.FREE
        assert E.SHIPMENT_CREATED in happened
    else:
        assert E.SHIPMENT_CREATED not in happened
        assert reserved == (E.STOCK_RELEASED in happened)
        if is_charged:
            assert {E.PAYMENT_REFUNDED, E.REFUND_SKIPPED} & happened


@given(_walks())
def test_every_walk_tells_the_customer_how_it_ended(walk):
    events, state = walk
    notified = {event.step for event in events if event.step in NOTIFY}
    last = {
        S.COMPLETED: P.NOTIFY_CONFIRMED,
        S.CANCELLED: P.NOTIFY_CANCELLED,
        S.REFUNDED: P.NOTIFY_REFUNDED,
    }[state.status]
    assert (last in notified) is state.terms.text
    assert (EMAIL_OF[last] in notified) is state.terms.email
    mailed = {step for step in notified if step in EMAIL_OF.values()}
    if state.terms.text and state.terms.email:
        assert mailed == {EMAIL_OF[step] for step in notified - mailed}


@given(_walks())
def test_every_walk_with_something_given_up_asked_for_a_human(walk):
    events, end = walk
    state, asked = None, False
    for event in events:
        move = advance(state, event, end.terms)
        state, asked = move.state, asked or bool(move.attention)
    uneasy = {*FAILED.values(), E.NOTIFICATION_UNKNOWN}
    assert asked == bool(uneasy & {event.type for event in events})
