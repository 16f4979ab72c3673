"""ConfirmTracker: every publishing resolves exactly once (CNF1-CNF4)."""

from collections import Counter
from dataclasses import dataclass

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from ordermq.amqp.confirms import ConfirmTracker, PublishOutcome


@dataclass(frozen=True)
class Message:
    number: int
    key: str


def publish(tracker, *keys):
    """Publish one message per key; return them."""
    messages = [Message(number, key) for number, key in enumerate(keys, 1)]
    assert [tracker.published(message) for message in messages] == [each.number for each in messages]
    return messages


def outcomes(resolved):
    return [(message.number, outcome) for message, outcome, _ in resolved]


def test_a_multiple_ack_confirms_everything_up_to_its_tag():
    tracker = ConfirmTracker()
    publish(tracker, "a", "b", "c")

    assert outcomes(tracker.confirm(2, multiple=True)) == [
        (1, PublishOutcome.CONFIRMED),
        (2, PublishOutcome.CONFIRMED),
    ]
    assert tracker.pending == 1
    assert tracker.oldest.key == "c"


def test_acks_out_of_order_resolve_each_its_own():
    # As RabbitMQ sends them: unroutable ones first and single, the rest in one frame.
    tracker = ConfirmTracker()
    publish(tracker, "a", "b", "c", "d")

    assert outcomes(tracker.confirm(3, multiple=False)) == [(3, PublishOutcome.CONFIRMED)]
    assert outcomes(tracker.confirm(4, multiple=True)) == [
        (1, PublishOutcome.CONFIRMED),
        (2, PublishOutcome.CONFIRMED),
        (4, PublishOutcome.CONFIRMED),
    ]
    assert tracker.pending == 0
    assert tracker.oldest is None


def test_a_returned_publishing_is_not_reported_confirmed():
    tracker = ConfirmTracker()
    [message] = publish(tracker, "a")

    tracker.returned("a", "312 NO_ROUTE")

    assert tracker.confirm(1, multiple=False) == [(message, PublishOutcome.RETURNED, "312 NO_ROUTE")]


def test_a_nack_of_many_is_a_nack_of_each():
    tracker = ConfirmTracker()
    publish(tracker, "a", "b")

    assert outcomes(tracker.confirm(2, multiple=True, nack=True)) == [
        (1, PublishOutcome.NACKED),
        (2, PublishOutcome.NACKED),
    ]


def test_a_nack_of_one_copy_is_not_taken_for_the_return_of_another():
    tracker = ConfirmTracker()
    publish(tracker, "a", "a")
    tracker.returned("a", "no route")

    assert outcomes(tracker.confirm(2, multiple=False, nack=True)) == [(2, PublishOutcome.NACKED)]
    assert outcomes(tracker.confirm(1, multiple=False)) == [(1, PublishOutcome.RETURNED)]


def test_a_confirm_of_a_tag_that_is_settled_or_unknown_resolves_nothing():
    tracker = ConfirmTracker()
    publish(tracker, "a")
    tracker.confirm(1, multiple=False)

    assert tracker.confirm(1, multiple=False) == []
    assert tracker.confirm(9, multiple=False) == []
    assert tracker.confirm(9, multiple=True) == []


def test_what_is_in_flight_when_the_channel_dies_is_given_back_oldest_first():
    tracker = ConfirmTracker()
    messages = publish(tracker, "a", "b")

    assert tracker.abandon() == messages
    assert tracker.pending == 0
    assert tracker.abandon() == []


def test_a_late_return_does_not_mark_a_later_publishing_of_another_key():
    tracker = ConfirmTracker()
    publish(tracker, "a", "b")
    tracker.returned("a", "no route")

    assert outcomes(tracker.confirm(2, multiple=False)) == [(2, PublishOutcome.CONFIRMED)]
    assert outcomes(tracker.confirm(1, multiple=False)) == [(1, PublishOutcome.RETURNED)]


