"""Work a full queue with ordermq's consumer, in this process: what ordermq-consumer runs.

The clock runs until the last message is acked and the consumer has ended.
"""

from collections.abc import Callable, Sequence
from typing import Any

from benchmarks.programs.clock import Tally, settle
from benchmarks.programs.job import answer, read_job
from benchmarks.programs.orders import QUEUE, Order
from benchmarks.programs.stock import LOCK, TAKE, TAKE_MANY, products_of, units_of
from ordermq.cli.program import load_program
from ordermq.consumer.runtime import Consumer
from ordermq.observe.health import Health
from ordermq.task import Done, Outcome, Registry, Transaction, handler
from ordermq.task.handler import handlers_in

BATCH = 200
DONE = Done()


def nothing(tally: Tally) -> Callable[..., Any]:
    @handler(queue=QUEUE, message=Order, key="order_id", batch=BATCH)
    def handle(orders: Sequence[Order], tx: Transaction) -> Sequence[Outcome]:
        tally.begin()
        tx.after_commit(lambda: tally.hit(len(orders)))
        return [DONE] * len(orders)

    return handle


def nothing_at_least_once(tally: Tally) -> Callable[..., Any]:
    @handler(queue=QUEUE, message=Order, key="order_id", batch=BATCH, inbox=False)
    def handle(orders: Sequence[Order]) -> Sequence[Outcome]:
        tally.begin()
        tally.hit(len(orders))
        return [DONE] * len(orders)

    return handle


def take_batch(tally: Tally) -> Callable[..., Any]:
    @handler(queue=QUEUE, message=Order, key="order_id", batch=BATCH)
    def handle(orders: Sequence[Order], tx: Transaction) -> Sequence[Outcome]:
        tally.begin()
        tx.fetch_all(LOCK, (products_of(orders),))
        tx.write_values(TAKE_MANY, units_of(orders))
        tx.after_commit(lambda: tally.hit(len(orders)))
        return [DONE] * len(orders)

    return handle


def take_one(tally: Tally) -> Callable[..., Any]:
    @handler(queue=QUEUE, message=Order, key="order_id")
    def handle(order: Order, tx: Transaction) -> None:
        tally.begin()
        tx.write(TAKE, (order.quantity, order.product_id))
        tx.after_commit(tally.hit)

    return handle


HANDLERS = {
    "nothing": nothing,
    "nothing_at_least_once": nothing_at_least_once,
    "take_batch": take_batch,
    "take_one": take_one,
}


def main() -> None:
    job = read_job()
    tally = Tally(job["n"])
    registry = Registry(handlers_in({"handle": HANDLERS[job["handler"]](tally)}))
    program = load_program(
        None, {"consumer.threads": job["threads"], "consumer.prefetch": job.get("prefetch", 0)}
    )
    consumer = Consumer(
        QUEUE, registry, program.settings, config=program.loaded, owner="bench", health=Health()
    )
    settle()
    consumer.start()
    tally.wait(is_alive=lambda: consumer.failure is None)
    consumer.stop()
    if not consumer.join(60.0) or consumer.failure is not None:
        raise SystemExit(f"the consumer did not end well: {consumer.failure!r}")
    answer(seconds=tally.seconds(until_now=True), done=tally.total())


if __name__ == "__main__":
    main()
