"""Effect: an order's stock is taken exactly once, with the inbox row that says so; one process."""

from benchmarks.case import Case, Contender, Wrong, at_least
from benchmarks.ground import Ground
from benchmarks.tables import check_stock, count, make_stock
from benchmarks.working import Check, migrate, program, working

# One transaction a message shows its rate with fewer of them.
ONE_BY_ONE = 10

_BY_HAND = f"a transaction a message (inbox row, UPDATE), then acked; prefetch 128; n / {ONE_BY_ONE}"


def _check(inbox: str) -> Check:
    def check(ground: Ground, n: int) -> None:
        check_stock(ground, n)
        if (rows := count(ground, inbox)) != n:
            raise Wrong(f"{inbox} has {rows} rows, not {n}")

    return check


def _prepare(ground: Ground) -> None:
    migrate(ground)
    make_stock(ground)


def _ordermq(
    name: str, handler: str, threads: int, settings: str, part: int, *, prefetch: int = 0
) -> Contender:
    work = program("work_ordermq", handler=handler, threads=threads, prefetch=prefetch)
    return Contender(
        name, working("ordermq", work, part=part, prepare=_prepare, check=_check("ordermq.inbox")), settings
    )


def _celery(name: str, pool: str, threads: int) -> Contender:
    work = program("work_celery", pool=pool, threads=threads, takes=True)
    said = f"--pool={pool} --concurrency={threads}, acks_late; {_BY_HAND}"
    return Contender(
        name,
        working("celery", work, part=ONE_BY_ONE, prepare=make_stock, check=_check("public.inbox")),
        said,
    )


def _dramatiq(name: str, threads: int) -> Contender:
    work = program("work_dramatiq", threads=threads, takes=True)
    return Contender(
        name,
        working("dramatiq", work, part=ONE_BY_ONE, prepare=make_stock, check=_check("public.inbox")),
        f"{threads} threads; {_BY_HAND}",
    )


def _postgres_alone(ground: Ground, n: int) -> dict[str, float]:
    make_stock(ground)
    ran = ground.run("postgres_alone", n=n)
    _check("public.inbox")(ground, n)
    return {"": n / ran["seconds"]}


PEERS = ("celery_threads_8", "celery_solo", "dramatiq_8_threads", "dramatiq_1_thread")

CASE = Case(
    name="effect",
    what="inbox row and stock update, exactly once, one process",
    unit="msg/s",
    n=40_000,
    smoke_n=60,
    contenders=(
        _ordermq("ordermq_batch", "take_batch", 2, "batch=200, 2 threads, three statements a batch", 1),
        _ordermq(
            "ordermq_plain",
            "take_one",
            8,
            f"one message a transaction, 8 threads, prefetch 128; n / {ONE_BY_ONE}",
            ONE_BY_ONE,
            prefetch=128,
        ),
        _celery("celery_threads_8", "threads", 8),
        _celery("celery_solo", "solo", 1),
        _dramatiq("dramatiq_8_threads", 8),
        _dramatiq("dramatiq_1_thread", 1),
        Contender("postgres_alone", _postgres_alone, "no broker; 200 orders a transaction, two statements"),
    ),
    targets=(
        at_least(8, "ordermq_batch", *PEERS, of="the best of Celery's and Dramatiq's"),
        at_least(1.1, "ordermq_plain", *PEERS, of="the best of Celery's and Dramatiq's"),
    ),
)
