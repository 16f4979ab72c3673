"""Consume: drain a full queue with a handler that does nothing, one process."""

from benchmarks.c_client import run_client
from benchmarks.case import Case, Contender, at_least
from benchmarks.working import migrate, program, working

PREFETCH = 400  # two batches of ordermq's

# Slower ones show the same rate with fewer messages.
WITH_INBOX, PEER = 2, 5

_ACKS_LATE = "acked after the task, prefetch 128"


def _ordermq(name: str, handler: str, settings: str, part: int) -> Contender:
    work = program("work_ordermq", handler=handler, threads=2)
    return Contender(name, working("ordermq", work, part=part, prepare=migrate), settings)


def _pika(name: str, settings: str, *, multiple: bool) -> Contender:
    work = program("work_pika", multiple=multiple, prefetch=PREFETCH)
    return Contender(name, working("ordermq", work), f"{settings}; prefetch {PREFETCH}")


def _celery(name: str, pool: str, threads: int) -> Contender:
    work = program("work_celery", pool=pool, threads=threads, takes=False)
    said = f"--pool={pool} --concurrency={threads}, {_ACKS_LATE}; n / {PEER}"
    return Contender(name, working("celery", work, part=PEER), said)


def _dramatiq(name: str, threads: int) -> Contender:
    work = program("work_dramatiq", threads=threads, takes=False)
    said = f"{threads} threads, default middleware, {_ACKS_LATE}; n / {PEER}"
    return Contender(name, working("dramatiq", work, part=PEER), said)


PEERS = ("celery_threads_8", "celery_solo", "dramatiq_8_threads")

CASE = Case(
    name="consume",
    what="drain a quorum queue with a handler that does nothing, one process",
    unit="msg/s",
    n=100_000,
    smoke_n=60,
    rounds=3,
    contenders=(
        _ordermq("ordermq", "nothing", f"exactly once: inbox, batch=200; n / {WITH_INBOX}", WITH_INBOX),
        _ordermq("ordermq_at_least_once", "nothing_at_least_once", "inbox=False, batch=200", 1),
        _celery("celery_threads_8", "threads", 8),
        _celery("celery_solo", "solo", 1),
        _dramatiq("dramatiq_8_threads", 8),
        _pika("pika_ack_each", "each delivery acked by itself", multiple=False),
        _pika("pika_multiple", "every 50th acked, with those before it", multiple=True),
        Contender(
            "c_client",
            working("ordermq", lambda ground, n: run_client(ground, "consume", n, PREFETCH)),
            f"librabbitmq; every 50th acked, with those before it; prefetch {PREFETCH}",
        ),
    ),
    targets=(
        at_least(8, "ordermq_at_least_once", *PEERS, of="the best of Celery's and Dramatiq's"),
        at_least(0.7, "ordermq_at_least_once", "pika_multiple"),
    ),
)
