"""The checker of the chaos suite: what it counts as lost, stuck, doubled and recovered."""

from tests.chaos.counting import (
    OrderStanding,
    compared,
    doubled_payments,
    out_of_order,
    recovery_s,
    repeated,
    tally,
    with_trace,
)
from tests.chaos.faults import FAULTS, SMOKE
from tests.chaos.outward import HAS_KAFKA, Outlets, outlets

AT_REST = OrderStanding(True)


def test_every_accepted_order_is_at_rest_parked_stuck_or_lost_and_only_one_of_them():
    found = {
        "rest": AT_REST,
        "rest-with-a-note": OrderStanding(True, needs_attention=True),
        "parked": OrderStanding(False, needs_attention=True),
        "moving": OrderStanding(False),
        "never accepted": OrderStanding(False),
    }
    count = tally(["rest", "rest-with-a-note", "parked", "moving", "gone"], found)
    assert (count.at_rest, count.parked, count.lost, count.stuck) == (2, 1, ("gone",), ("moving",))


def test_a_second_charge_and_a_refund_of_nothing_are_doubled_and_a_refunded_charge_is_not():
    ledger = [("a", "capture", 5), ("b", "capture", 5), ("b", "capture", 5), ("c", "refund", 5)]
    assert doubled_payments([*ledger, ("d", "capture", 5), ("d", "refund", 5)], {}) == ["b", "c"]


def test_parts_that_were_asked_for_are_not_doubled_and_the_same_part_twice_is():
    taken = [(order_id, "capture", 5) for order_id in "ab"]
    parts = [("a", "refund", 2), ("a", "refund", 1), ("b", "refund", 2), ("b", "refund", 2)]
    assert doubled_payments([*taken, *parts], {"a": 3, "b": 2}) == ["b"]


def test_what_was_sent_twice_is_named_once():
    assert repeated(["a", "b", "a", "a", "c"]) == ["a"]


def test_recovery_counts_from_the_healing_to_the_first_order_of_a_steady_flow():
    before = [1.0, 2.0, 9.9]
    a_straggler, flow = [10.5], [13.0 + n / 100 for n in range(200)]
    assert recovery_s(10.0, [*before, *a_straggler, *flow], rate=200) == 3.0


def test_the_last_few_orders_need_not_be_a_flow():
    assert recovery_s(10.0, [12.0, 12.5], rate=200) == 2.0


def test_a_pipeline_that_finishes_nothing_any_more_has_not_recovered():
    assert recovery_s(10.0, [1.0, 2.0], rate=200) is None


def test_events_outside_are_those_of_the_database_twice_or_not_and_each_that_is_missing_or_other_is_named():
    wanted = {"a:1": b"one", "a:2": b"two", "b:1": b"three"}
    every = list(wanted.items())
    assert compared("there", [*every, ("a:2", b"two")], wanted) == []
    assert compared("there", every[:2], wanted) == ["there: 1 events are missing: ['b:1']"]
    assert compared("there", [*every, ("a:2", b"2"), ("c:1", b"")], wanted) == [
        "there: 2 events are not those of the database: ['a:2', 'c:1']"
    ]


def test_an_event_leaves_with_its_own_trace_or_with_that_of_its_order():
    assert with_trace(b'{"type":"t","v":2}', "ab") == b'{"trace_id":"ab","type":"t","v":2}'
    assert with_trace(b'{"trace_id":"cd","type":"t","v":2}', "ab") == b'{"trace_id":"cd","type":"t","v":2}'
    assert with_trace('{"type":"ö"}'.encode(), "ab") == '{"type":"ö"}'.encode()


def test_orders_whose_events_change_places_are_named():
    assert out_of_order(["a:1", "b:1", "a:2", "x:y:1", "a:10"]) == []
    assert out_of_order(["a:2", "b:1", "a:1", "a:3"]) == ["a"]


def test_what_leaves_a_pipeline_is_compared_in_each_run_but_the_drill_and_in_the_short_list_once():
    every = Outlets.STREAM | Outlets.TREE | (Outlets.KAFKA if HAS_KAFKA else Outlets.NONE)
    assert {outlets(each, is_smoke=False, is_drill=False) for each in FAULTS} == {every}
    assert not any(outlets(each, is_smoke=False, is_drill=True) for each in FAULTS)
    short = [outlets(each, is_smoke=True, is_drill=False) for each in FAULTS if each.name in SMOKE]
    assert [each for each in short if each] == [Outlets.STREAM | Outlets.TREE]
