"""Relay: rows of the outbox become confirmed messages and are gone."""

from benchmarks.case import Case, Contender, Sample, Wrong, at_least
from benchmarks.ground import Ground
from benchmarks.programs.orders import FULL_QUEUE
from benchmarks.queues import declare, holds
from benchmarks.tables import count
from benchmarks.working import migrate

ONE_BY_ONE = 8


def _relay(module: str, part: int, **job: object) -> Sample:
    def sample(ground: Ground, n: int) -> dict[str, float]:
        n = max(1, n // part)
        declare(ground)
        migrate(ground)
        ran = ground.run(module, n=n, **job)
        left = count(ground, "ordermq.outbox")
        if ran["done"] != n or left:
            raise Wrong(f"{ran['done']} of {n} were relayed, {left} rows are left")
        holds(ground, FULL_QUEUE, n)
        return {"": n / ran["seconds"]}

    return sample


def _publish_many(ground: Ground, n: int) -> dict[str, float]:
    declare(ground)
    ran = ground.run("publish_ordermq", n=n, threads=0)
    holds(ground, FULL_QUEUE, int(ran["done"]))
    return {"": n / ran["seconds"]}


CASE = Case(
    name="relay",
    what="outbox rows to confirmed messages, one relay",
    unit="msg/s",
    n=24_000,
    smoke_n=60,
    contenders=(
        Contender("ordermq", _relay("relay_ordermq", 1), "ordermq's relay, 2,000 rows a claim (relay.batch)"),
        Contender("signed", _relay("relay_ordermq", 1, signed=True), "the same, and each message is signed"),
        Contender("publish_many", _publish_many, "the same messages from memory: ordermq's publish_many"),
        Contender(
            "one_by_one",
            _relay("relay_one_by_one", ONE_BY_ONE),
            f"claim 100 FOR UPDATE SKIP LOCKED, basic_publish and confirm each, delete; n / {ONE_BY_ONE}",
        ),
    ),
    targets=(
        at_least(0.75, "ordermq", "publish_many"),
        at_least(8, "ordermq", "one_by_one"),
    ),
)
