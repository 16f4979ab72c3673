"""Orders from the first row to the last by PostgreSQL alone: no queue, no message, one process of several.

Each step of a batch is one transaction, as it would be with a queue.
"""

from benchmarks.programs.clock import settle
from benchmarks.programs.direct import BATCH, Database, Handlers
from benchmarks.programs.job import answer, worker_job
from ordermq.shop import place_orders
from ordermq.shop.intake.generate import generate

START_LOCK = 20


def main() -> None:
    job = worker_job()
    database, handlers = Database(job), Handlers()
    orders = list(generate(job["count"], job["seed"]))[job["part"] :: job["parts"]]
    with database.connection.cursor() as cursor:
        settle()
        cursor.execute("SELECT pg_advisory_lock_shared(%s)", (START_LOCK,))  # all parts begin together
    for start in range(0, len(orders), BATCH):
        with database.transaction() as tx:
            place_orders(orders[start : start + BATCH], tx)
        waiting = dict(tx.sent)
        while waiting:
            queue, rows = waiting.popitem()
            with database.transaction() as tx:
                handlers.handle(queue, rows, tx)
            waiting |= tx.sent
    answer(placed=len(orders))


if __name__ == "__main__":
    main()
