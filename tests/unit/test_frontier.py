"""AckFrontier: the fewest acks that hold nobody up (FRT1-FRT3)."""

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, precondition, rule

from ordermq.consumer.frontier import Ack, AckFrontier


def frontier_of(*tags):
    frontier = AckFrontier()
    for tag in tags:
        frontier.delivered(tag)
    return frontier


def test_what_is_finished_without_a_gap_is_one_cumulative_ack():
    frontier = frontier_of(1, 2, 3)
    frontier.finished([2, 1, 3])
    assert frontier.acks() == [Ack(3, multiple=True)]
    assert frontier.unsettled == 0


def test_what_is_finished_above_a_gap_is_acked_alone_and_never_again():
    """FRT2 and FRT3: no ack covers an unfinished tag, and no tag is acked twice."""
    frontier = frontier_of(1, 2, 3)
    frontier.finished([2, 3])
    assert frontier.acks() == [Ack(2, multiple=False), Ack(3, multiple=False)]

    frontier.finished([1, 2])
    assert frontier.acks() == [Ack(1, multiple=True)]


def test_a_returned_delivery_leaves_no_gap():
    frontier = frontier_of(1, 2, 3)
    frontier.returned(1)
    frontier.finished([2, 3])
    assert frontier.acks() == [Ack(3, multiple=True)]


def test_a_slow_handler_does_not_make_the_frontier_grow():
    frontier = frontier_of(1)
    for tag in range(2, 10_000):
        frontier.delivered(tag)
        frontier.finished([tag])
        frontier.acks()
    assert frontier.unsettled == 1


class Subscription(RuleBasedStateMachine):
    """A subscription's deliveries in any order of completion, before a broker that forgives nothing."""

    def __init__(self):
        super().__init__()
        self.frontier = AckFrontier()
        self.last_tag = 0
        self.unacked = set()  # the broker's own account
        self.running = set()
        self.finished = set()

    @rule(count=st.integers(1, 8))
    def deliver(self, count):
        for _ in range(count):
            self.last_tag += 1
            self.frontier.delivered(self.last_tag)
            self.unacked.add(self.last_tag)
            self.running.add(self.last_tag)

    @precondition(lambda self: self.running)
    @rule(data=st.data())
    def finish(self, data):
        tags = data.draw(st.lists(st.sampled_from(sorted(self.running)), min_size=1, max_size=6))
        self.frontier.finished(tags)
        self.running.difference_update(tags)
        self.finished.update(tags)

    @precondition(lambda self: self.finished)
    @rule(data=st.data())
    def report_again(self, data):
        self.frontier.finished([data.draw(st.sampled_from(sorted(self.finished)))])

    @precondition(lambda self: self.running)
    @rule(data=st.data())
    def hand_back(self, data):
        tag = data.draw(st.sampled_from(sorted(self.running)))
        self.frontier.returned(tag)
        self.running.discard(tag)
        self.unacked.remove(tag)

    @rule()
    def ack(self):
        acks = self.frontier.acks()
        assert sum(ack.multiple for ack in acks) <= 1
        for ack in acks:
            assert ack.tag in self.unacked, "406 unknown delivery tag: the broker closes the channel"
            covered = {tag for tag in self.unacked if tag <= ack.tag} if ack.multiple else {ack.tag}
            assert covered <= self.finished, "acked what a worker still has"
            self.unacked -= covered
        assert self.unacked == self.running, "finished, and not acked"
        assert self.frontier.unsettled == len(self.running)

    def teardown(self):
        self.frontier.finished(sorted(self.running, reverse=True))
        self.finished |= self.running
        self.running.clear()
        self.ack()


TestAnyOrderOfCompletion = Subscription.TestCase
TestAnyOrderOfCompletion.settings = settings(max_examples=200)
