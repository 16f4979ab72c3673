"""RetryPolicy: the table of its module."""

from datetime import UTC, datetime, timedelta
from random import Random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from msgspec.structs import replace

from ordermq.backoff import Backoff
from ordermq.errors import (
    ConfigError,
    DataRefused,
    GatewayRefused,
    GatewayUnavailable,
    MalformedMessage,
    NotCalled,
    OutcomeUnknown,
    StoreError,
)
from ordermq.message.envelope import MAX_HOP, Envelope
from ordermq.task.outcome import DONE, Dead, Postpone, Retry
from ordermq.task.retry import (
    LONGEST_DELAY_S,
    LONGEST_RETRY_AFTER_S,
    MAX_REASON_CHARS,
    RetryOptions,
    RetryPolicy,
    Verdict,
    describe,
    failure_of,
    outcome_of_error,
)

NOW = datetime(2026, 1, 1, tzinfo=UTC)
POLICY = RetryPolicy(attempts=3, backoff=Backoff(1.0, 8.0), postpone_s=2.0, max_age_s=60.0)


def envelope(attempt=1, hop=0, age_s=None):
    return Envelope(
        message_id="m", type="T", version=1, correlation_id="o", traceparent="",
        occurred_at=NOW - timedelta(days=400), attempt=attempt, hop=hop,
        first_failed_at=None if age_s is None else NOW - timedelta(seconds=age_s),
    )  # fmt: skip


def settle(outcome, **kwargs):
    return POLICY.resolve(outcome, envelope(**kwargs), NOW, Random(1))


def test_done_and_dead_stay_what_they_are():
    assert settle(DONE) == DONE
    assert settle(Dead("no")) == Dead("no")


@pytest.mark.parametrize(("attempt", "ceiling_s"), [(1, 1.0), (2, 2.0)])
def test_a_retry_without_a_delay_gets_full_jitter_below_a_doubling_ceiling(attempt, ceiling_s):
    delays = [POLICY.resolve(Retry("x"), envelope(attempt), NOW, Random(seed)).delay_s for seed in range(300)]
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


@pytest.mark.parametrize(("hop", "ceiling_s"), [(0, 2.0), (1, 4.0), (2, 8.0), (50, 8.0)])
def test_a_postponement_comes_back_later_with_each_hop_and_counts_no_attempt(hop, ceiling_s):
    there = envelope(attempt=99, hop=hop)
    delays = [POLICY.resolve(Postpone("early"), there, NOW, Random(seed)).delay_s for seed in range(300)]
    assert 0 <= min(delays) < ceiling_s * 0.1
    assert ceiling_s * 0.9 < max(delays) <= ceiling_s
    assert settle(Postpone("early", 9.0)) == Postpone("early", 9.0)


@pytest.mark.parametrize("outcome", [Retry("no"), Postpone("no"), Retry("no", 5.0), Postpone("no", 5.0)])
def test_what_is_sent_again_for_too_long_is_dead_and_an_old_message_that_was_not_is_tried(outcome):
    assert settle(outcome, age_s=61.0) == Dead("gave up after 61 s: no")
    assert settle(outcome, age_s=59.0).reason == "no"
    assert settle(outcome).reason == "no"


def test_a_wait_that_a_service_asked_for_is_never_shorter_than_the_backoff():
    there = envelope(attempt=2, hop=50)
    for asked in (Postpone("503", 0.0), Postpone("503", 0.01), Retry("503", 0.0)):
        delays = [POLICY.spaced(asked, there, Random(seed)).delay_s for seed in range(300)]
        ceiling_s = 8.0 if isinstance(asked, Postpone) else 2.0
        assert ceiling_s * 0.9 < max(delays) <= ceiling_s
        assert min(delays) >= asked.delay_s
    assert POLICY.spaced(Postpone("503", 900.0), there, Random(1)) == Postpone("503", 900.0)
    assert POLICY.spaced(Postpone("503"), there, Random(1)) == Postpone("503")
    assert POLICY.spaced(Dead("no"), there, Random(1)) == Dead("no")


