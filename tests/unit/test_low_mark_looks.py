"""When a claim looks below the low mark (LOW1)."""

from ordermq.store.low_mark import LOOK_EVERY_S, LowMark


def looks(mark, now_s):
    return mark.params(now_s)[-1]


def test_the_first_claim_looks_below_and_then_one_each_second():
    mark = LowMark()
    assert looks(mark, 100.0)
    mark.claimed(100.0, 100.0)
    assert not looks(mark, 100.0 + 0.9 * LOOK_EVERY_S)
    mark.claimed(100.5, 130.0)  # a claim that did not look below may take as long as it likes
    assert looks(mark, 100.0 + LOOK_EVERY_S)


def test_looks_that_take_long_come_seldom_and_never_end():
    mark = LowMark()
    mark.claimed(100.0, 100.5)
    assert not looks(mark, 150.0)
    assert looks(mark, 150.6)


def test_the_mark_is_what_the_last_claim_returned():
    mark = LowMark()
    mark.move("low", "next", "7")
    assert (mark.low, mark.params(0.0)[:-1]) == ("low", ("low", "next", "7"))