class Broker(RuleBasedStateMachine):
    """Publishings of one channel after the other, and a broker that confirms and returns them in any order.

    CNF2: each publishing is resolved exactly once.

    ``written`` and the rest are the model of one channel, by tag. Of publishings with the same
    key each has an outcome of its own: a binding may come or go between them.
    """

    def __init__(self):
        super().__init__()
        self.resolved = Counter()
        self.numbers = 0
        self.open_channel()

    def open_channel(self):
        self.tracker = ConfirmTracker()
        self.written = {}
        self.unconfirmed = {}  # tag -> whether a queue takes it
        self.returned = set()  # tags
        self.told = Counter()  # (key, outcome): what the broker has said
        self.heard = Counter()  # (key, outcome): what the tracker has made of it

    @rule(key=st.sampled_from("abcd"), is_routable=st.booleans())
    def publish(self, key, is_routable):
        self.numbers += 1
        message = Message(self.numbers, key)
        tag = self.tracker.published(message)
        assert tag == len(self.written) + 1
        self.written[tag] = message
        self.unconfirmed[tag] = is_routable

    @precondition(lambda self: self.unconfirmed)
    @rule(data=st.data(), multiple=st.booleans())
    def ack(self, data, multiple):
        tag = data.draw(st.sampled_from(sorted(self.unconfirmed)))
        covered = self.covered(tag, multiple)
        for each in self.unroutable():  # a return comes before the ack that covers it (CNF3)
            if each in covered:
                self.return_(each)
        self.hear(covered, self.tracker.confirm(tag, multiple=multiple), PublishOutcome.CONFIRMED)

    @precondition(lambda self: any(self.unconfirmed.values()))
    @rule(data=st.data())
    def nack(self, data):
        tag = data.draw(st.sampled_from(sorted(tag for tag, taken in self.unconfirmed.items() if taken)))
        self.hear([tag], self.tracker.confirm(tag, multiple=False, nack=True), PublishOutcome.NACKED)

    @precondition(lambda self: self.unroutable())
    @rule(data=st.data())
    def return_long_before_the_ack(self, data):
        self.return_(data.draw(st.sampled_from(self.unroutable())))

    @rule(ahead=st.integers(1, 5))
    def confirm_what_was_never_written(self, ahead):
        assert self.tracker.confirm(len(self.written) + ahead, multiple=False) == []

    @precondition(lambda self: len(self.written) > len(self.unconfirmed))
    @rule(data=st.data())
    def confirm_again(self, data):
        tag = data.draw(st.sampled_from(sorted(self.written.keys() - self.unconfirmed.keys())))
        assert self.tracker.confirm(tag, multiple=False) == []

    @rule()
    def lose_the_channel(self):
        lost = self.tracker.abandon()
        assert lost == [self.written[tag] for tag in sorted(self.unconfirmed)]
        self.resolved.update(message.number for message in lost)
        self.open_channel()

    @invariant()
    def what_is_pending_is_what_the_broker_owes(self):
        assert self.tracker.pending == len(self.unconfirmed)
        oldest = self.written[min(self.unconfirmed)] if self.unconfirmed else None
        assert self.tracker.oldest == oldest

    @invariant()
    def no_more_is_confirmed_than_the_broker_has_taken(self):
        for key in "abcd":
            assert self.heard[key, PublishOutcome.CONFIRMED] <= self.told[key, PublishOutcome.CONFIRMED]
            assert self.heard[key, PublishOutcome.NACKED] == self.told[key, PublishOutcome.NACKED]
            assert self.heard[key, PublishOutcome.RETURNED] <= self.told[key, PublishOutcome.RETURNED]

    def teardown(self):
        if self.unconfirmed:
            last = max(self.unconfirmed)
            for tag in self.unroutable():
                self.return_(tag)
            self.hear(
                sorted(self.unconfirmed), self.tracker.confirm(last, multiple=True), PublishOutcome.CONFIRMED
            )
        assert self.resolved == Counter(range(1, self.numbers + 1)), "an outcome each, and only one"
        assert self.heard == self.told, "of one key as many of each outcome as the broker said"

    def covered(self, tag, multiple):
        return [each for each in sorted(self.unconfirmed) if each == tag or (multiple and each < tag)]

    def unroutable(self):
        """What is still to be returned."""
        return [tag for tag, taken in self.unconfirmed.items() if not taken and tag not in self.returned]

    def return_(self, tag):
        self.returned.add(tag)
        self.told[self.written[tag].key, PublishOutcome.RETURNED] += 1
        self.tracker.returned(self.written[tag].key, "no route")

    def hear(self, covered, resolved, outcome):
        assert [message for message, _, _ in resolved] == [self.written[tag] for tag in covered]
        for tag in covered:
            if self.unconfirmed.pop(tag):
                self.told[self.written[tag].key, outcome] += 1
        for message, heard, reason in resolved:
            self.resolved[message.number] += 1
            self.heard[message.key, heard] += 1
            assert bool(reason) is (heard is PublishOutcome.RETURNED)


TestAnyOrderOfConfirmsAndReturns = Broker.TestCase
TestAnyOrderOfConfirmsAndReturns.settings = settings(max_examples=200)
