"""For how long messages wait in a queue of which nothing is taken."""

from ordermq.cli.queue_watch import WaitingTimes


def test_a_queue_with_messages_and_no_consumer_waits_since_it_was_seen_to_have_some():
    times = WaitingTimes()
    assert times.note("q", 5, None, 100.0) == 0.0
    assert times.note("q", 5, None, 130.0) == 30.0


def test_a_message_that_is_taken_ends_the_wait():
    times = WaitingTimes()
    times.note("q", 5, 3.0, 100.0)
    assert times.note("q", 5, 2.0, 130.0) == 2.0
    assert times.note("q", 5, 17.0, 145.0) == 17.0


def test_an_empty_queue_does_not_wait():
    times = WaitingTimes()
    times.note("q", 5, None, 100.0)
    assert times.note("q", 0, None, 130.0) == 0.0
    assert times.note("q", 1, None, 160.0) == 0.0
