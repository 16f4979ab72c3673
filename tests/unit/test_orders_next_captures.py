"""The keys of an order's captures, one after another."""

import pytest

from ordermq.shop.captures import next_key
from ordermq.shop.payments import new_key


@pytest.mark.parametrize("first", [new_key("shop", "A-1"), new_key("shop", "2"), "capture:A-1.2"])
def test_each_capture_of_an_order_has_a_key_of_its_own(first):
    # CAP2
    keys = [first]
    for number in range(1, 30):
        keys.append(next_key(keys[-1], number))
    assert keys[1:12] == [f"{first}:{number}" for number in range(2, 13)]
    assert len(set(keys)) == 30
