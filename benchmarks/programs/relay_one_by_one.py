"""Relay a full outbox as most do who write one: claim 100, publish each and wait for its confirm, delete."""

from time import perf_counter

import pika
import psycopg2

from benchmarks.programs import orders
from benchmarks.programs.clock import settle
from benchmarks.programs.job import answer, read_job
from benchmarks.programs.outbox import fill
from benchmarks.programs.pipeline import connect
from ordermq.cli.program import load_program

CLAIM = """
    SELECT outbox_id, routing_key, message_id, type, correlation_id, version, attempt, hop,
           occurred_at, traceparent, body
      FROM ordermq.outbox ORDER BY outbox_id LIMIT 100 FOR UPDATE SKIP LOCKED
"""

DELETE = "DELETE FROM ordermq.outbox WHERE outbox_id = ANY(%s)"


def main() -> None:
    job = read_job()
    fill(load_program(None).settings.database, job["n"])
    database = psycopg2.connect(**job["postgres"])
    done = 0
    with connect(job) as connection:
        channel = connection.channel()
        channel.confirm_delivery()
        settle()
        began = perf_counter()
        while True:
            with database, database.cursor() as cursor:
                cursor.execute(CLAIM)
                rows = cursor.fetchall()
                for _, key, message_id, kind, order_id, version, attempt, hop, at, trace, body in rows:
                    properties = pika.BasicProperties(
                        message_id=message_id,
                        type=kind,
                        correlation_id=order_id,
                        content_type="application/json",
                        timestamp=int(at.timestamp()),
                        headers={
                            "x-ordermq-version": version,
                            "x-ordermq-attempt": attempt,
                            "x-ordermq-hop": hop,
                            "x-ordermq-occurred-at": at.isoformat(),
                            "traceparent": trace,
                        },
                        delivery_mode=2,
                    )
                    channel.basic_publish(orders.PREFIX, key, bytes(body), properties, mandatory=True)
                cursor.execute(DELETE, ([row[0] for row in rows],))
            if not rows:
                break
            done += len(rows)
        answer(seconds=perf_counter() - began, done=done)


if __name__ == "__main__":
    main()
