"""Waiting for something to become true, with a deadline instead of a sleep."""

import time
from collections.abc import Callable
from typing import TypeVar

from ordermq.clock import Deadline

T = TypeVar("T")


def wait_until(predicate: Callable[[], T], timeout_s: float, *, what: str = "", every_s: float = 0.02) -> T:
    """Call ``predicate`` until it returns something true, and return that.

    Blocks at most about ``timeout_s`` plus one call. Raises TimeoutError naming
    ``what`` and the last value. What the predicate raises passes through: a
    predicate that may fail for a while says so by returning False.
    """
    deadline = Deadline(timeout_s)
    while True:
        value = predicate()
        if value:
            return value
        if deadline.has_passed:
            name = what or getattr(predicate, "__qualname__", repr(predicate))
            raise TimeoutError(f"not within {timeout_s:g} s: {name} (last value: {value!r})")
        time.sleep(min(every_s, deadline.left_s))
