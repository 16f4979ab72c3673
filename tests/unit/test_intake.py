"""What a worker takes out of the intake, and what a probe takes."""

import time
from concurrent.futures import ThreadPoolExecutor, wait

from ordermq.consumer.intake import Intake
from ordermq.message import Properties
from ordermq.message.envelope import Delivery
from ordermq.message.headers import HOP


def a_delivery(tag, hop=None):
    headers = {} if hop is None else {HOP: hop}
    return Delivery(tag, 1, "orders", "payment", False, Properties(headers=headers), b"{}")


def an_intake(*hops):
    """An intake in which deliveries with tags 1, 2 ... wait, sent again so many times."""
    intake = Intake()
    intake.put(a_delivery(tag, hop) for tag, hop in enumerate(hops, start=1))
    return intake


def tags(deliveries):
    return [each.tag for each in deliveries]


def test_a_worker_takes_the_oldest_first_and_no_more_than_it_asked_for():
    intake = an_intake(5, 0, 1)
    assert tags(intake.take(2)) == [1, 2]
    assert tags(intake.take(2)) == [3]


def test_a_probe_is_what_was_sent_again_least_and_of_those_the_oldest():
    """EXT5: the likeliest never to have failed."""
    intake = an_intake(7, 1, 0, None, 0)
    assert [tags(intake.take_freshest()) for _ in range(5)] == [[3], [4], [5], [2], [1]]


def test_a_probe_is_taken_whatever_stands_in_the_header():
    intake = an_intake("many", -1, 2**40, 3)
    assert sorted(tags(intake.take_freshest())[0] for _ in range(4)) == [1, 2, 3, 4]


def test_a_worker_that_waits_for_a_probe_returns_empty_when_woken_and_when_closed():
    intake = an_intake()
    intake.wake()
    assert intake.take_freshest() == []
    intake.put([a_delivery(1)])
    assert tags(intake.close()) == [1]
    assert intake.take_freshest() == []


def test_what_is_drained_is_not_taken_and_what_was_taken_is_not_drained():
    """INT1: a delivery is taken by one worker, or drained, never both."""
    intake = an_intake(0, 0, 0)
    assert tags(intake.take(1)) == [1]
    assert tags(intake.drain()) == [2, 3]
    assert intake.drain() == []


def test_after_it_was_closed_nothing_is_taken_and_the_rest_is_handed_back_once():
    """INT2."""
    intake = an_intake(0, 0)
    assert tags(intake.close()) == [1, 2]
    intake.put([a_delivery(3)])
    assert (intake.take(1), intake.take_freshest()) == ([], [])


def test_what_one_worker_leaves_behind_wakes_the_next():
    """INT3: while a delivery waits, a worker is awake or has been woken."""
    intake = an_intake()
    with ThreadPoolExecutor(4) as workers:
        taken = [workers.submit(intake.take, 2) for _ in range(3)]
        probe = workers.submit(intake.take_freshest)
        while len(intake._changed._waiters) < 4:
            time.sleep(0.01)
        intake.put(a_delivery(tag) for tag in range(1, 9))
        try:
            wait([*taken, probe], timeout=5)
        finally:
            intake.close()
    found = [*(tags(each.result()) for each in taken), tags(probe.result())]
    assert sorted(len(each) for each in found) == [1, 2, 2, 2]
    assert len({tag for each in found for tag in each}) == 7


def test_while_it_is_held_nothing_is_taken_and_what_waits_stays_in_its_order():
    """INT4"""
    intake = an_intake(2, 0)
    intake.hold()
    with ThreadPoolExecutor(1) as pool:
        taken = pool.submit(intake.take, 5)
        assert not wait([taken], 0.05).done
        intake.put([a_delivery(3)])
        assert not wait([taken], 0.05).done
        intake.wake()  # a thread with something else to do gets nothing
        assert taken.result(5) == []
        taken = pool.submit(intake.take_freshest)
        assert not wait([taken], 0.05).done
        intake.release()
        assert tags(taken.result(5)) == [2]
    assert tags(intake.take(5)) == [1, 3]


def test_what_is_held_is_handed_back_at_the_end():
    intake = an_intake(0, 0)
    intake.hold()
    assert tags(intake.close()) == [1, 2]
    assert intake.take(5) == []
