"""The effect without a broker: inbox rows and stock of many orders by two statements in a transaction."""

from time import perf_counter

import psycopg2
from psycopg2.extras import execute_values

from benchmarks.programs import orders
from benchmarks.programs.clock import settle
from benchmarks.programs.job import answer, read_job
from benchmarks.programs.stock import TAKE_MANY, units_of

BATCH = 200

SEEN_MANY = "INSERT INTO public.inbox (message_id) VALUES %s ON CONFLICT DO NOTHING"


def main() -> None:
    job = read_job()
    taken = [orders.Order(**orders.values(number)) for number in range(job["n"])]
    connection = psycopg2.connect(**job["postgres"])
    settle()
    began = perf_counter()
    for start in range(0, len(taken), BATCH):
        some = taken[start : start + BATCH]
        with connection, connection.cursor() as cursor:
            execute_values(cursor, SEEN_MANY, [(order.order_id,) for order in some], page_size=BATCH)
            execute_values(cursor, TAKE_MANY, units_of(some), page_size=BATCH)
    answer(seconds=perf_counter() - began, done=len(taken))


if __name__ == "__main__":
    main()
