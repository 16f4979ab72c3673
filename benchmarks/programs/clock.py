"""How a program measures itself: from warm to done, with nothing left over to collect."""

import gc
import threading
from collections.abc import Callable, Sequence
from itertools import count
from time import perf_counter
from typing import TypeVar

T = TypeVar("T")


def settle() -> None:
    """Take what was made so far out of the collector's sight: it would be walked during the measurement."""
    gc.collect()
    gc.freeze()


def from_threads(threads: int, items: Sequence[T], work: Callable[[T], object]) -> float:
    """Have ``threads`` threads do ``work`` to all ``items``; return the seconds it took, warmed up.

    Each thread does one item of its own before the clock starts. Raises what the first that failed raised.
    """
    failures: list[BaseException] = []
    barrier = threading.Barrier(threads + 1)

    def main(first: int) -> None:
        try:
            work(items[first])
            barrier.wait(60.0)
            for item in items[first + threads :: threads]:
                work(item)
        except BaseException as exc:
            failures.append(exc)
            barrier.abort()

    crew = [threading.Thread(target=main, args=(number,)) for number in range(threads)]
    settle()
    for thread in crew:
        thread.start()
    try:
        barrier.wait(60.0)
    except threading.BrokenBarrierError:
        for thread in crew:
            thread.join()
        raise failures[0] from None
    began = perf_counter()
    for thread in crew:
        thread.join()
    took = perf_counter() - began
    if failures:
        raise failures[0]
    return took


class Tally:
    """Counts what a worker handles: the clock runs from the first to the nth. For any thread."""

    def __init__(self, n: int) -> None:
        self._n = n
        self._numbers = count(1)
        self._began = self._ended = 0.0
        self.done = threading.Event()

    def hit(self) -> None:
        """One was handled, or is about to be."""
        number = next(self._numbers)  # one step of the interpreter: no two threads get the same
        if number == 1:
            self._began = perf_counter()
        if number == self._n:
            self._ended = perf_counter()
            self.done.set()

    def hit_many(self, hits: int) -> None:
        for _ in range(hits):
            self.hit()

    def wait(self, timeout_s: float = 300.0) -> None:
        """Wait for the nth. Raises TimeoutError."""
        if not self.done.wait(timeout_s):
            raise TimeoutError(f"{self.handled} of {self._n} were handled within {timeout_s:.0f} s")

    @property
    def handled(self) -> int:
        return next(self._numbers) - 1

    def seconds(self, *, until_now: bool = False) -> float:
        """Return the time from the first to the nth, or to now."""
        return (perf_counter() if until_now else self._ended) - self._began
