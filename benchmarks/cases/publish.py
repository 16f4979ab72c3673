"""Publish: from a message in memory to its confirm, one process."""

from collections.abc import Callable, Mapping
from typing import Any

from benchmarks.c_client import run_client
from benchmarks.case import Case, Contender, at_least
from benchmarks.ground import Ground
from benchmarks.programs.orders import FULL_QUEUE
from benchmarks.programs.pipeline import WINDOW
from benchmarks.queues import declare, holds

Run = Callable[[Ground, int], Mapping[str, float]]

# Whoever waits for each confirm needs fewer messages for as steady a figure in as much time.
ONE_THREAD, SOME_THREADS = 8, 3

_EQUAL = "persistent, mandatory, confirmed; ordermq's properties and headers"
_CELERY = "persistent, mandatory (set in kombu), confirm_publish; protocol 2, JSON; a connection a thread"
_DRAMATIQ = "persistent, mandatory, confirm_delivery; JSON; a connection a thread"


def _sample(run: Run, queue: str, part: int) -> Callable[[Ground, int], dict[str, float]]:
    def sample(ground: Ground, n: int) -> dict[str, float]:
        n = max(1, n // part)
        declare(ground)
        ran = run(ground, n)
        holds(ground, queue, int(ran["done"]))
        return {"": n / ran["seconds"]}

    return sample


def _program(
    module: str, settings: str, *, name: str, queue: str = FULL_QUEUE, part: int = 1, **job: Any
) -> Contender:
    run = _sample(lambda ground, n: ground.run(module, n=n, **job), queue, part)
    said = f"{settings}; n / {part}" if part > 1 else settings
    return Contender(name, run, said)


def _ordermq(name: str, threads: int, part: int) -> Contender:
    how = f"publish from {threads} threads" if threads else f"publish_many, window {WINDOW}"
    return _program("publish_ordermq", f"{_EQUAL}; {how}", name=name, part=part, threads=threads)


def _pika(name: str, part: int, *, is_pipelined: bool) -> Contender:
    how = f"window {WINDOW}" if is_pipelined else "BlockingChannel, one at a time"
    return _program("publish_pika", f"{_EQUAL}; {how}", name=name, part=part, pipelined=is_pipelined)


def _peer(peer: str, queue: str, settings: str, threads: int) -> Contender:
    name = peer if threads == 1 else f"{peer}_{threads}_threads"
    part = ONE_THREAD if threads == 1 else SOME_THREADS
    return _program(f"publish_{peer}", settings, name=name, queue=queue, part=part, threads=threads)


CASE = Case(
    name="publish",
    what="confirmed, persistent and mandatory to a quorum queue, one process",
    unit="msg/s",
    n=24_000,
    smoke_n=60,
    contenders=(
        _ordermq("ordermq_publish_many", 0, 1),
        _ordermq("ordermq_1_thread", 1, ONE_THREAD),
        _ordermq("ordermq_16_threads", 16, SOME_THREADS),
        _ordermq("ordermq_64_threads", 64, SOME_THREADS),
        _pika("pika_pipelined", 1, is_pipelined=True),
        _pika("pika_one_at_a_time", ONE_THREAD, is_pipelined=False),
        *(_peer("celery", "celery", _CELERY, threads) for threads in (1, 16, 64)),
        *(_peer("dramatiq", "default", _DRAMATIQ, threads) for threads in (1, 16, 64)),
        Contender(
            "c_client",
            _sample(lambda ground, n: run_client(ground, "publish", n, WINDOW), FULL_QUEUE, 1),
            f"{_EQUAL}; librabbitmq, window {WINDOW}",
        ),
    ),
    targets=(
        at_least(0.85, "ordermq_publish_many", "pika_pipelined"),
        # One caller each. Ten times what Dramatiq does with 16 would be more than the client in C does.
        at_least(10, "ordermq_publish_many", "celery", "dramatiq"),
        at_least(0.85, "ordermq_1_thread", "pika_one_at_a_time"),
        at_least(1.6, "ordermq_16_threads", "dramatiq_16_threads"),
        at_least(2.2, "ordermq_64_threads", "dramatiq_64_threads"),
    ),
)
