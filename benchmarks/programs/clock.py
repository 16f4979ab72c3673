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

    workers = [threading.Thread(target=main, args=(number,)) for number in range(threads)]
    settle()
    for thread in workers:
        thread.start()
    try:
        barrier.wait(60.0)
    except threading.BrokenBarrierError:
        for thread in workers:
            thread.join()
        raise failures[0] from None
    began = perf_counter()
    for thread in workers:
        thread.join()
    took = perf_counter() - began
    if failures:
        raise failures[0]
    return took


class Tally:
    """Counts what workers handle, in any thread: the clock runs from the first call to the nth done."""

    def __init__(self, n: int) -> None:
        self._n = n
        self._numbers = count(1)
        self._began = self._ended = 0.0
        self.done = threading.Event()

    def begin(self) -> None:
        """A handler was called; only the first time matters."""
        if not self._began:
            self._began = perf_counter()

    def hit(self, hits: int = 1) -> None:
        """So many were handled."""
        for _ in range(hits):
            if next(self._numbers) == self._n:  # one step of the interpreter: no two threads get the same
                self._ended = perf_counter()
                self.done.set()

    def wait(self, timeout_s: float = 120.0, *, is_alive: Callable[[], bool] = lambda: True) -> None:
        """Wait for the nth. Raises TimeoutError, also as soon as a worker is not alive."""
        give_up = perf_counter() + timeout_s
        while not self.done.wait(0.5):
            if perf_counter() > give_up or not is_alive():
                raise TimeoutError(f"only {self.total()} of {self._n} were handled")

    def total(self) -> int:
        """Return how many were handled. For once, at the end."""
        return next(self._numbers) - 1

    def seconds(self, *, until_now: bool = False) -> float:
        """Return the time from the first call to the nth that was done, or to now."""
        return (perf_counter() if until_now else self._ended) - self._began
