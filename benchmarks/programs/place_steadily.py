"""Customers who come when they like: ``rate`` orders a second by chance, however long the shop takes.

Answers when each order was committed, in seconds since 1970.
"""

import threading
import time
from random import Random

from benchmarks.programs.job import answer, worker_job
from benchmarks.programs.placing import taker_of
from ordermq.shop import Order
from ordermq.shop.intake.generate import generate

THREADS = 4  # enough that no customer waits for the one before


class Customers:
    """Orders with the times at which they are due."""

    def __init__(self, orders: list[Order], rate: float, seed: int) -> None:
        random = Random(seed)
        due_s, self._due = time.monotonic() + 0.2, []
        for order in orders:
            due_s += random.expovariate(rate)
            self._due.append((due_s, order))
        self._due.reverse()
        self._lock = threading.Lock()
        self.committed: dict[str, float] = {}

    def come(self, job: dict[str, object]) -> None:
        """Place what is due until none is left; the main of each thread."""
        taker = taker_of(job)
        while True:
            with self._lock:
                if not self._due:
                    return
                due_s, order = self._due.pop()
            time.sleep(max(0.0, due_s - time.monotonic()))
            taker.place([order])
            self.committed[order.order_id] = time.time()
            taker.send([order])


def main() -> None:
    job = worker_job()
    customers = Customers(list(generate(job["count"], job["seed"])), job["rate"], job["seed"])
    threads = [threading.Thread(target=customers.come, args=(job,)) for _ in range(THREADS)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    answer(committed=customers.committed)


if __name__ == "__main__":
    main()
