"""AckFrontier: the fewest acks that hold nobody up (F1-F3)."""

import random

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


def test_no_order_of_completion_acks_an_unfinished_delivery_or_one_twice():
    for seed in range(200):
        rng = random.Random(seed)
        tags = list(range(1, 60))
        frontier, done, acked = frontier_of(*tags), set(), set()
        rng.shuffle(tags)
        while tags:
            chunk = [tags.pop() for _ in range(min(len(tags), rng.randint(1, 7)))]
            frontier.finished(chunk)
            done.update(chunk)
            for ack in frontier.acks():
                covered = set(range(1, ack.tag + 1)) - acked if ack.multiple else {ack.tag}
                assert covered <= done, f"seed {seed}"
                assert ack.tag not in acked, f"seed {seed}"
                acked |= covered
        assert acked == set(range(1, 60)), f"seed {seed}"
        assert frontier.unsettled == 0
