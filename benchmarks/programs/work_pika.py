"""Drain a full queue with bare pika: each delivery acked, or every 50th with those before it."""

from benchmarks.programs.clock import Tally, settle
from benchmarks.programs.job import answer, read_job
from benchmarks.programs.orders import FULL_QUEUE
from benchmarks.programs.pipeline import connect

ACK_EVERY = 50


def main() -> None:
    job = read_job()
    n, every = job["n"], ACK_EVERY if job["multiple"] else 1
    tally = Tally(n)
    settle()
    with connect(job) as connection:
        channel = connection.channel()
        channel.basic_qos(prefetch_count=job["prefetch"])
        # The generator is pika's fastest way to consume.
        for number, (method, _properties, _body) in enumerate(channel.consume(FULL_QUEUE), 1):
            tally.begin()
            tally.hit()
            if number % every == 0 or number == n:
                channel.basic_ack(method.delivery_tag, multiple=every > 1)
            if number == n:
                break
        seconds = tally.seconds(until_now=True)
        channel.cancel()
    answer(seconds=seconds, done=tally.total())


if __name__ == "__main__":
    main()
