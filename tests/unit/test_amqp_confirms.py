"""ConfirmTracker: every publishing resolves exactly once (C1-C4)."""

import random
from collections import Counter
from dataclasses import dataclass

from ordermq.amqp.confirms import ConfirmTracker, Fate


@dataclass(frozen=True)
class Message:
    number: int
    key: str


def publish(tracker, *keys):
    """Publish one message per key; return them."""
    messages = [Message(number, key) for number, key in enumerate(keys, 1)]
    assert [tracker.published(message) for message in messages] == [each.number for each in messages]
    return messages


def fates(resolved):
    return [(message.number, fate) for message, fate, _ in resolved]


def test_a_multiple_ack_confirms_everything_up_to_its_tag():
    tracker = ConfirmTracker()
    publish(tracker, "a", "b", "c")

    assert fates(tracker.confirm(2, multiple=True)) == [(1, Fate.CONFIRMED), (2, Fate.CONFIRMED)]
    assert tracker.pending == 1
    assert tracker.oldest.key == "c"


def test_acks_out_of_order_resolve_each_its_own():
    # As RabbitMQ sends them: unroutable ones first and single, the rest in one frame.
    tracker = ConfirmTracker()
    publish(tracker, "a", "b", "c", "d")

    assert fates(tracker.confirm(3, multiple=False)) == [(3, Fate.CONFIRMED)]
    assert fates(tracker.confirm(4, multiple=True)) == [
        (1, Fate.CONFIRMED),
        (2, Fate.CONFIRMED),
        (4, Fate.CONFIRMED),
    ]
    assert tracker.pending == 0
    assert tracker.oldest is None


def test_a_returned_publishing_is_not_reported_confirmed():
    tracker = ConfirmTracker()
    [message] = publish(tracker, "a")

    tracker.returned("a", "312 NO_ROUTE")

    assert tracker.confirm(1, multiple=False) == [(message, Fate.RETURNED, "312 NO_ROUTE")]


def test_a_nack_of_many_is_a_nack_of_each():
    tracker = ConfirmTracker()
    publish(tracker, "a", "b")

    assert fates(tracker.confirm(2, multiple=True, nack=True)) == [(1, Fate.NACKED), (2, Fate.NACKED)]


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

    assert fates(tracker.confirm(2, multiple=False)) == [(2, Fate.CONFIRMED)]
    assert fates(tracker.confirm(1, multiple=False)) == [(1, Fate.RETURNED)]


def test_any_order_of_confirms_and_returns_resolves_each_publishing_once():
    for seed in range(300):
        rng = random.Random(seed)
        tracker, seen = ConfirmTracker(), []
        messages = publish(tracker, *(rng.choice("abcdefgh") for _ in range(50)))
        unroutable = {key for key in "abcdefgh" if rng.random() < 0.4}
        waiting = list(messages)
        rng.shuffle(waiting)
        returned = set()
        for message in waiting:
            multiple = rng.random() < 0.3
            # A return comes before the ack that covers it (C3).
            for each in messages:
                covered = each.number <= message.number if multiple else each is message
                if covered and each.key in unroutable and each.number not in returned:
                    returned.add(each.number)
                    tracker.returned(each.key, "no route")
            seen += tracker.confirm(message.number, multiple=multiple)

        assert Counter(message.number for message, _, _ in seen) == Counter(range(1, 51)), f"seed {seed}"
        for message, fate, _ in seen:
            assert fate is (Fate.RETURNED if message.key in unroutable else Fate.CONFIRMED), f"seed {seed}"
