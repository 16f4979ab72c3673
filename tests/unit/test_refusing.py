"""Queues that refuse: the table of the module."""

from random import Random

from ordermq.backoff import Backoff
from ordermq.message.envelope import Envelope
from ordermq.refusing import SAY_EVERY_S, RefusingQueues
from ordermq.store.outbox import ClaimedRow
from ordermq.store.outgoing import OutboxRow

BACKOFF = Backoff(1.0, 60.0)


def row(outbox_id, key="q", correlation_id="", refusals=0):
    envelope = Envelope(
        message_id=str(outbox_id), type="T", version=1, correlation_id=correlation_id, traceparent="",
        occurred_at=None,
    )  # fmt: skip
    return ClaimedRow(outbox_id, refusals, OutboxRow(key, envelope, b"{}"))


def refuse(queues, *rows, confirmed=None, now_s=0.0):
    queues.note(confirmed or {}, [(each, BACKOFF, "returned") for each in rows], now_s)


def ids(rows):
    return [each.outbox_id for each in rows]


def test_a_queue_that_refuses_is_held_and_the_others_have_all_their_rows_tried():
    """RFQ1, RFQ2."""
    queues = RefusingQueues(Random(1))
    refuse(queues, row(1), row(2))
    assert ids(queues.admitted([row(3), row(4, "r"), row(5, "r")])) == [4, 5]
    assert queues.crowded([row(3), row(4, "r")]) == {"q"}


def test_a_row_that_must_wait_holds_back_the_later_ones_of_its_correlation_id():
    queues = RefusingQueues(Random(1))
    refuse(queues, row(1))
    rows = [row(5, "r", "a"), row(2, "r", "a"), row(3, "q", "a"), row(4, "r", "b")]
    assert ids(queues.admitted(rows)) == [2, 4]


def test_after_its_backoff_one_row_is_tried_and_four_times_as_many_while_they_are_taken():
    queues = RefusingQueues(Random(1))
    refuse(queues, row(1), row(2))
    assert queues.due(1.1) == [("q", 1)]
    assert not queues.released("q", 1, 1.1)
    assert queues.due(1.2) == []
    for expected in (4, 16, 64):
        queues.note({"q": 1}, [], 2.0)
        assert queues.due(2.0) == [("q", expected)]
        queues.released("q", expected, 2.0)
        assert len(queues.admitted([row(n) for n in range(1000)])) == expected
    queues.note({"q": 64}, [], 3.0)
    assert queues.released("q", 0, 3.0)  # none waits any more
    assert not queues


def test_a_queue_whose_rows_all_wait_for_others_is_looked_at_again():
    queues = RefusingQueues(Random(1), {"q": "returned"})
    assert not queues.released("q", 0, 0.0, is_left=True)
    assert queues.due(4.0) == []
    assert queues.due(6.0) == [("q", 1)]
    assert queues.released("q", 0, 6.0)


def test_no_more_rows_are_tried_at_once_than_the_most():
    queues = RefusingQueues(Random(1), {"q": "returned"}, most_room=10)
    for _ in range(3):
        queues.note({"q": 1}, [], 0.0)
    assert queues.due(0.0) == [("q", 10)]


def test_the_backoff_grows_until_a_row_is_taken():
    waits = []
    for failures in range(1, 9):
        longest_s = 0.0
        for seed in range(50):
            queues = RefusingQueues(Random(seed))
            for _ in range(failures):
                refuse(queues, row(1))
            longest_s = max(longest_s, next(t / 10 for t in range(700) if queues.due(t / 10)))
        waits.append(longest_s)
    assert waits[:5] == sorted(waits[:5])
    assert waits[-1] > 50.0


def test_one_row_that_is_refused_for_itself_holds_no_queue_that_takes_others():
    queues = RefusingQueues(Random(1))
    refuse(queues, row(1), confirmed={"q": 3})
    refuse(queues, row(1, refusals=1))
    assert not queues
    refuse(queues, row(1, refusals=1), row(2, refusals=1))
    assert queues


def test_one_line_stands_for_all_refusals_of_an_interval():
    queues = RefusingQueues(Random(1))
    assert queues.to_say("q", 2000, 0.0) == 2000
    assert [queues.to_say("q", 1, t) for t in (1.0, 2.0, SAY_EVERY_S - 1)] == [0, 0, 0]
    assert queues.to_say("q", 1, SAY_EVERY_S + 1) == 4
    assert queues.to_say("r", 1, 1.0) == 1
