"""What an order costs beside its items is split over the lines without losing or making a cent."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ordermq.shop.split import shares, worth

AMOUNT = st.integers(0, 10**9)
LINES = st.lists(AMOUNT, min_size=1, max_size=20)


@pytest.mark.parametrize(
    ("own_minor", "adjustments_minor", "expected"),
    [
        ([1000, 500], 0, [1000, 500]),
        ([1000, 500], -150, [900, 450]),
        ([1000, 1000, 1000], -100, [966, 967, 967]),  # of equal remainders the lower line gets the cent
        ([1000, 1000, 1000], 200, [1067, 1067, 1066]),
        ([999, 1], -500, [499, 1]),
        ([0, 0, 0], 500, [167, 167, 166]),
        ([0, 700], 490, [0, 1190]),
        ([1000, 500], -1500, [0, 0]),
    ],
)
def test_adjustments_go_to_lines_by_their_amounts_and_the_largest_remainder(
    own_minor: list[int], adjustments_minor: int, expected: list[int]
) -> None:
    assert shares(own_minor, adjustments_minor) == expected


@given(own_minor=LINES, data=st.data())
def test_shares_add_up_to_the_total_and_none_is_below_0(own_minor: list[int], data: st.DataObject) -> None:
    adjustments_minor = data.draw(st.integers(-sum(own_minor), 10**9))
    found = shares(own_minor, adjustments_minor)
    assert sum(found) == sum(own_minor) + adjustments_minor
    assert min(found) >= 0
    if adjustments_minor <= 0:
        assert all(share <= own for share, own in zip(found, own_minor, strict=True))


@given(share_minor=AMOUNT, refunds=st.lists(st.integers(1, 50), min_size=1, max_size=20))
def test_the_units_of_a_line_are_worth_its_share_however_they_come_back(
    share_minor: int, refunds: list[int]
) -> None:
    before, worths = 0, []
    for units in refunds:
        worths.append(worth(share_minor, units, of=sum(refunds), before=before))
        before += units
    assert sum(worths) == share_minor
    assert min(worths) >= 0
