"""RetryPolicy: the table of its module."""

from datetime import UTC, datetime, timedelta
from random import Random

import pytest

from ordermq.backoff import Backoff
from ordermq.errors import DataRefused, MalformedMessage, StoreError
from ordermq.message.envelope import Envelope
from ordermq.task.outcome import DONE, Dead, Postpone, Retry
from ordermq.task.retry import LONGEST_DELAY_S, MAX_REASON_CHARS, RetryPolicy, describe, outcome_of

NOW = datetime(2026, 1, 1, tzinfo=UTC)
POLICY = RetryPolicy(attempts=3, backoff=Backoff(1.0, 8.0), postpone_s=2.0, max_age_s=60.0)


def envelope(attempt=1, age_s=0.0):
    return Envelope(
        message_id="m", type="T", version=1, correlation_id="o", traceparent="",
        occurred_at=NOW - timedelta(seconds=age_s), attempt=attempt,
    )  # fmt: skip


def settle(outcome, **kwargs):
    return POLICY.settle(outcome, envelope(**kwargs), NOW, Random(1))


def test_done_and_dead_stay_what_they_are():
    assert settle(DONE) == DONE
    assert settle(Dead("no")) == Dead("no")


@pytest.mark.parametrize(("attempt", "ceiling_s"), [(1, 1.0), (2, 2.0)])
def test_a_retry_without_a_delay_gets_full_jitter_below_a_doubling_ceiling(attempt, ceiling_s):
    delays = [POLICY.settle(Retry("x"), envelope(attempt), NOW, Random(seed)).delay_s for seed in range(300)]
    assert 0 <= min(delays) < ceiling_s * 0.1
    assert ceiling_s * 0.9 < max(delays) <= ceiling_s


def test_an_asked_delay_is_kept():
    assert settle(Retry("x", 7.5)) == Retry("x", 7.5)


@pytest.mark.parametrize(
    ("asked_s", "given_s"),
    [(-1.0, 0.0), (float("nan"), 0.0), (float("inf"), LONGEST_DELAY_S), (1e15, LONGEST_DELAY_S)],
)
def test_an_asked_delay_is_one_postgresql_can_add_to_an_instant(asked_s, given_s):
    assert settle(Retry("x", asked_s)) == Retry("x", given_s)
    assert settle(Postpone("x", asked_s)) == Postpone("x", given_s)


def test_a_reason_can_be_stored_whatever_a_handler_put_into_it():
    raw = "a\x00b \ud800 " + "x" * 10_000
    dead, spent = settle(Dead(raw)), settle(Retry(raw), attempt=3)
    assert dead.reason.startswith("ab ? xxx")
    assert spent.reason.startswith("gave up after 3 attempts: ab ? xxx")
    assert len(dead.reason) == len(spent.reason) == MAX_REASON_CHARS


def test_the_last_attempt_is_dead_and_says_why():
    assert settle(Retry("gateway is down", 5.0), attempt=3) == Dead(
        "gave up after 3 attempts: gateway is down"
    )


def test_a_postponement_counts_no_attempt_but_ends_with_age():
    assert settle(Postpone("early"), attempt=99) == Postpone("early", 2.0)
    assert settle(Postpone("early", 9.0)) == Postpone("early", 9.0)
    assert isinstance(settle(Postpone("early"), age_s=61.0), Dead)


@pytest.mark.parametrize("error", [MalformedMessage("x"), DataRefused("x")])
def test_data_that_can_never_succeed_is_dead_at_once(error):
    assert isinstance(outcome_of(error), Dead)


@pytest.mark.parametrize("error", [StoreError("x"), RuntimeError("x"), MemoryError(), TimeoutError()])
def test_any_other_error_is_tried_again(error):
    assert isinstance(outcome_of(error), Retry)


def test_an_error_is_described_by_its_first_line_bounded_and_storable():
    text = describe(ValueError("a\x00b" + "x" * 10_000 + "\nsecret second line"))
    assert text.startswith("ValueError: ab")
    assert len(text) == MAX_REASON_CHARS
    assert describe(KeyError()) == "KeyError"
