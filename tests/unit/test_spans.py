"""The time that is no part of a message's age."""

import itertools
from datetime import UTC, datetime, timedelta
from random import Random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ordermq.consumer.spans import HeldSpans, Span, joined
from ordermq.message import Envelope
from ordermq.observe import trace
from ordermq.task import Dead, Retry
from ordermq.task.retry import RetryPolicy

T0 = datetime(2026, 11, 1, tzinfo=UTC)


def at(second):
    return T0 + timedelta(seconds=second)


def span(since, until):
    return Span(at(since), None if until is None else at(until))


def held(*spans):
    found = HeldSpans()
    found.replace(span(*each) for each in spans)
    return found


@pytest.mark.parametrize(
    ("spans", "seconds"),
    [
        ([], 0),
        ([(0, 10)], 0),  # before the message
        ([(150, 160)], 10),
        ([(50, 110)], 10),  # it failed in the middle of the pause
        ([(190, None)], 10),  # a pause that lasts
        ([(120, 140), (130, 150)], 30),  # held twice at once counts once
        ([(120, None), (130, 150)], 80),
    ],
)
def test_what_counts_as_held_is_within_the_life_of_the_message_and_counts_once(spans, seconds):
    assert held(*spans).seconds(at(100), at(200)) == seconds


def test_a_message_that_never_failed_has_no_age():
    assert held((0, None)).seconds(None, at(100)) == 0.0


@given(st.lists(st.tuples(st.integers(0, 50), st.none() | st.integers(0, 20))), st.integers(0, 60))
def test_joined_spans_hold_the_same_instants_and_do_not_overlap(pairs, second):
    spans = [span(start, None if length is None else start + length) for start, length in pairs]
    found = joined(spans)
    instant = at(second) + timedelta(milliseconds=500)

    def holds(some):
        return any(each.since <= instant and (each.until is None or instant < each.until) for each in some)

    assert holds(found) == holds(spans)
    assert all(left.until < right.since for left, right in itertools.pairwise(found))


def test_a_message_grows_no_older_while_it_is_held():
    envelope = Envelope(
        message_id="m", type="T", version=1, correlation_id="", traceparent=trace.new(), occurred_at=T0,
        first_failed_at=T0,
    )  # fmt: skip
    policy = RetryPolicy(max_age_s=100.0)
    assert isinstance(policy.resolve(Retry("x"), envelope, at(150), Random(1)), Dead)
    assert isinstance(policy.resolve(Retry("x"), envelope, at(150), Random(1), held_s=60.0), Retry)