@pytest.mark.parametrize("outcome", [Retry("no"), Postpone("no"), Postpone("no", 5.0)])
def test_a_message_that_has_no_next_hop_is_dead(outcome):
    assert settle(outcome, hop=MAX_HOP) == Dead(f"gave up after it was sent again {MAX_HOP} times: no")
    assert settle(outcome, hop=MAX_HOP - 1).reason == "no"


class Slow(Exception):
    retry_after_s = 7.0


class SlowToday(Slow):
    retry_after_s = 1e9


class Broken(OSError):
    pass


class Garbled(Exception):
    retry_after_s = "soon"


MINE = RetryOptions(
    attempts=2, base_s=3.0, max_age_s=7.0, immediate=0,
    retryable=(OSError, DataRefused), fatal=(Slow, Broken), unknown=(TimeoutError, SlowToday),
)  # fmt: skip


@pytest.mark.parametrize("error", [MalformedMessage("x"), DataRefused("x")])
def test_data_that_can_never_succeed_is_dead_at_once(error):
    assert isinstance(outcome_of_error(error), Dead)


@pytest.mark.parametrize("error", [StoreError("x"), RuntimeError("x"), MemoryError(), TimeoutError()])
def test_any_other_error_is_tried_again(error):
    assert isinstance(outcome_of_error(error), Retry)


@pytest.mark.parametrize(
    ("error", "verdict"),
    [
        (OSError(), Verdict.RETRYABLE), (ConnectionResetError(), Verdict.RETRYABLE),
        (Broken(), Verdict.FATAL),
        (TimeoutError(), Verdict.UNKNOWN), (Slow(), Verdict.FATAL), (SlowToday(), Verdict.UNKNOWN),
        (DataRefused(), Verdict.RETRYABLE), (MalformedMessage(), Verdict.FATAL), (ValueError(), None),
    ],
)  # fmt: skip
def test_the_most_specific_type_a_handler_names_decides_and_its_word_is_over_the_framework_s(error, verdict):
    assert MINE.verdict(error) is verdict


def test_a_plain_handler_s_own_types_decide_what_becomes_of_its_errors():
    assert outcome_of_error(Broken("gone"), MINE) == Dead("Broken: gone")
    assert outcome_of_error(TimeoutError("slow"), MINE) == Retry("TimeoutError: slow")
    assert isinstance(outcome_of_error(DataRefused("x"), MINE), Retry)


def test_an_error_may_ask_to_be_left_alone_for_a_while_but_not_for_ever():
    assert outcome_of_error(Slow("x")) == Retry("Slow: x", 7.0)
    assert outcome_of_error(SlowToday("x")) == Retry("SlowToday: x", LONGEST_RETRY_AFTER_S)
    assert outcome_of_error(Garbled("x")) == Retry("Garbled: x", None)


def test_what_a_call_raises_is_unknown_unless_its_handler_names_it():
    error = Broken("gone")
    for mine, kind in [
        (RetryOptions(), OutcomeUnknown),
        (RetryOptions(retryable=(OSError,)), GatewayUnavailable),
        (MINE, GatewayRefused),
        (RetryOptions(unknown=(OSError,)), OutcomeUnknown),
    ]:
        result = failure_of(error, mine)
        assert type(result) is kind
        assert str(result) == "Broken: gone"
        assert result.__cause__ is error
    assert failure_of(Slow(), RetryOptions(retryable=(Slow,))).retry_after_s == 7.0


@pytest.mark.parametrize(
    "error", [GatewayUnavailable("x", 3.0), GatewayRefused("x"), OutcomeUnknown("x"), NotCalled("x")]
)
def test_ordermq_s_own_gateway_errors_pass_as_they_are(error):
    assert failure_of(error, RetryOptions(fatal=(Exception,))) is error


