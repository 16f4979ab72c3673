"""Take ``count`` orders as fast as it goes, a few hundred in each transaction."""

from itertools import islice

from benchmarks.programs.job import answer, worker_job
from benchmarks.programs.placing import taker_of
from ordermq.shop.intake.generate import generate

BATCH = 200


def main() -> None:
    job = worker_job()
    taker = taker_of(job)
    orders = generate(job["count"], job["seed"])
    while batch := list(islice(orders, BATCH)):
        taker.place(batch)
        taker.send(batch)
    answer(placed=job["count"])


if __name__ == "__main__":
    main()
