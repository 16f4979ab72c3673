"""Handlers that begin together: they wait for a file, so that starting is not measured.

``plain`` is a batch handler with one row an order as its effect, ``outside`` calls a
service that takes 20 ms and writes the same row, ``first`` says in a file when it ran.
"""

import time
from collections.abc import Sequence
from pathlib import Path

from benchmarks.programs.job import worker_job
from ordermq.message import Payload
from ordermq.module import Module
from ordermq.shop.settings import SECTION, ShopSettings
from ordermq.task import (
    DONE,
    Claim,
    ExternalHandler,
    Finished,
    Outcome,
    Transaction,
    external,
    handler,
)

BATCH = 200
CALL_S = 0.02

_APPLY = "INSERT INTO effects (order_id) VALUES %s"


class Work(Payload, frozen=True):
    """plain, outside, first: do it for this order."""

    order_id: str


def _wait_for_gate() -> None:
    gate = Path(worker_job()["gate"])
    while not gate.exists():
        time.sleep(0.005)


@handler(queue="plain", message=Work, key="order_id", batch=BATCH)
def plain(messages: Sequence[Work], tx: Transaction) -> Sequence[Outcome]:
    """Write a row for each."""
    _wait_for_gate()
    tx.execute_values(_APPLY, [(message.order_id,) for message in messages])
    return [DONE] * len(messages)


@external(queue="outside", message=Work, key="order_id")
class Outside(ExternalHandler[Work, str, str]):
    """Calls a service that takes its time, and writes a row for each answer."""

    def prepare(self, claims: Sequence[Claim[Work]], tx: Transaction) -> list[str]:
        _wait_for_gate()
        return [claim.message.order_id for claim in claims]

    def call(self, order_id: str) -> str:
        time.sleep(CALL_S)
        return order_id

    def complete(self, finished: Sequence[Finished[Work, str]], tx: Transaction) -> list[Outcome]:
        tx.execute_values(_APPLY, [(each.result,) for each in finished])
        return [DONE] * len(finished)


@handler(queue="first", message=Work, key="order_id")
def first(message: Work, tx: Transaction) -> Outcome:
    """Say when."""
    say_when()
    return DONE


def say_when() -> None:
    """Write the time into the job's file, for the sample that waits for it."""
    path = Path(worker_job()["file"])
    new = path.with_suffix(".new")
    new.write_text(repr(time.time()))
    new.replace(path)


# Named like the shop, for the stack's environment names its services.
module = Module(SECTION, handlers=[plain, Outside, first], settings=ShopSettings)