def test_what_a_handler_does_not_say_of_its_retries_is_the_settings_word():
    assert POLICY.of(RetryOptions()) == POLICY
    assert POLICY.of(MINE) == RetryPolicy(2, Backoff(3.0, 8.0), 2.0, 7.0, 0)


@pytest.mark.parametrize(
    "wrong",
    [
        {"attempts": 0},
        {"cap_s": -1.0},
        {"max_age_s": float("nan")},
        {"fatal": (OSError,), "unknown": (OSError,)},
    ],
)
def test_retries_that_mean_nothing_are_refused_where_they_are_written(wrong):
    with pytest.raises(ConfigError):
        RetryOptions(**wrong)


def test_an_error_is_described_by_its_first_line_bounded_and_storable():
    text = describe(ValueError("a\x00b" + "x" * 10_000 + "\nsecret second line"))
    assert text.startswith("ValueError: ab")
    assert len(text) == MAX_REASON_CHARS
    assert describe(KeyError()) == "KeyError"


def spans(least=0.0, most=1e9):
    return st.floats(least, most, allow_nan=False)


@st.composite
def policies(draw):
    base_s = draw(spans(most=1e4))
    return RetryPolicy(
        attempts=draw(st.integers(1, 50)),
        backoff=Backoff(base_s, draw(spans(base_s, 1e5))),
        postpone_s=draw(spans(most=1e4)),
        max_age_s=draw(spans()),
    )


asked = st.none() | st.floats() | st.integers(-(10**20), 10**20)


@given(policies(), asked, st.randoms(use_true_random=False), st.sampled_from([Retry, Postpone]))
@settings(max_examples=300)
def test_a_message_that_always_fails_is_given_up_after_its_attempts_or_its_age(policy, delay_s, rng, kind):
    """The life of one message: what its attempts, its hops and its clock come to."""
    now, message, sent = NOW, envelope(), 0
    while isinstance(outcome := policy.resolve(kind("x", delay_s), message, now, rng), kind):
        assert 0.0 <= outcome.delay_s <= LONGEST_DELAY_S
        if delay_s is None:
            assert outcome.delay_s <= max(policy.backoff.cap_s, policy.postpone_s)
        sent += 1
        message = replace(
            message,
            attempt=message.attempt + (kind is Retry),
            hop=message.hop + 1,
            first_failed_at=message.first_failed_at or now,
        )
        now += timedelta(seconds=outcome.delay_s + 1.0)
        if kind is Postpone and sent == 30:
            now += timedelta(seconds=policy.max_age_s + 1.0)
    assert isinstance(outcome, Dead)
    assert outcome.reason.endswith(": x")
    if kind is Retry:
        assert sent < policy.attempts
    else:
        assert (now - message.first_failed_at).total_seconds() > policy.max_age_s


@given(st.text() | st.text(st.characters(codec=None)), st.sampled_from([Dead, Retry]))
@settings(max_examples=200)
def test_any_reason_of_a_death_can_be_stored(reason, kind):
    dead = POLICY.resolve(kind(reason), envelope(POLICY.attempts), NOW, Random(1))
    dead.reason.encode("utf-8")
    assert "\x00" not in dead.reason
    assert len(dead.reason) <= MAX_REASON_CHARS


@given(st.text(st.characters(codec=None)), st.floats() | st.text() | st.none() | st.booleans())
@settings(max_examples=200)
def test_any_error_a_handler_raises_is_an_outcome_that_can_be_stored(text, asked):
    error = RuntimeError(text)
    error.retry_after_s = asked
    outcome = outcome_of_error(error)
    outcome.reason.encode("utf-8")
    assert len(outcome.reason) <= MAX_REASON_CHARS
    assert outcome.delay_s is None or 0.0 <= outcome.delay_s <= LONGEST_RETRY_AFTER_S
