"""run_handler() and a consumer make the same of what a handler raises and returns."""

import sys

import pytest

from ordermq.errors import GatewayRefused, GatewayUnavailable, HandlerMisbehaved, OutcomeUnknown
from ordermq.task import (
    DONE,
    Dead,
    DeliveryInfo,
    ExternalHandler,
    Postpone,
    Registry,
    Retry,
    RetryOptions,
    external,
    handler,
)
from ordermq.task.handler import handlers_in
from ordermq.testing import run_handler, wait_until
from tests.support.probe import Probe
from tests.support.runtime import probes


class Busy(Exception):
    """Named in ``retryable``."""


class Wrong(Exception):
    """Named in ``fatal``."""


class Strange(Exception):
    """Named nowhere."""


OPTIONS = RetryOptions(retryable=(Busy,), fatal=(Wrong,), base_s=60.0, cap_s=60.0)


def registry_of(offered):
    return Registry(handlers_in({"": offered}))


def settled(rig, queue):
    """Return what a consumer made of the one message: its kind and the reason."""

    def rows():
        return [
            *rig.rows("SELECT 'retry', last_error FROM ordermq.outbox WHERE attempt > 1"),
            *rig.rows("SELECT 'postpone', last_error FROM ordermq.outbox WHERE attempt = 1"),
            *rig.rows("SELECT 'dead', reason FROM ordermq.dead_letters"),
            *rig.rows("SELECT 'done', '' FROM ordermq.inbox WHERE outcome = 'done'"),
        ]

    [row] = wait_until(rows, 20, what=f"an outcome on {queue}")
    return row


def in_words(outcome):
    return (type(outcome).__name__.lower(), getattr(outcome, "reason", ""))


def ends(error):
    if isinstance(error, SystemExit):
        sys.exit(error.code)
    raise error


@pytest.mark.parametrize(
    ("error", "kind"),
    [(Busy("later"), Retry), (Wrong("never"), Dead), (Strange("what"), Retry), (SystemExit(3), Retry)],
)
def test_what_a_plain_handler_raises_is_the_outcome_that_a_consumer_settles(rig, error, kind):
    @handler(queue="single", message=Probe, key="order_id", retry=OPTIONS)
    def raising(message, tx):
        ends(error)

    ran = run_handler(raising, *probes(1), session=rig.session)
    rig.publish("single", *probes(1))
    rig.consumer("single", registry=registry_of(raising))

    assert [str(each) for each in ran.errors] == [str(error)]
    assert [in_words(each) for each in ran.outcomes] == [settled(rig, "single")]
    assert ran.outcomes == [kind(f"{type(error).__name__}: {error}")]


@pytest.mark.parametrize("returned", [[DONE, DONE], [], None, ["done"], [Retry(1)]])
def test_a_wrong_answer_is_raised_where_a_consumer_retries_with_the_same_words(rig, returned):
    @handler(queue="batch", message=Probe, key="order_id", batch=10, retry=OPTIONS)
    def miscounting(messages, tx):
        return returned

    with pytest.raises(HandlerMisbehaved) as caught:
        run_handler(miscounting, *probes(1), session=rig.session)
    rig.publish("batch", *probes(1))
    rig.consumer("batch", registry=registry_of(miscounting))

    assert settled(rig, "batch") == ("retry", f"HandlerMisbehaved: {caught.value}")


@pytest.mark.parametrize(
    ("error", "type_", "kind"),
    [
        (Busy("later"), GatewayUnavailable, "postpone"),
        (Wrong("never"), GatewayRefused, "dead"),
        (Strange("what"), OutcomeUnknown, "retry"),
        (SystemExit(3), OutcomeUnknown, "retry"),
        (GatewayRefused("no such card"), GatewayRefused, "dead"),
    ],
)
def test_complete_is_handed_what_a_consumer_hands_it_when_a_call_raises(rig, error, type_, kind):
    handed = []

    @external(queue="call", message=Probe, key="order_id", retry=OPTIONS)
    class Raising(ExternalHandler):
        def prepare(self, claims, tx):
            return [each.message for each in claims]

        def call(self, request):
            ends(error)

        def complete(self, finished, tx):
            handed.extend(each.result for each in finished)
            return [_answer(each.result) for each in finished]

    ran = run_handler(Raising(), *probes(1), session=rig.session)
    rig.publish("call", *probes(1))
    rig.consumer("call", registry=registry_of(Raising))
    expected = settled(rig, "call")

    assert [type(each) for each in handed] == [type_, type_]
    assert str(handed[0]) == str(handed[1])
    assert ran.results == handed[:1]
    assert [in_words(each) for each in ran.outcomes] == [expected]
    assert expected[0] == kind


