"""What a customer waits for: one order, written and committed in the caller's own transaction.

``how`` is ``ordermq`` (``place_order``) or ``bare`` (the order's row and its items, no event
and no message). Each writer is a process with a connection of its own.
"""

import multiprocessing
import time
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any

import psycopg2

from benchmarks.programs.job import answer, worker_job
from benchmarks.programs.peer_steps import insert_bare
from ordermq.shop import Order, place_order
from ordermq.shop.intake.generate import generate
from ordermq.store import join_transaction

WARM_UP = 5


def _ordermq(order: Order, connection: Any) -> None:
    place_order(order, join_transaction(connection))


def _bare(order: Order, connection: Any) -> None:
    with connection.cursor() as cursor:
        insert_bare([order], datetime.now(UTC), cursor)


_HOW: dict[str, Callable[[Order, Any], None]] = {"ordermq": _ordermq, "bare": _bare}


def _write(job: dict[str, Any], number: int, barrier: Any, found: Any) -> None:
    how = _HOW[job["how"]]
    count = job["count"] // job["writers"]
    # Seeds are part of the ids: no two writers have an order in common.
    orders = list(generate(count + WARM_UP, job["seed"] + number))
    waits = []
    connection = psycopg2.connect(**job["postgres"])
    for order in orders[:WARM_UP]:
        how(order, connection)
        connection.commit()
    barrier.wait(60.0)
    began = time.monotonic()
    for order in orders[WARM_UP:]:
        asked = time.perf_counter()
        how(order, connection)
        connection.commit()
        waits.append(time.perf_counter() - asked)
    found.put((began, time.monotonic(), waits))


def main() -> None:
    job = worker_job()
    context = multiprocessing.get_context("fork")
    barrier, found = context.Barrier(job["writers"]), context.Queue()
    writers = [
        context.Process(target=_write, args=(job, number, barrier, found)) for number in range(job["writers"])
    ]
    for writer in writers:
        writer.start()
    spans = [found.get(timeout=300.0) for _ in writers]
    for writer in writers:
        writer.join()
    seconds = max(ended for _, ended, _ in spans) - min(began for began, _, _ in spans)
    waits = sorted(wait for _, _, some in spans for wait in some)
    answer(p50=waits[len(waits) // 2], per_s=len(waits) / seconds, placed=len(waits) + WARM_UP * len(writers))


if __name__ == "__main__":
    main()
