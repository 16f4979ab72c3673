"""The same history in the library ``eventsourcing``: an aggregate for each order, an event for each step."""

import time
from collections.abc import Callable
from random import Random
from statistics import median
from typing import Any
from uuid import UUID

from eventsourcing.application import Application
from eventsourcing.domain import Aggregate, event

from benchmarks.programs.job import answer, read_job


class PeerOrder(Aggregate):
    """An order as the library's tutorial would have it."""

    @event("Placed")
    def __init__(self, customer_id: str, currency: str, total_minor: int) -> None:
        self.customer_id, self.currency, self.total_minor = customer_id, currency, total_minor
        self.status, self.data = "placed", {}

    @event("Moved")
    def move(self, status: str, data: dict[str, Any]) -> None:
        """Take a step to a status; the data is what the shop keeps of it."""
        self.status, self.data = status, data


def main() -> None:
    job = read_job()
    where = job["postgres"]
    app = Application[UUID](env={
        "PERSISTENCE_MODULE": "eventsourcing.postgres", "POSTGRES_DBNAME": where["dbname"],
        "POSTGRES_HOST": where["host"], "POSTGRES_PORT": str(where["port"]),
        "POSTGRES_USER": where["user"], "POSTGRES_PASSWORD": where["password"],
    })  # fmt: skip
    orders = [PeerOrder("c-1", "EUR", 2598) for _ in range(job["orders"])]
    steps = job["per_order"] - 1
    for order in orders:
        for _ in range(steps):
            _step(order)
    at_once = max(1, job["batch"] // job["per_order"])
    append_s = _seconds(lambda: [
        app.save(*orders[first : first + at_once]) for first in range(0, len(orders), at_once)
    ])  # fmt: skip
    alone = orders[: job["alone"]]
    for order in alone:
        _step(order)
    alone_s = _seconds(lambda: [app.save(order) for order in alone])
    long = PeerOrder("c-1", "EUR", 2598)
    for _ in range(job["long"] - 1):
        _step(long)
    app.save(long)
    random, looks = Random(1), range(job["looks"])
    at_ms = median(
        1000 * _seconds(lambda: app.repository.get(random.choice(orders).id, version=3)) for _ in looks
    )
    long_ms = median(1000 * _seconds(lambda: app.repository.get(long.id)) for _ in looks)
    answer(
        append=len(orders) * job["per_order"] / append_s, append_alone=len(alone) / alone_s, at=at_ms,
        at_50=long_ms,
    )  # fmt: skip


def _step(order: PeerOrder) -> None:
    order.move("paid", {"capture_id": "cap_0123456789", "amount_minor": 2598, "currency": "EUR"})


def _seconds(call: Callable[[], object]) -> float:
    began_s = time.perf_counter()
    call()
    return time.perf_counter() - began_s


if __name__ == "__main__":
    main()