def _answer(result):
    match result:
        case GatewayUnavailable():
            return Postpone(str(result), 60.0)
        case GatewayRefused():
            return Dead(str(result))
        case _:
            return Retry(str(result), 60.0)


def test_one_of_a_batch_that_raises_costs_its_neighbours_nothing(rig):
    @handler(queue="batch", message=Probe, key="order_id", batch=10)
    def picky(messages, tx):
        for message in messages:
            if message.do == "raise":
                raise Strange(message.order_id)
        tx.execute_values("INSERT INTO effects VALUES %s", [(each.order_id, "batch") for each in messages])
        return [Postpone("soon") if each.do == "wait" else DONE for each in messages]

    messages = [*probes(2), *probes(1, "raise", 2), *probes(1, "wait", 3), *probes(1, start=4)]
    ran = run_handler(picky, *messages, session=rig.session, commit=True)

    assert ran.outcomes == [DONE, DONE, Retry("Strange: o00002"), Postpone("soon"), DONE]
    assert rig.effects("batch") == ["o00000", "o00001", "o00004"]


def test_a_constraint_that_is_checked_at_the_commit_fails_the_handler_although_nothing_is_committed(rig):
    with rig.session.transaction() as tx:
        tx.execute("CREATE TABLE once (n int UNIQUE DEFERRABLE INITIALLY DEFERRED)")

    @handler(queue="single", message=Probe, key="order_id")
    def twice(message, tx):
        tx.write_values("INSERT INTO once VALUES %s", [(1,), (1,)])
        return DONE

    [outcome] = run_handler(twice, *probes(1), session=rig.session).outcomes
    assert isinstance(outcome, Dead)
    assert outcome.reason.startswith("DataRefused")


def test_what_the_check_raises_reaches_the_test(rig):
    @handler(queue="single", message=Probe, key="order_id")
    def fine(message, tx):
        return DONE

    def refuses(tx):
        raise AssertionError("not what was expected")

    with pytest.raises(AssertionError, match="not what was expected"):
        run_handler(fine, *probes(1), session=rig.session, check=refuses)


def test_the_check_is_made_also_if_nothing_would_be_committed(rig):
    @handler(queue="single", message=Probe, key="order_id")
    def undecided(message, tx):
        tx.write("INSERT INTO effects VALUES ('x', 'single')")
        return Retry("later")

    seen = []
    run_handler(
        undecided, *probes(1), session=rig.session,
        check=lambda tx: seen.append(tx.fetch_all("SELECT FROM effects")),
    )  # fmt: skip
    assert seen == [[]]


@pytest.mark.parametrize("batch", [0, 10])
def test_a_handler_that_asks_gets_the_context_of_its_message(rig, batch):
    seen = []

    @handler(queue="single", message=Probe, key="order_id")
    def single(message, tx, delivery: DeliveryInfo):
        seen.append(delivery)

    @handler(queue="batch", message=Probe, key="order_id", batch=10)
    def many(messages, tx, deliveries):
        seen.extend(deliveries)
        return [DONE] * len(messages)

    run_handler(many if batch else single, *probes(2), session=rig.session, attempt=3, replay_no=1)
    assert [(each.message_id, each.attempt, each.hop) for each in seen] == [
        ("test:0", 3, 2),
        ("test:1", 3, 2),
    ]
    assert all(each.is_replayed and each.first_failed_at for each in seen)
    assert all(0 < each.deadline.left_s < 3600 for each in seen)


def test_a_consumer_gives_the_context_to_a_handler_that_asks(rig):
    seen = []

    @handler(queue="single", message=Probe, key="order_id")
    def single(message, tx, delivery: DeliveryInfo):
        seen.append(delivery)

    @handler(queue="batch", message=Probe, key="order_id", batch=10)
    def many(messages, tx, deliveries):
        seen.extend(deliveries)
        return [DONE] * len(messages)

    for queue, offered in (("single", single), ("batch", many)):
        rig.publish(queue, *probes(1), attempt=3, hop=4, replay_no=1)
        rig.consumer(queue, registry=registry_of(offered), handler_deadline_s=60.0)
    wait_until(lambda: len(seen) == 2, 20, what="both handlers")

    for info in seen:
        assert (info.message_id, info.correlation_id) == ("o00000", "o00000")
        assert (info.attempt, info.hop, info.replay_no, info.is_replayed) == (3, 4, 1, True)
        assert 0 < info.deadline.left_s <= 60.0
        assert info.traceparent
